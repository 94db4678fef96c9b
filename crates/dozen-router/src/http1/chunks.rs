//! The chunked coding, read strictly: plain hexadecimal sizes, CRLF everywhere, bounded lines.
//!
//! Extensions are allowed and dropped. Trailers are kept as they are; who passes them on decides
//! which of them may cross.

use super::Malformed;

/// The longest line with a chunk's size.
const MAX_SIZE_LINE: usize = 1 << 10;
/// All trailers together.
const MAX_TRAILERS: usize = 16 << 10;

/// A chunked body on its way in.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    state: State,
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

/// What stands at the front of the bytes, once framing is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Nothing: more bytes are needed.
    More,
    /// So many bytes of the body.
    Data(usize),
    /// The body is over.
    End,
}

impl Chunks {
    /// Reads framing at the front of `bytes`: how many bytes of it to drop, and what follows then.
    pub(crate) fn advance(&mut self, bytes: &[u8]) -> Result<(usize, Piece), Malformed> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            match self.state {
                State::Done => return Ok((at, Piece::End)),
                State::Data(left) if rest.is_empty() => {
                    debug_assert!(left > 0, "a chunk without bytes is the end");
                    return Ok((at, Piece::More));
                }
                State::Data(left) => {
                    // It fits: it is at most the length of a slice.
                    return Ok((at, Piece::Data(left.min(rest.len() as u64) as usize)));
                }
                State::Size | State::DataEnd | State::Trailers => {
                    let most = if self.state == State::Trailers { MAX_TRAILERS } else { MAX_SIZE_LINE };
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        return if rest.len() > most { Err(Malformed) } else { Ok((at, Piece::More)) };
                    };
                    let line = rest[..end].strip_suffix(b"\r").filter(|line| line.len() <= most);
                    self.line(line.ok_or(Malformed)?)?;
                    at += end + 1;
                }
            }
        }
    }

    /// Takes note that so many bytes of a chunk were consumed.
    pub(crate) fn consume(&mut self, count: usize) {
        if let State::Data(left) = self.state {
            let left = left.saturating_sub(count as u64);
            self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
        }
    }

    /// The trailers as lines that each end in CRLF; mostly nothing.
    pub(crate) fn take_trailers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.trailers)
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Malformed> {
        self.state = match self.state {
            State::Size => match size(line)? {
                0 => State::Trailers,
                size => State::Data(size),
            },
            State::DataEnd if line.is_empty() => State::Size,
            State::Trailers if line.is_empty() => State::Done,
            State::Trailers if is_field(line) && self.trailers.len() + line.len() <= MAX_TRAILERS => {
                self.trailers.extend_from_slice(line);
                self.trailers.extend_from_slice(b"\r\n");
                State::Trailers
            }
            _ => return Err(Malformed),
        };
        Ok(())
    }
}

fn size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (size, extensions) = line.split_at(digits);
    let is_size = (1..=15).contains(&digits) && matches!(extensions.first(), None | Some(b';'));
    let text = std::str::from_utf8(size).ok().filter(|_| is_size && extensions.iter().all(is_text));
    text.and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or(Malformed)
}

/// `name: value` with a token for a name.
fn is_field(line: &[u8]) -> bool {
    memchr::memchr(b':', line).is_some_and(|colon| {
        colon > 0 && line[..colon].iter().all(is_token) && line[colon + 1..].iter().all(is_text)
    })
}

/// A byte that a header's value may have.
pub(crate) fn is_text(byte: &u8) -> bool {
    matches!(*byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// A byte of a token (RFC 9110, 5.6.2).
pub(crate) fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body and the trailers of `bytes`, given in these parts.
    fn read(parts: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
        let (mut chunks, mut held, mut body) = (Chunks::default(), Vec::new(), Vec::new());
        for part in parts {
            held.extend_from_slice(part);
            loop {
                let (framing, piece) = chunks.advance(&held)?;
                held.drain(..framing);
                let Piece::Data(count) = piece else { break };
                body.extend(held.drain(..count));
                chunks.consume(count);
            }
        }
        assert!(chunks.state == State::Done && held.is_empty(), "not over: {chunks:?}");
        Ok((body, chunks.take_trailers()))
    }

    #[test]
    fn a_body_is_the_same_however_it_arrives() {
        let bytes = b"3;x=\"y\"\r\nab\n\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n";
        let whole = read(&[bytes]).unwrap();
        assert_eq!(whole, (b"ab\n0123456789".to_vec(), b"X-Sum: 1\r\n".to_vec()));
        assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>()).unwrap(), whole);
        for at in 0..bytes.len() {
            assert_eq!(read(&[&bytes[..at], &bytes[at..]]).unwrap(), whole, "cut at {at}");
        }
    }

    #[test]
    fn an_odd_chunk_is_refused() {
        for chunk in [
            "2;\nxx\r\nab\r\n",
            "2;a\rb\r\nab\r\n",
            "2;\0\r\nab\r\n",
            "0x2\r\nab\r\n",
            "+2\r\nab\r\n",
            "-2\r\nab\r\n",
            "\r\n",
            "2\r\nabc\r\n",
            "2\r\nab\n",
            "2 \r\nab\r\n",
            " 2\r\nab\r\n",
            "10000000000000000\r\n",
        ] {
            let body = format!("{chunk}0\r\n\r\n");
            assert_eq!(read(&[body.as_bytes()]), Err(Malformed), "{chunk:?}");
        }
        for trailer in ["no colon", ": x", "a b: c", "a: \0", " folded: x", "a:b\rc: d"] {
            let body = format!("0\r\n{trailer}\r\n\r\n");
            assert_eq!(read(&[body.as_bytes()]), Err(Malformed), "{trailer:?}");
        }
    }

    #[test]
    fn lines_are_bounded() {
        let endless = [b"1;".to_vec(), vec![b'x'; MAX_SIZE_LINE + 1]].concat();
        assert_eq!(Chunks::default().advance(&endless), Err(Malformed));
        let mut chunks = Chunks::default();
        let trailer = [b"0\r\na: ".to_vec(), vec![b'x'; MAX_TRAILERS], b"\r\n".to_vec()].concat();
        assert_eq!(chunks.advance(&trailer), Err(Malformed));
    }
}
