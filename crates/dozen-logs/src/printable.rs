//! What of a hostile line reaches a terminal.
//!
//! Colours (SGR sequences) may pass; all else that a terminal would act on is removed when it is
//! a whole sequence (cursor moves, titles, clipboard writes) and shown as an escape when it is a
//! lone character (C0, C1, and the marks that turn text around). Invalid UTF-8 is replaced.
//!
//! Pure. Start reading at [`printable`].

use std::{borrow::Cow, fmt::Write as _};

const ESCAPE: char = '\u{1b}';
const BELL: u8 = 7;

/// The text as it may be printed, `colour` telling whether its own colours may pass.
pub(crate) fn printable(text: &[u8], colour: bool) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(text);
    if text.chars().all(is_harmless) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    let mut coloured = false;
    // Once no end of a control string was found, none follows: looking for it at each start of one
    // would make a hostile line cost the square of its length.
    let mut has_terminator = true;
    while let Some(next) = rest.chars().next() {
        if let Some(length) = sequence_length(rest, &mut has_terminator) {
            let sequence = &rest[..length];
            if colour && is_colour(sequence) {
                out.push_str(sequence);
                coloured = true;
            }
            rest = &rest[length..];
            continue;
        }
        if is_harmless(next) {
            out.push(next);
        } else {
            push_escaped(&mut out, next);
        }
        rest = &rest[next.len_utf8()..];
    }
    if coloured {
        // The app may have left its colour on; the next line is another's.
        out.push_str("\u{1b}[0m");
    }
    Cow::Owned(out)
}

fn is_harmless(c: char) -> bool {
    c == '\t' || !(c.is_control() || turns_text_around(c))
}

/// Bidirectional marks and line separators: with them a line can show what it does not say.
fn turns_text_around(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn push_escaped(out: &mut String, c: char) {
    let code = u32::from(c);
    let written = if code <= 0xff { write!(out, "\\x{code:02x}") } else { write!(out, "\\u{{{code:x}}}") };
    written.expect("writing to a string cannot fail");
}

/// The length in bytes of the control sequence that `text` starts with. `None` where it starts
/// with none, or with one that never ends: its start alone is then escaped, so that a line
/// cannot hide the rest of itself.
fn sequence_length(text: &str, has_terminator: &mut bool) -> Option<usize> {
    let rest = text.strip_prefix(ESCAPE)?;
    let after_escape = match rest.chars().next()? {
        '[' => 1 + control_sequence(&rest[1..])?,
        ']' | 'P' | 'X' | '^' | '_' => {
            let length = if *has_terminator { control_string(&rest[1..]) } else { None };
            *has_terminator = length.is_some();
            1 + length?
        }
        ' '..='/' => {
            let last = rest.find(|c| !(' '..='/').contains(&c))?;
            last + rest[last..].chars().next().filter(|c| ('0'..='~').contains(c))?.len_utf8()
        }
        '0'..='~' => 1,
        _ => return None,
    };
    Some(ESCAPE.len_utf8() + after_escape)
}

fn control_sequence(text: &str) -> Option<usize> {
    let last = text.find(|c| !(' '..='?').contains(&c))?;
    text[last..].starts_with(|c| ('@'..='~').contains(&c)).then_some(last + 1)
}

fn control_string(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr::memchr2_iter(BELL, ESCAPE as u8, bytes).find_map(|at| match bytes[at] {
        BELL => Some(at + 1),
        _ => (bytes.get(at + 1) == Some(&b'\\')).then_some(at + 2),
    })
}

fn is_colour(sequence: &str) -> bool {
    let parameters = sequence.strip_prefix("\u{1b}[").and_then(|rest| rest.strip_suffix('m'));
    parameters.is_some_and(|text| text.bytes().all(|b| b.is_ascii_digit() || b == b';' || b == b':'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_pass_only_where_wanted_and_are_put_back() {
        assert_eq!(printable(b"\x1b[1;31mred\x1b[0m", false), "red");
        assert_eq!(printable(b"\x1b[31mred", true), "\x1b[31mred\x1b[0m");
    }

    #[test]
    fn sequences_that_act_on_the_terminal_are_removed() {
        let hostile =
            b"a\x1b[2Jb\x1b]0;title\x07c\x1b]52;c;aGk=\x1b\\d\x1bPq\x1b\\e\x1b(0f\x1bcg\x1b[?1049hh";
        assert_eq!(printable(hostile, true), "abcdefgh");
    }

    #[test]
    fn lone_controls_are_shown_and_an_endless_sequence_hides_nothing() {
        assert_eq!(printable(b"a\x07b\x00\rc\x7f\td", true), "a\\x07b\\x00\\x0dc\\x7f\td");
        assert_eq!(printable("\u{9b}2Jx\u{202e}y".as_bytes(), true), "\\x9b2Jx\\u{202e}y");
        assert_eq!(printable(b"\x1b]0;never ends: sudo was here", true), "\\x1b]0;never ends: sudo was here");
        assert_eq!(printable(b"end\x1b", true), "end\\x1b");
    }

    #[test]
    fn a_line_of_starts_without_an_end_costs_no_more_than_its_length() {
        let starts = "\u{1b}]".repeat(200_000);
        let before = std::time::Instant::now();
        assert_eq!(printable(starts.as_bytes(), true).len(), 5 * 200_000);
        // In a debug build some 50 ms; the square of it would be minutes.
        assert!(before.elapsed() < std::time::Duration::from_secs(5), "{:?}", before.elapsed());
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        assert_eq!(printable(b"a\xff\xfeb", true), "a\u{fffd}\u{fffd}b");
    }

    proptest! {
        #[test]
        fn without_colour_no_control_character_comes_through(
            text in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x1b), Just(b'['), Just(b'm'), Just(b']')], 0..200),
        ) {
            let clean = printable(&text, false);
            prop_assert!(clean.chars().all(is_harmless), "{clean:?}");
        }
    }
}
