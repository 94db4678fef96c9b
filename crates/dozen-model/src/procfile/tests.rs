//! What the reader of `Procfile` files takes and refuses.

use proptest::prelude::*;

use super::*;

fn error(text: &str) -> ProcfileError {
    Procfile::parse(text.as_bytes()).unwrap_err()
}

fn command<'a>(procfile: &'a Procfile, name: &str) -> &'a str {
    &procfile.processes[&name.parse::<ProcessType>().unwrap()]
}

#[test]
fn a_procfile_names_processes_and_the_release_phase() {
    let text = "\u{feff}# Processes\r\n\r\nrelease: python manage.py migrate\r\nweb:  gunicorn a:b --bind :$PORT  \r\n\tworker-1:x";
    // The last line starts with a tab and is no process; without it the rest is read.
    assert!(matches!(error(text), ProcfileError::NotAProcess { line: 5, .. }));
    let procfile = Procfile::parse(text.replace("\tworker", "worker").as_bytes()).unwrap();
    assert_eq!(procfile.release.as_deref(), Some("python manage.py migrate"));
    assert_eq!(command(&procfile, "web"), "gunicorn a:b --bind :$PORT");
    assert_eq!(command(&procfile, "worker-1"), "x");
    assert_eq!(procfile.processes.len(), 2);
    assert!(procfile.warnings.is_empty());
}

#[test]
fn a_comment_has_a_line_of_its_own_and_a_command_may_hold_a_hash() {
    let procfile = Procfile::parse(b"  # indented\nweb: a #b\n\n").unwrap();
    assert_eq!(command(&procfile, "web"), "a #b");
}

#[test]
fn a_bad_line_is_an_error_with_its_number() {
    for bad in [
        "gunicorn app",
        "web x: y",
        ": x",
        "web : x",
        " web: x",
        "wéb: x",
        "a.b: x",
        &format!("{}: x", "a".repeat(64)),
    ] {
        let text = format!("web: a\n{bad}\n");
        assert!(matches!(error(&text), ProcfileError::NotAProcess { line: 2, .. }), "{bad}");
    }
    assert!(matches!(error("a: x\nweb:  \n"), ProcfileError::NoCommand { line: 2, .. }));
    assert!(Procfile::parse(format!("{}: x", "a".repeat(63)).as_bytes()).is_ok());
}

#[test]
fn a_name_that_comes_twice_is_an_error_that_names_both_lines() {
    assert_eq!(
        error("web: a\n\nweb: b").to_string(),
        "line 3 of the Procfile declares `web` again, as line 1 did"
    );
    assert!(matches!(error("release: a\nrelease: b"), ProcfileError::Duplicate { line: 2, .. }));
}

#[test]
fn the_marks_of_a_merge_are_errors() {
    for mark in ["<<<<<<< HEAD", "=======", ">>>>>>> branch", "||||||| base"] {
        assert_eq!(error(&format!("web: a\n{mark}\n")), ProcfileError::MergeMark { line: 2 }, "{mark}");
    }
}

#[test]
fn bytes_that_are_no_text_are_errors() {
    assert_eq!(Procfile::parse(b"web: a\nb: \xff"), Err(ProcfileError::NotText { line: 2 }));
    assert_eq!(Procfile::parse(b"web: a\0b"), Err(ProcfileError::ControlCharacter { line: 1 }));
    assert_eq!(Procfile::parse(b"web: \x1b[31m"), Err(ProcfileError::ControlCharacter { line: 1 }));
    assert_eq!(Procfile::parse(b"web: a\rworker: b"), Err(ProcfileError::ControlCharacter { line: 1 }));
    assert_eq!(Procfile::parse(&[b'#'; Procfile::LIMIT + 1]), Err(ProcfileError::TooLarge));
    assert!(Procfile::parse(&[b'#'; Procfile::LIMIT]).is_ok());
}

#[test]
fn a_name_that_kubernetes_refuses_is_a_warning() {
    let procfile = Procfile::parse(b"web: a\nWorker_1: b\nx-: c\nrelease: d").unwrap();
    assert_eq!(procfile.warnings.len(), 2, "{:?}", procfile.warnings);
    assert!(procfile.warnings[0].starts_with("line 2 of the Procfile: `Worker_1`"));
}

#[test]
fn an_error_never_quotes_a_whole_line() {
    let secret = format!("{}topsecret", "x".repeat(60));
    assert!(!error(&secret).to_string().contains("topsecret"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_say_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[a-z:#<=> \\n\\r\\x1b\\u{202e}]{0,80}") {
        for bytes in [bytes, text.into_bytes()] {
            if let Err(error) = Procfile::parse(&bytes) {
                let said = error.to_string();
                prop_assert!(said.len() < 500 && !said.chars().any(char::is_control), "{said}");
            }
        }
    }

    #[test]
    fn what_was_declared_is_read_back(names in prop::collection::btree_set("[A-Za-z0-9_-]{1,63}", 0..8), command in "[!-~][ -~]{0,40}[!-~]") {
        let text: String = names.iter().map(|name| format!("{name}: {command}\n")).collect();
        let procfile = Procfile::parse(text.as_bytes()).unwrap();
        let read: std::collections::BTreeSet<String> =
            procfile.processes.keys().map(ToString::to_string).chain(procfile.release.map(|_| "release".into())).collect();
        prop_assert_eq!(read, names);
        prop_assert!(procfile.processes.values().all(|read| *read == command));
    }
}
