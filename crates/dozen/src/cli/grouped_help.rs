//! The top-level help, grouped by what a user wants to do.

use clap::Command;

/// Verbs under their headings, in reading order.
pub(super) const GROUPS: &[(&str, &[&str])] = &[
    ("Deploy", &["up", "create", "deploy", "builds", "releases", "rollback"]),
    ("Look after an app", &["apps", "ps", "logs", "run", "config", "services", "domains", "down", "destroy"]),
    ("Its visitors", &["maintenance", "pause", "resume"]),
    ("The server", &["server", "certs", "doctor", "completions"]),
];

/// The command with its verbs grouped in the help.
pub(super) fn apply(command: Command) -> Command {
    let verbs = groups(&command);
    command.help_template(format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{verbs}Options:\n{{options}}\n\n{HINT}"
    ))
}

/// The last line of the help.
const HINT: &str = "`dozen VERB --help` shows a verb's options and examples.";

/// Each group: its heading, then a line a verb with what it does.
fn groups(command: &Command) -> String {
    let mut text = String::new();
    for (heading, verbs) in GROUPS {
        text.push_str(&format!("{heading}:\n"));
        for verb in *verbs {
            let about = command.find_subcommand(verb).and_then(Command::get_about).map(ToString::to_string);
            text.push_str(&format!("  {verb:<12} {}\n", about.unwrap_or_default()));
        }
        text.push('\n');
    }
    text
}
