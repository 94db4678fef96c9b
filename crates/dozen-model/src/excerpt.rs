//! A short, harmless quotation of text that came from outside.
//!
//! Errors about a hostile repository reach terminals and logs. What they quote is cut short and
//! its control characters and invisible letters are escaped, so it can neither flood a screen nor
//! steer a terminal.

/// The most characters quoted, before escaping.
const LONGEST: usize = 40;

/// The start of `text`, escaped and cut short; `…` marks the cut.
pub(crate) fn excerpt(text: &str) -> String {
    let mut quoted = String::new();
    for letter in text.chars().take(LONGEST) {
        match letter {
            ' '..='~' => quoted.push(letter),
            _ if letter.is_alphanumeric() => quoted.push(letter),
            _ => quoted.extend(letter.escape_default()),
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::excerpt;

    #[test]
    fn an_excerpt_is_short_and_cannot_steer_a_terminal() {
        assert_eq!(excerpt("web: größe `x`"), "web: größe `x`");
        assert_eq!(excerpt("\x1b[31m\u{202e}\u{9b}\t"), "\\u{1b}[31m\\u{202e}\\u{9b}\\t");
        assert_eq!(excerpt(&"a".repeat(5000)), format!("{}…", "a".repeat(40)));
    }
}
