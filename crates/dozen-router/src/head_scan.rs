//! A strict look at the raw bytes of requests, beside the parser.
//!
//! The parser repairs what it can: it drops a second Content-Length, lets Transfer-Encoding win
//! over it, and accepts lines that end in a bare LF. Our safety does not rest on refusing those
//! (bodies are framed anew towards the app), but whoever sends them means no good, and another
//! proxy in front may have understood them otherwise. So the bytes are scanned before the parser
//! sees them, and the first request that breaks a rule, and any behind it, gets a 400:
//!
//! - every line ends in CRLF, none is folded, each header has a name without spaces;
//! - at most one Content-Length, digits only; at most one Transfer-Encoding, exactly `chunked`, not
//!   in HTTP/1.0; never both;
//! - chunk sizes are plain hexadecimal.
//!
//! The scan does no I/O and keeps no copy but of a line that arrives in parts.
//! Start reading at [`HeadScan::feed`].

/// The longest request head.
pub(crate) const MAX_HEAD: usize = 64 << 10;
/// The longest line with a chunk's size; extensions are allowed and ignored.
const MAX_CHUNK_LINE: usize = 1 << 10;

/// Where in the stream of requests a connection is.
#[derive(Debug)]
pub(crate) struct HeadScan {
    state: State,
    /// The start of a line whose end has not arrived.
    partial: Vec<u8>,
    /// Bytes of the current head or trailers.
    head_bytes: usize,
    head: Head,
    /// Complete heads so far.
    heads: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a request line; empty lines are skipped.
    Between,
    Headers,
    /// Bytes of a body with a known length.
    Body(u64),
    ChunkSize,
    /// Bytes of a chunk.
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Broken,
}

#[derive(Debug, Default)]
struct Head {
    is_http_10: bool,
    length: Option<u64>,
    chunked: bool,
}

/// A rule was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// In the head of this request, counted from 1.
    Head(u64),
    /// In the body of a request that is being served already.
    Body,
}

impl HeadScan {
    pub(crate) fn new() -> Self {
        Self { state: State::Between, partial: Vec::new(), head_bytes: 0, head: Head::default(), heads: 0 }
    }

    /// Complete heads so far.
    pub(crate) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a head has begun and is not complete.
    pub(crate) fn is_inside_head(&self) -> bool {
        self.state == State::Headers || (self.state == State::Between && !self.partial.is_empty())
    }

    /// Whether the last request was complete and no other has begun.
    pub(crate) fn is_between(&self) -> bool {
        self.state == State::Between && self.partial.is_empty()
    }

    /// Looks at the next bytes of the stream. After a rule was broken nothing is looked at any more.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Broken> {
        while !bytes.is_empty() {
            match self.state {
                State::Broken => return Ok(()),
                State::Body(left) | State::Chunk(left) => {
                    let taken = left.min(bytes.len() as u64);
                    // It fits: it is at most the length of a slice.
                    bytes = &bytes[taken as usize..];
                    self.state = self.after_body_bytes(left - taken);
                }
                _ => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        self.check_room(bytes.len())?;
                        self.partial.extend_from_slice(bytes);
                        return Ok(());
                    };
                    let (line, rest) = bytes.split_at(end + 1);
                    bytes = rest;
                    self.check_room(line.len())?;
                    self.line(line)?;
                }
            }
        }
        Ok(())
    }

    fn after_body_bytes(&self, left: u64) -> State {
        match (self.state, left) {
            (State::Chunk(_), 0) => State::ChunkEnd,
            (State::Chunk(_), _) => State::Chunk(left),
            (_, 0) => State::Between,
            _ => State::Body(left),
        }
    }

    fn check_room(&mut self, more: usize) -> Result<(), Broken> {
        let limit = if self.state == State::ChunkSize { MAX_CHUNK_LINE } else { MAX_HEAD };
        if self.head_bytes + self.partial.len() + more > limit { Err(self.broken()) } else { Ok(()) }
    }

    fn broken(&mut self) -> Broken {
        let broken = match self.state {
            State::Between | State::Headers => Broken::Head(self.heads + 1),
            _ => Broken::Body,
        };
        self.state = State::Broken;
        self.partial = Vec::new();
        broken
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Broken> {
        if self.partial.is_empty() {
            return self.whole_line(line);
        }
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(line);
        let outcome = self.whole_line(&whole);
        // The room is kept for the next split line.
        whole.clear();
        self.partial = whole;
        outcome
    }

    fn whole_line(&mut self, line: &[u8]) -> Result<(), Broken> {
        self.head_bytes += line.len();
        let Some(line) = line.strip_suffix(b"\r\n") else { return Err(self.broken()) };
        let next = match self.state {
            State::Between if line.is_empty() => Some(State::Between),
            State::Between => {
                self.head = Head { is_http_10: line.ends_with(b" HTTP/1.0"), ..Head::default() };
                Some(State::Headers)
            }
            State::Headers if line.is_empty() => {
                self.heads += 1;
                self.head_bytes = 0;
                Some(self.head.body())
            }
            State::Headers => self.head.header(line).map(|()| State::Headers),
            State::ChunkSize => {
                self.head_bytes = 0;
                chunk_size(line).map(|size| if size == 0 { State::Trailers } else { State::Chunk(size) })
            }
            State::ChunkEnd => {
                self.head_bytes = 0;
                line.is_empty().then_some(State::ChunkSize)
            }
            State::Trailers if line.is_empty() => {
                self.head_bytes = 0;
                Some(State::Between)
            }
            State::Trailers => Some(State::Trailers),
            State::Body(_) | State::Chunk(_) | State::Broken => None,
        };
        self.state = next.ok_or_else(|| self.broken())?;
        Ok(())
    }
}

impl Head {
    fn header(&mut self, line: &[u8]) -> Option<()> {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let is_name = !name.is_empty() && !name.iter().any(|byte| byte.is_ascii_whitespace());
        if !is_name {
            return None;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
            let length =
                digits.then(|| value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))?;
            let is_second = self.chunked || self.length.replace(length).is_some();
            (!is_second).then_some(())
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let is_second = self.length.is_some() || std::mem::replace(&mut self.chunked, true);
            let is_chunked = value.eq_ignore_ascii_case(b"chunked");
            (is_chunked && !is_second && !self.is_http_10).then_some(())
        } else {
            Some(())
        }
    }

    fn body(&self) -> State {
        match (self.chunked, self.length) {
            (true, _) => State::ChunkSize,
            (false, Some(length)) if length > 0 => State::Body(length),
            _ => State::Between,
        }
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let is_size = (1..=15).contains(&digits) && matches!(line.get(digits), None | Some(b';'));
    let text = std::str::from_utf8(&line[..digits]).ok().filter(|_| is_size)?;
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same bytes whole, one by one, and cut in two at each place must be judged alike.
    fn judge(bytes: &[u8]) -> (Result<(), Broken>, u64) {
        let feed = |parts: &[&[u8]]| {
            let mut scan = HeadScan::new();
            let verdict = parts.iter().try_for_each(|part| scan.feed(part));
            (verdict, scan.heads())
        };
        let whole = feed(&[bytes]);
        assert_eq!(feed(&bytes.chunks(1).collect::<Vec<_>>()), whole);
        for at in 0..bytes.len() {
            assert_eq!(feed(&[&bytes[..at], &bytes[at..]]), whole, "cut at {at}");
        }
        whole
    }

    #[test]
    fn well_framed_requests_pass_and_are_counted() {
        for (good, heads) in [
            (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], 1),
            (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 2),
            (b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nG\n\nGET / HTTP/1.1\r\n\r\n", 2),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\n\n\n\n\r\n0\r\nT: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n", 2),
            (b"POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n", 1),
        ] {
            assert_eq!(judge(good), (Ok(()), heads), "{}", good.escape_ascii());
        }
    }

    #[test]
    fn a_head_that_could_be_framed_in_two_ways_is_refused() {
        for bad in [
            &b"POST / HTTP/1.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 2, 2\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: +2\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length : 2\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
            b"GET / HTTP/1.1\nHost: a\n\n",
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        ] {
            assert_eq!(judge(bad).0, Err(Broken::Head(1)), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn the_second_of_two_requests_is_the_one_refused() {
        let two = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\nHost: a\r\n\r\n";
        assert_eq!(judge(two), (Err(Broken::Head(2)), 1));
    }

    #[test]
    fn an_odd_chunk_breaks_the_body() {
        for chunk in [
            "2;\nxx\r\nab\r\n",
            "0x2\r\nab\r\n",
            "+2\r\nab\r\n",
            "\r\n",
            "2\r\nabc\r\n",
            "2 \r\nab\r\n",
            "10000000000000000\r\n",
        ] {
            let request = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
            assert_eq!(judge(request.as_bytes()).0, Err(Broken::Body), "{chunk:?}");
        }
    }

    #[test]
    fn an_endless_head_is_refused() {
        let mut scan = HeadScan::new();
        assert_eq!(scan.feed(b"GET / HTTP/1.1\r\nX: "), Ok(()));
        assert!(scan.is_inside_head());
        let verdict = (0..MAX_HEAD).map(|_| scan.feed(b"y")).find(Result::is_err);
        assert_eq!(verdict, Some(Err(Broken::Head(1))));
    }
}
