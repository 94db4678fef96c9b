//! Takes secrets out of log lines, by value.
//!
//! A value of fewer than eight bytes is left alone: `1` or `true` is in every second line, and to
//! cut those out hides the log, not the secret.

/// The shortest value that is taken out.
const SHORTEST: usize = 8;

/// What stands in a secret's place.
const REDACTED: &[u8] = b"[redacted]";

/// `line` with every secret of eight bytes or more replaced by `[redacted]`; the longest secret
/// first, so that one which holds another is replaced whole.
pub fn redact(line: &[u8], secrets: &[Vec<u8>]) -> Vec<u8> {
    let mut wanted: Vec<&[u8]> = secrets.iter().map(Vec::as_slice).filter(|s| s.len() >= SHORTEST).collect();
    if wanted.is_empty() {
        return line.to_vec();
    }
    wanted.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut clean = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(&first) = rest.first() {
        if let Some(secret) = wanted.iter().find(|secret| rest.starts_with(secret)) {
            clean.extend_from_slice(REDACTED);
            rest = &rest[secret.len()..];
        } else {
            clean.push(first);
            rest = &rest[1..];
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(line: &str, secrets: &[&str]) -> String {
        let secrets: Vec<Vec<u8>> = secrets.iter().map(|s| s.as_bytes().to_vec()).collect();
        String::from_utf8(redact(line.as_bytes(), &secrets)).unwrap()
    }

    #[test]
    fn a_secret_is_replaced_wherever_it_stands() {
        assert_eq!(
            redacted("a hunter2hunter2 b hunter2hunter2", &["hunter2hunter2"]),
            "a [redacted] b [redacted]"
        );
    }

    #[test]
    fn the_longer_of_two_secrets_is_replaced_whole() {
        assert_eq!(
            redacted("postgres://u:password1@h/d", &["password1", "postgres://u:password1@h/d"]),
            "[redacted]"
        );
        assert_eq!(redacted("password1-and-more", &["password1", "password1-and-more"]), "[redacted]");
    }

    #[test]
    fn short_values_stay() {
        assert_eq!(redacted("debug is true", &["true", "1", "debug i"]), "debug is true");
    }
}
