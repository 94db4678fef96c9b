//! What the reader of `.env` files takes and refuses.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Vec<(String, String)> {
    let vars = Dotenv::parse(text.as_bytes()).unwrap().vars;
    vars.into_iter().map(|(name, value)| (name.to_string(), String::from_utf8(value).unwrap())).collect()
}

#[track_caller]
fn value(text: &str, expected: &str) {
    assert_eq!(read(text), [("A".to_owned(), expected.to_owned())], "{text}");
}

#[test]
fn values_are_read_as_foreman_reads_them() {
    value("A=b c", "b c");
    value("A='$x \\n \"'", "$x \\n \"");
    value("A=\"a\\nb \\\"c\\\" \\\\n \\$d\"", "a\nb \"c\" \\n $d");
    value("A=$HOME/`id`$(id)", "$HOME/`id`$(id)");
    value("A=x=y", "x=y");
    value("A=", "");
    value("A=\"\"", "");
    value("A=it's", "it's");
    value("export A=b", "b");
    value("\u{feff}# c\r\n\r\n  A=b  \r\n", "b");
    value("A='b' # comment", "b");
}

#[test]
fn the_order_of_the_file_is_kept() {
    let names: Vec<String> = read("B=1\nA=2\n_c3=4").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["B", "A", "_c3"]);
}

#[test]
fn a_bad_line_is_an_error_with_its_number_and_without_its_text() {
    for bad in [
        "topsecret",
        "A =topsecret",
        "A= topsecret",
        "1A=topsecret",
        "A-B=topsecret",
        "=topsecret",
        "export topsecret",
        "Ä=topsecret",
    ] {
        let error = Dotenv::parse(format!("OK=1\n{bad}").as_bytes()).unwrap_err();
        assert_eq!(error, DotenvError::NotAnAssignment { line: 2 }, "{bad}");
        assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("topsecret"));
    }
    for bad in ["A='topsecret", "A=\"topsecret", "A=\"topsecret\\\"", "A=\"topsecret\\"] {
        assert!(matches!(Dotenv::parse(bad.as_bytes()), Err(DotenvError::Unclosed { line: 1, .. })), "{bad}");
    }
    for bad in ["A='b'topsecret", "A=\"b\" topsecret", "A='b'#c"] {
        assert!(
            matches!(Dotenv::parse(bad.as_bytes()), Err(DotenvError::AfterQuote { line: 1, .. })),
            "{bad}"
        );
    }
    assert_eq!(Dotenv::parse(b"A=\xff"), Err(DotenvError::NotText { line: 1 }));
    assert_eq!(Dotenv::parse(b"\nA=\0"), Err(DotenvError::ControlCharacter { line: 2 }));
    assert_eq!(Dotenv::parse(b"A=b\rB=c"), Err(DotenvError::ControlCharacter { line: 1 }));
    assert_eq!(Dotenv::parse(&vec![b'#'; Dotenv::LIMIT + 1]), Err(DotenvError::TooLarge));
}

#[test]
fn a_name_that_comes_twice_is_an_error() {
    let error = Dotenv::parse(b"A=1\nB=2\nA=3").unwrap_err();
    assert_eq!(error.to_string(), "line 3 sets `A` again, as line 1 did");
}

#[test]
fn what_dozen_sets_itself_is_left_out_with_a_warning() {
    let file = Dotenv::parse(b"PORT=5000\nDOZEN_HOME=/x\nA=1").unwrap();
    assert_eq!(file.vars.len(), 1);
    assert_eq!(file.warnings[0], "line 1: `PORT` is left out, dozen sets it");
    assert_eq!(file.warnings.len(), 2);
}

#[test]
fn a_hash_in_a_bare_value_is_kept_with_a_warning() {
    let file = Dotenv::parse(b"A=b #c\nB=b#c").unwrap();
    assert_eq!(file.vars[0].1, b"b #c");
    assert_eq!(file.warnings.len(), 1);
}

#[test]
fn debug_output_masks_the_values() {
    let shown = format!("{:?}", Dotenv::parse(b"A=topsecret").unwrap());
    assert!(shown.contains('A') && !shown.contains("topsecret"), "{shown}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_say_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[A-F=\"'# \\\\\\n\\r\\x1b]{0,80}") {
        for bytes in [bytes, text.into_bytes()] {
            if let Err(error) = Dotenv::parse(&bytes) {
                let said = error.to_string();
                prop_assert!(said.len() < 500 && !said.chars().any(char::is_control), "{said}");
            }
        }
    }

    #[test]
    fn a_quoted_value_is_read_back(secret in "[^\\x00\\r\\n]{0,60}") {
        let double = format!("A=\"{}\"", secret.replace('\\', "\\\\").replace('"', "\\\""));
        prop_assert_eq!(read(&double), [("A".to_owned(), secret.clone())]);
        if !secret.contains('\'') {
            prop_assert_eq!(read(&format!("A='{secret}'")), [("A".to_owned(), secret)]);
        }
    }
}
