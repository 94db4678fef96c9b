//! Rules for the texts of a manifest that have no type of their own.
//!
//! Each takes a text from a hostile repository and says what is wrong with it, or nothing. None
//! of the sentences quotes the text.

/// The most bytes a `dozen.toml` or an `app.json` may have.
pub(super) const FILE_LIMIT: usize = 64 << 10;

/// The most packages that one list may have.
const MOST_PACKAGES: usize = 200;

/// A text's rule: what is wrong with it, if anything.
pub(super) type Rule = fn(&str) -> Option<&'static str>;

/// Any text that an environment variable can hold.
pub(super) fn value(text: &str) -> Option<&'static str> {
    text.contains('\0').then_some("a NUL character cannot be in an environment variable")
}

/// One line that is shown to people.
pub(super) fn sentence(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        Some("write a sentence")
    } else if text.chars().any(char::is_control) || text.chars().count() > 1000 {
        Some("write one line of up to 1,000 characters without control characters")
    } else {
        None
    }
}

/// A command, in one or more lines.
pub(super) fn command(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        Some("write a command")
    } else if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        Some("a command holds no control characters")
    } else {
        None
    }
}

/// A path below the source tree, or `.` for the tree itself.
pub(super) fn tree_path(text: &str) -> Option<&'static str> {
    let inside = |part: &str| !matches!(part, "" | "." | "..");
    if text.len() > 255 || text.chars().any(char::is_control) {
        Some("use up to 255 bytes without control characters")
    } else if text != "." && !text.split('/').all(inside) {
        Some("write a path below the source tree, without `..`, empty parts and slashes at its ends")
    } else {
        None
    }
}

/// A path that an HTTP request can ask for.
pub(super) fn request_path(text: &str) -> Option<&'static str> {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if !text.starts_with('/') || text.starts_with("//") || text.len() > 1024 || !plain {
        Some("write a path such as `/healthz`, without spaces and `#`")
    } else {
        None
    }
}

/// The version of a language: one to three numbers.
pub(super) fn version(text: &str) -> Option<&'static str> {
    let number = |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let parts = text.split('.').count();
    (parts > 3 || !text.split('.').all(number))
        .then_some("write one to three numbers, such as `3.12` or `20.11.1`")
}

/// The name of a package of the host; it cannot be taken for an option of its package manager.
pub(super) fn package(text: &str) -> Option<&'static str> {
    let first = |b: u8| b.is_ascii_alphanumeric();
    let inner = |b: u8| first(b) || matches!(b, b'+' | b'.' | b'-' | b'_');
    let plain = text.bytes().next().is_some_and(first) && text.bytes().all(inner) && text.len() <= 100;
    (!plain).then_some("write the name of a package, such as `libpq5`")
}

/// How many packages one list may have.
pub(super) fn package_count(count: usize) -> Option<&'static str> {
    (count > MOST_PACKAGES).then_some("list up to 200 packages")
}

/// The name of one parameter in a URL's query.
pub(super) fn url_option(text: &str) -> Option<&'static str> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let plain = (1..=64).contains(&text.len()) && text.bytes().all(inner);
    (!plain).then_some("use letters, digits, `_`, `-` and `.`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: Rule, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(rule(text), None, "{text:?}");
        }
        for text in bad {
            assert!(rule(text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn a_tree_path_stays_in_the_tree() {
        check(
            tree_path,
            &[".", "public", "a/b.c", "..x"],
            &["", "/etc", "..", "a/../b", "a/", "./a", "a//b", "a\nb", &"a".repeat(256)],
        );
    }

    #[test]
    fn a_package_name_is_never_an_option() {
        check(
            package,
            &["libpq5", "g++", "libstdc++-12-dev", "7zip"],
            &["", "-y", "--purge", "a b", "a=1", "a;b", "../x"],
        );
        assert!(package_count(201).is_some());
    }

    #[test]
    fn a_request_path_fits_a_request_line() {
        check(
            request_path,
            &["/", "/healthz?full=1"],
            &["", "healthz", "//host/x", "/a b", "/a#b", "/a\r\nHost: x", "/é"],
        );
    }

    #[test]
    fn a_version_is_one_to_three_numbers() {
        check(version, &["3", "3.12", "20.11.1"], &["", "3.", "v3", "3.12.1.1", ">=3", "3.x", "99999", "٣"]);
    }

    #[test]
    fn a_sentence_and_a_command_hold_no_control_characters() {
        check(sentence, &["a reason"], &["", " ", "a\nb", "\x1b[31m", &"a".repeat(1001)]);
        check(command, &["make", "a\n\tb"], &["", "\n", "a\0", "a\x1b"]);
        check(value, &["", "a\nb\x1b"], &["\0"]);
        check(url_option, &["sslmode", "a-b.c_d"], &["", "a=b", "a&b", "é"]);
    }
}
