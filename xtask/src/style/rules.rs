//! The rules, one function each.

use super::{Breach, SourceFile};

const MAX_FILE_LINES: usize = 500;
const MAX_INLINE_TEST_LINES: usize = 100;
const NAMELESS: [&str; 10] =
    ["util", "utils", "common", "helper", "helpers", "misc", "manager", "core", "types", "stuff"];
/// The crate that owns all `unsafe`.
const UNSAFE_ROOM: &str = "crates/dozen-sandbox/";

/// What may stand nowhere in the repository, and why. Taken apart so that this file passes.
const ELSEWHERE: [(&str, &str); 3] = [
    (concat!("../", "shared"), "refers to a folder outside the repository"),
    (concat!("/ro", "ot/"), "is a path of one machine"),
    (concat!("/wo", "rk/"), "is a path of one machine"),
];

/// All rules on one file.
pub(super) fn all(file: &SourceFile<'_>) -> Vec<Breach> {
    let mut breaches = elsewhere(file);
    if file.is_rust() {
        let rules = [size, inline_tests, nameless, module_docs, unsafe_code, open_ends, error_words];
        breaches.extend(rules.iter().flat_map(|rule| rule(file)));
    }
    breaches
}

fn size(file: &SourceFile<'_>) -> Vec<Breach> {
    let lines = file.inline_tests().map_or_else(|| file.text.lines().count(), |start| start - 1);
    if file.is_test() || lines <= MAX_FILE_LINES {
        return Vec::new();
    }
    vec![file.breach(lines, format!("{lines} lines without tests, the limit is {MAX_FILE_LINES}"))]
}

fn inline_tests(file: &SourceFile<'_>) -> Vec<Breach> {
    let Some(start) = file.inline_tests() else { return Vec::new() };
    let lines = file.text.lines().count() - start + 1;
    if lines <= MAX_INLINE_TEST_LINES {
        return Vec::new();
    }
    vec![file.breach(start, format!("{lines} lines of tests: move them to a `tests.rs` beside the file"))]
}

fn nameless(file: &SourceFile<'_>) -> Vec<Breach> {
    let names = file.path.trim_end_matches(".rs").split('/');
    let found = names.filter(|name| NAMELESS.contains(name));
    found.map(|name| file.breach(1, format!("`{name}` says nothing: name the thing"))).collect()
}

fn module_docs(file: &SourceFile<'_>) -> Vec<Breach> {
    let has_docs = file.text.lines().any(|line| line.starts_with("//!"));
    if has_docs || file.is_test() {
        return Vec::new();
    }
    vec![file.breach(1, "says nowhere what it owns: begin with `//!`")]
}

fn unsafe_code(file: &SourceFile<'_>) -> Vec<Breach> {
    let is_root = file.path.ends_with("/src/lib.rs") || file.path.ends_with("/src/main.rs");
    let forbids = file.text.lines().any(|line| line == "#![forbid(unsafe_code)]");
    if !is_root || forbids || file.path.starts_with(UNSAFE_ROOM) || file.path.starts_with("fuzz/") {
        return Vec::new();
    }
    vec![file.breach(1, "a crate root without `#![forbid(unsafe_code)]`")]
}

fn open_ends(file: &SourceFile<'_>) -> Vec<Breach> {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let names_an_issue =
        |line: &str| line.split('#').skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    file.lines()
        .filter(|(_, line)| line.contains("//") && words.iter().any(|word| line.contains(word)))
        .filter(|(_, line)| !names_an_issue(line))
        .map(|(number, _)| file.breach(number, "an open end without the number of its issue"))
        .collect()
}

fn error_words(file: &SourceFile<'_>) -> Vec<Breach> {
    file.lines()
        .filter_map(|(number, line)| Some(file.breach(number, wrong_words(message(line)?)?)))
        .collect()
}

/// The message of an error attribute that stands on one line.
fn message(line: &str) -> Option<&str> {
    let (message, _) = line.trim_start().strip_prefix("#[error(\"")?.rsplit_once('"')?;
    Some(message)
}

fn wrong_words(message: &str) -> Option<&'static str> {
    let mut letters = message.chars();
    let (first, second) = (letters.next()?, letters.next());
    let lower = message.to_lowercase();
    // `HTTP` and `SQLite` are names; `Could` is a word.
    if first.is_uppercase() && second.is_none_or(|c| !c.is_uppercase()) {
        Some("an error starts in lower case")
    } else if message.ends_with('.') {
        Some("an error ends without a full stop")
    } else if lower.contains(concat!("failed ", "to")) || lower.starts_with("error") {
        Some("an error says what could not be done, in words of its own")
    } else {
        None
    }
}

fn elsewhere(file: &SourceFile<'_>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (number, line) in file.lines() {
        for (what, why) in ELSEWHERE {
            if starts_a_path(line, what) {
                breaches.push(file.breach(number, format!("`{what}` {why}")));
            }
        }
    }
    breaches
}

/// Whether `what` stands in `line` other than as the middle of a longer path.
fn starts_a_path(line: &str, what: &str) -> bool {
    line.match_indices(what).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || "}_-.~>".contains(c)))
    })
}
