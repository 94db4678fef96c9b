//! What of a hostile text reaches a terminal.
//!
//! Log lines, commit subjects and error texts come from outside. A control sequence in them could
//! move the cursor, retitle the window, answer a query as if typed, or hide what was printed
//! before; a format character could turn a line around or hide a part of it. Colours (SGR
//! sequences) may pass; all else that a terminal would act on is removed when it is a whole
//! sequence and shown as an escape when it is a lone character. So nothing is hidden by what has
//! no end.
//!
//! Pure. Start reading at [`printable`].

use std::{borrow::Cow, fmt::Write as _};

const ESCAPE: char = '\u{1b}';

/// Longest colour sequence that is let through.
const LONGEST_COLOUR: usize = 32;

/// The text as it may be printed, `colour` telling whether its own colours may pass.
///
/// A tab stays. A line end within becomes a space, so that what is one line stays one line; a
/// carriage return at the end goes.
pub fn printable(text: &str, colour: bool) -> Cow<'_, str> {
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut coloured = false;
    while let Some(next) = rest.chars().next() {
        if let Some(length) = sequence_length(rest) {
            let sequence = &rest[..length];
            if colour && is_colour(sequence) {
                out.push_str(sequence);
                coloured = true;
            }
            rest = &rest[length..];
            continue;
        }
        match next {
            '\n' => out.push(' '),
            harmless if is_harmless(harmless) => out.push(harmless),
            other => push_escaped(&mut out, other),
        }
        rest = &rest[next.len_utf8()..];
    }
    if coloured {
        // The app may have left its colour on; the next line is another's.
        out.push_str("\u{1b}[0m");
    }
    Cow::Owned(out)
}

/// JSON as it may be printed: the same value, with all that is not harmless as a JSON escape.
///
/// JSON itself escapes only C0; what else a terminal would act on can stand in a string alone.
pub fn printable_json(json: String) -> String {
    let stays = |letter: char| letter == '\n' || is_harmless(letter);
    if json.chars().all(stays) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for letter in json.chars() {
        if stays(letter) {
            out.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            write!(out, "\\u{unit:04x}").expect("writing to a string cannot fail");
        }
    }
    out
}

/// Whether a character does nothing but stand where it stands: it is a tab, or neither a control
/// nor a format character.
///
/// The joiners U+200C and U+200D are harmless: words of many languages and emoji need them.
pub fn is_harmless(letter: char) -> bool {
    letter == '\t' || !(letter.is_control() || is_format(letter))
}

/// What reorders, breaks or hides text (Unicode's Cf, Zl and Zp), but for the joiners and for the
/// signs of Cf that are seen, such as the Arabic number sign.
fn is_format(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{61c}' | '\u{70f}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e007f}')
}

fn push_escaped(out: &mut String, letter: char) {
    let code = u32::from(letter);
    let written = if code <= 0xff { write!(out, "\\x{code:02x}") } else { write!(out, "\\u{{{code:x}}}") };
    written.expect("writing to a string cannot fail");
}

/// The length in bytes of the control sequence that `text` starts with. `None` where it starts
/// with none, or with one that never ends: its start alone is then escaped, so that a line
/// cannot hide the rest of itself.
fn sequence_length(text: &str) -> Option<usize> {
    let rest = text.strip_prefix(ESCAPE)?;
    let after_escape = match rest.chars().next()? {
        '[' => 1 + control_sequence(&rest[1..])?,
        ']' | 'P' | 'X' | '^' | '_' => 1 + control_string(&rest[1..])?,
        ' '..='/' => {
            let last = rest.find(|letter| !(' '..='/').contains(&letter))?;
            last + rest[last..].chars().next().filter(|letter| ('0'..='~').contains(letter))?.len_utf8()
        }
        '0'..='~' => 1,
        _ => return None,
    };
    Some(ESCAPE.len_utf8() + after_escape)
}

/// Parameters and intermediates, then one final byte.
fn control_sequence(text: &str) -> Option<usize> {
    let last = text.find(|letter| !(' '..='?').contains(&letter))?;
    text[last..].starts_with(|letter| ('@'..='~').contains(&letter)).then_some(last + 1)
}

/// A string up to BEL or ESC `\`. Any other ESC breaks it off, for a terminal too; so no line is
/// looked through twice.
fn control_string(text: &str) -> Option<usize> {
    let end = text.find(['\x07', ESCAPE])?;
    match &text[end..] {
        bell if bell.starts_with('\x07') => Some(end + 1),
        terminator => terminator.starts_with("\x1b\\").then_some(end + 2),
    }
}

/// Whether a sequence does nothing but set colours and weights.
fn is_colour(sequence: &str) -> bool {
    let parameters = sequence.strip_prefix("\u{1b}[").and_then(|rest| rest.strip_suffix('m'));
    sequence.len() <= LONGEST_COLOUR
        && parameters.is_some_and(|text| text.bytes().all(|b| b.is_ascii_digit() || b == b';' || b == b':'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_text_is_not_touched() {
        for text in ["", "hello", "tab\there", "äöü – 漢字 🙂", "می\u{200c}خواهم 👩\u{200d}🚀"]
        {
            assert!(matches!(printable(text, false), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn colours_pass_only_where_wanted_and_are_put_back() {
        assert_eq!(printable("\x1b[1;31mred\x1b[0m", false), "red");
        assert_eq!(printable("\x1b[31mred", true), "\x1b[31mred\x1b[0m");
        assert_eq!(printable(&format!("\x1b[{}mred", "1;".repeat(20)), true), "red");
    }

    #[test]
    fn sequences_that_act_on_the_terminal_are_removed() {
        let hostile = "a\x1b[2Jb\x1b]0;title\x07c\x1b]52;c;aGk=\x1b\\d\x1bPq\x1b\\e\x1b(0f\x1bcg\x1b[?1049hh";
        assert_eq!(printable(hostile, true), "abcdefgh");
        assert_eq!(printable("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", true), "link");
        assert_eq!(printable("a\x1b[1A\x1b[2Kb\x1b[6n", true), "ab");
    }

    #[test]
    fn lone_controls_are_shown_and_an_endless_sequence_hides_nothing() {
        for (hostile, shown) in [
            ("a\x07b\x00\rc\x7f\td", "a\\x07b\\x00\\x0dc\\x7f\td"),
            ("\u{9b}2Jx\u{202e}y", "\\x9b2Jx\\u{202e}y"),
            ("\x1b]0;never ends: sudo was here", "\\x1b]0;never ends: sudo was here"),
            ("\x1b]0;broken off\x1b[31m, red\x07", "\\x1b]0;broken off, red\\x07"),
            ("\x1b\u{e9}x", "\\x1b\u{e9}x"),
            ("\x1b[38;5;", "\\x1b[38;5;"),
            ("end\x1b", "end\\x1b"),
        ] {
            assert_eq!(printable(hostile, false), shown, "{hostile:?}");
        }
    }

    #[test]
    fn what_reorders_or_hides_text_is_shown() {
        for (hostile, shown) in [
            ("user\u{61c}12", "user\\u{61c}12"),
            ("a\u{200e}\u{200f}\u{202a}\u{2066}\u{2069}b", "a\\u{200e}\\u{200f}\\u{202a}\\u{2066}\\u{2069}b"),
            (
                "a\u{200b}\u{ad}\u{feff}\u{2060}\u{2064}\u{206f}b",
                "a\\u{200b}\\xad\\u{feff}\\u{2060}\\u{2064}\\u{206f}b",
            ),
            ("a\u{2028}\u{2029}b", "a\\u{2028}\\u{2029}b"),
            ("a\u{fff9}\u{180e}\u{e0041}b", "a\\u{fff9}\\u{180e}\\u{e0041}b"),
        ] {
            assert_eq!(printable(hostile, true), shown, "{hostile:?}");
        }
    }

    #[test]
    fn one_line_stays_one_line() {
        assert_eq!(printable("a\nb", false), "a b");
        assert_eq!(printable("from windows\r", false), "from windows");
    }

    #[test]
    fn json_is_safe_to_print_and_means_the_same() {
        let value =
            serde_json::json!({ "text": "caf\u{e9} \u{9b}2J \u{1b}[31m\u{7f} \u{61c}\u{e0041} a\tb" });
        for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let safe = printable_json(json);
            assert!(safe.chars().all(|letter| letter == '\n' || is_harmless(letter)), "{safe:?}");
            assert!(safe.contains(r"\u009b2J") && safe.contains(r"\u061c\udb40\udc41"), "{safe}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        }
    }

    #[test]
    fn a_line_of_starts_without_an_end_costs_no_more_than_its_length() {
        for start in ["\u{1b}]", "\u{1b}[", "\u{1b}P"] {
            let starts = start.repeat(100_000);
            let before = std::time::Instant::now();
            assert_eq!(printable(&starts, true).len(), 5 * 100_000);
            // In a debug build some 50 ms; the square of it would be minutes.
            assert!(before.elapsed() < std::time::Duration::from_secs(5), "{:?}", before.elapsed());
        }
    }

    proptest! {
        #[test]
        fn without_colour_nothing_harmful_comes_through(
            text in prop::collection::vec(prop_oneof![any::<char>(), Just('\x1b'), Just('['), Just('m'), Just(']')], 0..200),
        ) {
            let text = String::from_iter(text);
            let clean = printable(&text, false);
            prop_assert!(clean.chars().all(is_harmless), "{clean:?}");
        }
    }
}
