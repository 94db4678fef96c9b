//! Heroku's spelling of verbs: `config:set` for `config set`, `addons` for `services`.
//!
//! Fingers know Heroku's names; they work here where the meaning is the same. The words are
//! rewritten before they are parsed, so that help and errors speak of our verbs only. A colon form
//! that nobody knows is split all the same: the parser then says what it does not know.
//!
//! Start reading at [`rewrite`].

use std::ffi::{OsStr, OsString};

/// Forms that are not just a verb and its part with a colon between them.
const RENAMED: &[(&str, &[&str])] = &[
    ("addons", &["services"]),
    ("addons:create", &["services", "create"]),
    ("addons:attach", &["services", "attach"]),
    ("addons:detach", &["services", "detach"]),
    ("addons:info", &["services", "info"]),
    ("apps:create", &["create"]),
    ("apps:destroy", &["destroy"]),
    ("apps:list", &["apps"]),
    ("builds:info", &["builds"]),
    ("builds:output", &["builds"]),
    ("config:list", &["config"]),
    ("domains:list", &["domains"]),
    ("ps:list", &["ps"]),
    ("ps:type", &["ps"]),
    ("releases:list", &["releases"]),
    ("releases:rollback", &["rollback"]),
    ("restart", &["ps", "restart"]),
    ("run:detached", &["run", "--detach"]),
    ("scale", &["ps", "scale"]),
];

/// Flags before the verb that take the next word as their value.
const WITH_VALUE: &[&str] = &["--server", "--color"];

/// The words of the command line (without the program's name), in our spelling.
pub(crate) fn rewrite(words: Vec<OsString>) -> Vec<OsString> {
    let Some(at) = verb_position(&words) else { return words };
    let Some(verb) = words[at].to_str() else { return words };
    let renamed = RENAMED.iter().find(|(form, _)| *form == verb).map(|(_, ours)| ours.to_vec());
    let Some(ours) = renamed.or_else(|| verb.split_once(':').map(|(verb, part)| vec![verb, part])) else {
        return words;
    };
    let ours: Vec<OsString> = ours.into_iter().map(OsString::from).collect();
    let mut rewritten = words;
    rewritten.splice(at..=at, ours);
    rewritten
}

/// Where the verb stands: the first word that is neither a flag nor a flag's value.
fn verb_position(words: &[OsString]) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        match word.to_str() {
            Some("--") | None => return None,
            Some(flag) if WITH_VALUE.contains(&flag) => at += 2,
            Some(flag) if flag.starts_with('-') => at += 1,
            Some(_) => return Some(at).filter(|at| words[*at] != OsStr::new("")),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(line: &str) -> String {
        let words = rewrite(line.split(' ').map(OsString::from).collect());
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_colon_form_is_a_verb_and_its_part() {
        for (heroku, ours) in [
            ("config:set A=b:c", "config set A=b:c"),
            ("config:get A", "config get A"),
            ("ps:scale web=2", "ps scale web=2"),
            ("releases:info v3", "releases info v3"),
            ("domains:add x.org", "domains add x.org"),
            ("addons:create sqlite db", "services create sqlite db"),
            ("addons", "services"),
            ("apps:create blog", "create blog"),
            ("releases:rollback v3", "rollback v3"),
            ("builds:output 3", "builds 3"),
            ("run:detached ls", "run --detach ls"),
            ("scale web=2", "ps scale web=2"),
            ("--color never config:set A=1", "--color never config set A=1"),
            ("--color=never config:set A=1", "--color=never config set A=1"),
            ("no:such x", "no such x"),
        ] {
            assert_eq!(rewritten(heroku), ours);
        }
    }

    #[test]
    fn only_the_verb_is_rewritten() {
        for line in ["config set A:B=1", "run -- config:set", "ps", "-- config:set", "logs --ps web:1", ""] {
            assert_eq!(rewritten(line), line);
        }
    }
}
