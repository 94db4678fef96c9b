//! Text from elsewhere, made safe for a terminal.
//!
//! Log lines, commit subjects and error texts are hostile input: a control sequence in them could
//! move the cursor, retitle the window, answer a query as if typed, or hide what was printed
//! before. Colour (SGR) sequences may stay where colour is wanted, and are closed at the end of
//! the line so that they cannot leak into ours. Characters that reorder text are taken out too.
//!
//! Start reading at [`printable`].

use std::borrow::Cow;

/// Longest colour sequence that is let through.
const LONGEST_COLOUR: usize = 32;

/// The text without control characters; with `colour`, colour sequences stay.
///
/// A tab stays. A newline becomes a space: what is one line stays one line.
pub(crate) fn printable(text: &str, colour: bool) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    let mut coloured = false;
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if character == '\x1b' {
            let length = sequence_length(rest);
            let sequence = &rest[..length];
            if colour && is_colour(sequence) {
                safe.push_str(sequence);
                coloured = true;
            }
            rest = &rest[length..];
            continue;
        }
        match character {
            '\n' => safe.push(' '),
            other if is_unsafe(other) => {}
            other => safe.push(other),
        }
        rest = &rest[character.len_utf8()..];
    }
    if coloured {
        safe.push_str("\x1b[0m");
    }
    Cow::Owned(safe)
}

/// Control characters (C0 without tab, DEL, C1) and characters that reorder or hide text.
fn is_unsafe(character: char) -> bool {
    let reorders = matches!(character,
        '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (character.is_control() && character != '\t') || reorders
}

/// Length in bytes of the escape sequence that `text` starts with.
fn sequence_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let end = match bytes.get(1) {
        // CSI: parameters and intermediates, then one final byte.
        Some(b'[') => {
            bytes.iter().skip(2).position(|b| !matches!(b, 0x20..=0x3f)).map_or(bytes.len(), |at| {
                let last = at + 2;
                if matches!(bytes[last], 0x40..=0x7e) { last + 1 } else { last }
            })
        }
        // OSC, DCS, SOS, PM, APC: a string up to BEL or ST. Without an end only the opener goes,
        // so that a lone one cannot swallow the rest of the line.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => string_end(bytes).unwrap_or(2),
        Some(0x20..=0x7e) => 2,
        _ => 1,
    };
    end.min(bytes.len())
}

/// The end of a control string: behind BEL, or behind ESC `\`.
fn string_end(bytes: &[u8]) -> Option<usize> {
    let at = bytes.iter().skip(2).position(|b| matches!(b, 0x07 | 0x1b))? + 2;
    if bytes[at] == 0x07 {
        return Some(at + 1);
    }
    Some(if bytes.get(at + 1) == Some(&b'\\') { at + 2 } else { at })
}

/// Whether a sequence does nothing but set colours and weights.
fn is_colour(sequence: &str) -> bool {
    let inner = sequence.strip_prefix("\x1b[").and_then(|rest| rest.strip_suffix('m'));
    sequence.len() <= LONGEST_COLOUR
        && inner.is_some_and(|inner| inner.bytes().all(|b| b.is_ascii_digit() || matches!(b, b';' | b':')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_not_touched() {
        for text in ["", "hello", "tab\there", "äöü – 漢字 🙂"] {
            assert!(matches!(printable(text, false), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn colours_stay_where_they_are_wanted_and_are_closed() {
        assert_eq!(printable("\x1b[1;31mred", true), "\x1b[1;31mred\x1b[0m");
        assert_eq!(printable("\x1b[1;31mred\x1b[0m", false), "red");
    }

    #[test]
    fn what_moves_the_cursor_or_talks_to_the_terminal_goes() {
        for (hostile, safe) in [
            ("\x1b[2Jgone", "gone"),
            ("a\x1b[1A\x1b[2Kb", "ab"),
            ("\x1b]0;title\x07text", "text"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1bP1;2|data\x1b\\x", "x"),
            ("\x1b[6n", ""),
            ("\x1bc", ""),
            ("a\rb\x08c\x07", "abc"),
            ("a\nb", "a b"),
            ("\u{9b}2Jx", "2Jx"),
            ("user\u{202e}gpj.exe", "usergpj.exe"),
            ("\x1b", ""),
            ("\x1b[", ""),
            ("\x1b]never ends", "never ends"),
            ("\x1b[38;5;", ""),
            ("\x1b\u{e9}x", "\u{e9}x"),
        ] {
            assert_eq!(printable(hostile, true), safe, "{hostile:?}");
            assert_eq!(printable(hostile, false), safe, "{hostile:?}");
        }
    }

    #[test]
    fn no_control_character_is_ever_left() {
        // Every pair of bytes after an escape, with and without an end.
        for first in 0u8..=0x7f {
            for second in 0u8..=0x7f {
                for opener in ["\x1b", "\x1b[", "\x1b]"] {
                    let text = format!("{opener}{}{}z", char::from(first), char::from(second));
                    let safe = printable(&text, false);
                    assert!(!safe.chars().any(is_unsafe), "{text:?} -> {safe:?}");
                }
            }
        }
    }
}
