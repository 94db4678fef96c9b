//! `dozen reference` (hidden): the command line as Markdown, for the documentation.
//!
//! Everything comes from the parser's own tree and from [`VARIABLES`], so the page cannot differ
//! from the program.

use std::fmt::Write;

use clap::{Arg, Command};

use crate::{
    cli,
    cli_error::{CliError, ExitStatus},
    session::Session,
    settings::VARIABLES,
};

/// Print the reference of the command line as Markdown
#[derive(Debug, clap::Args)]
pub(crate) struct ReferenceArgs {}

/// Runs the verb.
pub(crate) fn reference(_: &ReferenceArgs, session: &Session) -> Result<ExitStatus, CliError> {
    session.out.bytes(markdown().as_bytes())?;
    Ok(ExitStatus::Success)
}

/// Options of every verb, told once.
const EVERYWHERE: &[&str] = &["help", "server", "color"];

/// The whole page.
fn markdown() -> String {
    let mut command = cli::command();
    command.build();
    let mut page = "# Command line\n\n<!-- Made by `dozen reference`. Do not edit. -->\n\n".to_owned();
    page.push_str(
        "Results go to stdout, everything else to stderr. Exit status: 0 done, 1 the request failed and\n",
    );
    page.push_str(
        "you can act, 2 usage, 3 dozen's own fault, 130 interrupted; `dozen run` passes on the status of\n",
    );
    page.push_str("its command. Heroku's forms (`config:set`, `ps:scale` ...) are understood.\n\n");
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        describe(verb, "dozen", 2, &mut page);
    }
    page.push_str("## Options of every verb\n\n| argument | meaning |\n|---|---|\n");
    let everywhere = |arg: &&Arg| EVERYWHERE.contains(&arg.get_id().as_str());
    for argument in command.get_arguments().filter(everywhere) {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        row(&mut page, &[&format!("`{}`", spelling(argument)), &help]);
    }
    page.push('\n');
    page.push_str("## Variables\n\nA flag wins over a variable, a variable over the default.\n\n");
    page.push_str("| variable | meaning | default |\n|---|---|---|\n");
    for (name, default, meaning) in VARIABLES {
        row(&mut page, &[&format!("`{name}`"), meaning, default]);
    }
    page
}

/// One verb and what is below it.
fn describe(verb: &Command, above: &str, level: usize, page: &mut String) {
    let name = format!("{above} {}", verb.get_name());
    line(page, &format!("{} `{name}`\n", "#".repeat(level)));
    if let Some(about) = verb.get_about() {
        line(page, &format!("{about}.\n"));
    }
    let usage = verb.clone().render_usage().to_string();
    line(page, &format!("```text\n{}\n```\n", usage.trim_start_matches("Usage: ")));
    // What a verb hands on to its parts is explained once, at the verb.
    let is_common = |arg: &&Arg| level > 2 && arg.is_global_set();
    let shown = |arg: &&Arg| !arg.is_hide_set() && !EVERYWHERE.contains(&arg.get_id().as_str());
    let (common, arguments): (Vec<&Arg>, Vec<&Arg>) = verb.get_arguments().filter(shown).partition(is_common);
    if !arguments.is_empty() {
        page.push_str("| argument | meaning |\n|---|---|\n");
        for argument in arguments {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            row(page, &[&format!("`{}`", spelling(argument)), &help]);
        }
        page.push('\n');
    }
    if !common.is_empty() {
        let words: Vec<String> = common.into_iter().map(|arg| format!("`{}`", spelling(arg))).collect();
        line(page, &format!("It takes {} as `{above}` does.\n", words.join(", ")));
    }
    if let Some(more) = verb.get_after_help() {
        let more = more.to_string();
        let (text, examples) = more.split_once("Examples:\n").unwrap_or((more.as_str(), ""));
        if !text.trim().is_empty() {
            line(page, &format!("{}\n", text.trim()));
        }
        if !examples.is_empty() {
            let examples: Vec<&str> = examples.lines().map(|example| example.trim_start()).collect();
            line(page, &format!("```sh\n{}\n```\n", examples.join("\n").trim_end()));
        }
    }
    for part in verb.get_subcommands().filter(|part| !part.is_hide_set() && part.get_name() != "help") {
        describe(part, &name, level + 1, page);
    }
}

/// `-n, --limit COUNT` or `PATH`.
fn spelling(argument: &Arg) -> String {
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let takes_value = argument.get_action().takes_values();
    let value = argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string);
    let value = value.collect::<Vec<_>>().join(" ");
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    match (flags.is_empty(), takes_value) {
        (true, _) => value,
        (false, true) => format!("{} {value}", flags.join(", ")),
        (false, false) => flags.join(", "),
    }
}

fn row(page: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    line(page, &format!("| {} |", cells.join(" | ")));
}

/// Adds a line; writing to a string cannot go wrong.
fn line(page: &mut String, text: &str) {
    let _ = writeln!(page, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visible_verb_has_its_chapter() {
        let page = markdown();
        for verb in cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            assert!(page.contains(&format!("\n## `dozen {}`\n", verb.get_name())), "{}", verb.get_name());
        }
        assert!(page.contains("### `dozen config set`"));
        assert!(page.contains("| `-n, --limit COUNT` |"));
        assert!(page.contains("| `-a, --app APP` |"));
        assert_eq!(page.matches("| `--server URL` |").count(), 1);
        let list = page.split("### `dozen services list`").nth(1).and_then(|rest| rest.split("\n#").next());
        let list = list.unwrap_or_default();
        for option in ["--json`", "-a, --app APP`", "--stage STAGE` as `dozen services` does."] {
            assert!(list.contains(option), "{option}: {list}");
        }
    }
}
