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

/// The user and password of each URL in a setting, together and the password alone.
pub(crate) fn credentials(setting: &str) -> Vec<Vec<u8>> {
    let urls = setting.split_whitespace().filter_map(|word| word.split_once("://"));
    let authorities = urls.map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let user_infos = authorities.filter_map(|authority| Some(authority.rsplit_once('@')?.0));
    user_infos
        .flat_map(|both| [Some(both), both.split_once(':').map(|(_, password)| password)])
        .flatten()
        .map(|text| text.as_bytes().to_vec())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_an_index_are_found() {
        let found = credentials("https://me:pass%40word@index.test/simple http://token123@other.test");
        let found: Vec<_> = found.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
        assert_eq!(found, ["me:pass%40word", "pass%40word", "token123"]);
        assert!(credentials("https://index.test/a@b").is_empty());
    }

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
    }

    #[test]
    fn short_values_stay() {
        assert_eq!(redacted("debug is true", &["true", "1", "debug i"]), "debug is true");
    }
}
