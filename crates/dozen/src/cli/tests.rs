use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

/// Whether the real command line takes these words. Asking for help counts, and so does a verb
/// named without its arguments: "put it into `dozen run`".
fn parses(line: &str) -> bool {
    let words = heroku_forms::rewrite(words(line).split_off(1));
    match command().try_get_matches_from(std::iter::once(OsString::from("dozen")).chain(words)) {
        Ok(_) => true,
        Err(error) => {
            error.exit_code() == 0 || error.kind() == clap::error::ErrorKind::MissingRequiredArgument
        }
    }
}

#[test]
fn the_tree_holds_together() {
    command().debug_assert();
}

#[test]
fn every_visible_verb_stands_in_one_group_of_the_help() {
    let grouped: Vec<&str> =
        grouped_help::GROUPS.iter().flat_map(|(_, verbs)| verbs.iter().copied()).collect();
    let unique: BTreeSet<&str> = grouped.iter().copied().collect();
    assert_eq!(unique.len(), grouped.len());
    let visible: BTreeSet<String> = command()
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .map(|verb| verb.get_name().to_owned())
        .collect();
    assert_eq!(unique.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), visible);
}

#[test]
fn every_example_of_the_help_is_a_command_that_exists() {
    fn check(command: &clap::Command, seen: &mut usize) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples: Vec<&str> = help.lines().filter(|line| line.starts_with("  dozen ")).collect();
        assert!(!examples.is_empty(), "`{}` has no example", command.get_name());
        for example in examples {
            let line =
                example.split([' ']).take_while(|word| !matches!(*word, "<" | ">" | "|")).collect::<Vec<_>>();
            assert!(parses(&line.join(" ")), "`{}`: {example}", command.get_name());
            *seen += 1;
        }
        for part in command.get_subcommands().filter(|part| !part.is_hide_set()) {
            check(part, seen);
        }
    }
    let mut seen = 0;
    for verb in command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
        check(verb, &mut seen);
    }
    assert!(seen > 50, "{seen}");
}

/// Rust files of the workspace's crates.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Commands in backticks within the code of a file; comments do not count.
fn commands_of(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some(at) = rest.find("`dozen ") {
        rest = &rest[at + 1..];
        let Some(end) = rest.find('`') else { break };
        // A string that goes on in the next line of code is joined as the compiler does it.
        let joined = rest[..end].split("\\\n").map(str::trim_start).collect::<Vec<_>>().concat();
        found.push(joined);
        rest = &rest[end + 1..];
    }
    found
}

/// The command with something that fits in the place of each `{..}` and each word in capitals.
fn filled(command: &str) -> Vec<String> {
    ["example", "up", "v1", "1", "web", "NAME=VALUE", "web.1", "web=1"]
        .into_iter()
        .map(|filler| {
            let mut text = String::new();
            let mut rest = command;
            while let Some((before, after)) = rest.split_once('{') {
                text.push_str(before);
                text.push_str(filler);
                rest = after.split_once('}').map_or("", |(_, after)| after);
            }
            text.push_str(rest);
            let capital = |word: &str| word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase());
            text.split(' ')
                .map(|word| if capital(word) { filler } else { word })
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

#[test]
fn every_command_that_a_hint_names_exists() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(crates).unwrap().map(Result::unwrap) {
        let src = entry.path().join("src");
        if src.is_dir() {
            sources(&src, &mut files);
        }
    }
    let mut seen = 0;
    let mut unknown = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with("cli/tests.rs")) {
        for command in commands_of(&std::fs::read_to_string(file).unwrap()) {
            seen += 1;
            if !std::iter::once(command.clone()).chain(filled(&command)).any(|line| parses(&line)) {
                unknown.push(format!("{}: `{command}`", file.display()));
            }
        }
    }
    assert!(seen > 10, "only {seen} commands were found: is this test looking in the right place?");
    assert!(unknown.is_empty(), "commands that do not exist:\n{}", unknown.join("\n"));
}

/// Flags that stand alone in backticks within the code of a file.
fn flags_of(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let words = code.flat_map(|line| line.split('`').skip(1).step_by(2));
    let flags = words.filter(|word| word.starts_with("--") && word.len() > 2);
    flags.map(|flag| flag.split([' ', '=']).next().unwrap_or(flag).to_owned()).collect()
}

/// Whether a command or one below it takes a flag.
fn takes(command: &clap::Command, flag: &str) -> bool {
    let is_own = |argument: &clap::Arg| argument.get_long().is_some_and(|long| flag == format!("--{long}"));
    command.get_arguments().any(is_own) || command.get_subcommands().any(|part| takes(part, flag))
}

/// The verb that a source file is of, if it is one's.
fn verb_of(file: &Path) -> Option<String> {
    let below = file.to_str()?.split_once("dozen/src/verbs/")?.1;
    Some(below.trim_end_matches(".rs").split('/').next()?.replace('_', "-"))
}

#[test]
fn every_flag_that_a_message_names_exists_where_it_is_said() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut root = command();
    root.build();
    let mut unknown = Vec::new();
    let mut seen = 0;
    for file in files.iter().filter(|file| !file.ends_with("cli/tests.rs")) {
        let verb = verb_of(file);
        let verb = verb.as_deref().and_then(|verb| root.find_subcommand(verb));
        for flag in flags_of(&std::fs::read_to_string(file).unwrap()) {
            seen += 1;
            if !takes(verb.unwrap_or(&root), &flag) {
                unknown.push(format!("{}: `{flag}`", file.display()));
            }
        }
    }
    assert!(seen > 3, "only {seen} flags were found: is this test looking in the right place?");
    assert!(unknown.is_empty(), "flags that do not exist:\n{}", unknown.join("\n"));
}

#[test]
fn a_command_that_does_not_exist_is_found_in_the_code_and_not_in_comments() {
    let code = "// `dozen nothing`\nlet a = \"run `dozen nonsense {x}` now\";";
    assert_eq!(commands_of(code), ["dozen nonsense {x}"]);
    assert!(!filled("dozen nonsense {x}").iter().any(|line| parses(line)));
    assert!(filled("dozen services detach {service}").iter().any(|line| parses(line)));
}

#[test]
fn a_one_off_command_keeps_its_own_flags() {
    for line in [
        "dozen run -- python manage.py x --flag",
        "dozen run python manage.py x -a --json",
        "dozen run -a blog -- ls -a",
    ] {
        assert!(parses(line), "{line}");
    }
}
