//! Where a head ends, found while it arrives.
//!
//! Every byte is looked at once, however small the pieces are, and every line must end in CRLF: a
//! bare LF is how one head is made to look like two.

use tokio::time::Instant;

use super::Malformed;

/// How far a head has been looked at.
#[derive(Debug, Default)]
pub(crate) struct HeadEnd {
    scanned: usize,
    line: usize,
    since: Option<Instant>,
}

impl HeadEnd {
    /// When this head was first waited for.
    pub(crate) fn since(&mut self) -> Instant {
        *self.since.get_or_insert_with(Instant::now)
    }

    /// Looks at `bytes`, which begin with the head and have grown since the last call. Returns the
    /// head's length with its empty line, once it is whole.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        while let Some(found) = memchr::memchr(b'\n', &bytes[self.scanned..]) {
            let at = self.scanned + found;
            if at == 0 || bytes[at - 1] != b'\r' {
                return Err(Malformed);
            }
            let is_empty = at - self.line == 1;
            (self.scanned, self.line) = (at + 1, at + 1);
            if is_empty {
                *self = Self::default();
                return Ok(Some(at + 1));
            }
        }
        self.scanned = bytes.len();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_the_same_however_the_head_arrives() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        let end = bytes.len() - 4;
        assert_eq!(HeadEnd::default().find(bytes), Ok(Some(end)));
        let mut slowly = HeadEnd::default();
        let seen: Vec<_> = (0..=end).map(|length| slowly.find(&bytes[..length]).unwrap()).collect();
        assert_eq!(seen.iter().flatten().collect::<Vec<_>>(), [&end]);
    }

    #[test]
    fn a_bare_line_feed_is_no_line_end() {
        for bad in
            [&b"\n"[..], b"GET / HTTP/1.1\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\n\r\n", b"a\r\n\n"]
        {
            assert_eq!(HeadEnd::default().find(bad), Err(Malformed), "{}", bad.escape_ascii());
        }
    }
}
