//! One line of a `.env` file, written so that reading it gives the value back.

/// `NAME='value'`, or `None` for a value that such a file cannot hold.
///
/// Single quotes take everything literally; a value that has one, or a line break, needs double
/// quotes and backslashes.
pub(super) fn dotenv_line(name: &str, value: &[u8]) -> Option<String> {
    let value = std::str::from_utf8(value).ok()?;
    if !value.contains(['\'', '\n', '\r', '\0']) {
        return Some(format!("{name}='{value}'"));
    }
    let mut quoted = String::new();
    for character in value.chars() {
        match character {
            '\n' => quoted.push_str("\\n"),
            '"' | '\\' => quoted.extend(['\\', character]),
            '\r' | '\0' => return None,
            other => quoted.push(other),
        }
    }
    Some(format!("{name}=\"{quoted}\""))
}

#[cfg(test)]
mod tests {
    use dozen_model::dotenv::Dotenv;

    use super::*;

    #[test]
    fn what_is_written_is_read_back_as_it_was() {
        let hard = [
            "",
            "plain",
            "two words",
            "it's",
            "a\nb",
            "\"q\"",
            "back\\slash",
            "\\n",
            "$HOME ${x} `c`",
            "#no",
            "'\n\"\\ '",
            " x ",
        ];
        for value in hard {
            let line = dotenv_line("A", value.as_bytes()).unwrap();
            let read = Dotenv::parse(line.as_bytes()).unwrap();
            assert_eq!(read.vars[0].1, value.as_bytes(), "{line}");
            assert!(read.warnings.is_empty(), "{line}: {:?}", read.warnings);
        }
        assert_eq!(dotenv_line("A", b"\xff"), None);
        assert_eq!(dotenv_line("A", b"a\r"), None);
    }
}
