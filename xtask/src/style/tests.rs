use super::{SourceFile, rules};

const DOCS: &str = "//! Docs.\n";

fn breaches(path: &str, text: &str) -> Vec<String> {
    rules::all(&SourceFile { path, text }).iter().map(ToString::to_string).collect()
}

fn in_a_module(text: &str) -> Vec<String> {
    breaches("crates/dozen-x/src/pidfd.rs", &format!("{DOCS}{text}"))
}

#[test]
fn a_plain_module_breaks_nothing() {
    assert!(in_a_module("fn close() {}\n").is_empty());
    assert!(breaches("README.md", "# dozen\n").is_empty());
}

#[test]
fn a_long_file_is_found_and_its_tests_do_not_count() {
    let body = "x\n".repeat(499);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "y\n".repeat(50));

    assert!(in_a_module(&format!("{body}{tests}")).is_empty());
    assert_eq!(in_a_module(&format!("{body}x\n{tests}")).len(), 1);
    assert!(breaches("crates/dozen-x/tests/kernel/main.rs", &"x\n".repeat(900)).is_empty());
}

#[test]
fn long_inline_tests_are_found() {
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "y\n".repeat(100));
    assert!(in_a_module(&tests)[0].contains("move them to a `tests.rs`"));
}

#[test]
fn a_name_that_says_nothing_is_found_as_file_and_as_folder() {
    let nothing = ["util", "helpers", "common"];
    for name in nothing {
        assert_eq!(breaches(&format!("crates/dozen-x/src/{name}.rs"), DOCS).len(), 1, "{name}");
        assert_eq!(breaches(&format!("crates/dozen-x/src/{name}/a.rs"), DOCS).len(), 1, "{name}");
    }
    assert!(breaches("crates/dozen-x/src/utilisation.rs", DOCS).is_empty());
}

#[test]
fn a_crate_root_forbids_unsafe_code_but_for_the_sandbox() {
    assert_eq!(breaches("crates/dozen-x/src/lib.rs", DOCS).len(), 1);
    assert!(breaches("crates/dozen-x/src/lib.rs", &format!("{DOCS}#![forbid(unsafe_code)]\n")).is_empty());
    assert!(breaches("crates/dozen-sandbox/src/lib.rs", DOCS).is_empty());
}

#[test]
fn an_open_end_names_its_issue() {
    let word = concat!("TO", "DO");
    assert_eq!(in_a_module(&format!("// {word}: later\n")).len(), 1);
    assert!(in_a_module(&format!("// {word} (#12): later\n")).is_empty());
}

#[test]
fn error_messages_keep_to_the_words() {
    let with = |message: &str| in_a_module(&format!("    #[error(\"{message}\")]\n"));
    for wrong in ["Could not start", "ends here.", concat!("failed ", "to start"), "error: no"] {
        assert_eq!(with(wrong).len(), 1, "{wrong}");
    }
    for right in ["`{var}` is taken", "could not be read", "HTTP is not spoken here", "{0}"] {
        assert!(with(right).is_empty(), "{right}");
    }
}

#[test]
fn paths_of_one_machine_are_found_in_any_file() {
    let home = concat!("/ro", "ot/");
    assert_eq!(breaches("docs/a.md", &format!("see `{home}x`\n")).len(), 1);
    assert_eq!(breaches("docs/a.md", concat!("see ..", "/shared/x\n")).len(), 1);
    // The middle of another path is none.
    assert!(breaches("docs/a.md", &format!("overlay{home}x\n")).is_empty());
}

#[test]
fn a_module_says_what_it_owns() {
    assert_eq!(breaches("crates/dozen-x/src/pidfd.rs", "fn close() {}\n").len(), 1);
}
