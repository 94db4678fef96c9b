//! Bytes in, lines out: splitting at newlines, whatever chunks and files the bytes came in.
//!
//! A line longer than [`MAX_LINE_BYTES`] is given out in pieces, so a program that never ends its
//! line can hold no memory here. A cut falls between two characters where the text is UTF-8.
//!
//! Pure: no files and no clock. Start reading at [`Splitter::feed`].

/// The longest line that is given out in one piece; up to 3 bytes more where a character would
/// be cut in two.
pub const MAX_LINE_BYTES: usize = 10_000;

/// A byte of a stream: where it is and when it came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) file: u64,
    pub(crate) offset: u64,
    /// The number of the index record that covers it.
    pub(crate) record: u64,
    pub(crate) time_ns: u64,
}

impl Stamp {
    fn plus(self, bytes: usize) -> Self {
        Self { offset: self.offset + bytes as u64, ..self }
    }
}

/// A line, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: Vec<u8>,
    /// When its first byte came.
    pub(crate) time_ns: u64,
    /// It goes on a line whose first piece was given out before.
    pub(crate) continued: bool,
    /// Its line end was not seen.
    pub(crate) unfinished: bool,
}

/// Splits one stream. It starts empty and keeps only the line under way.
#[derive(Debug)]
pub(crate) struct Splitter {
    limit: usize,
    line: Vec<u8>,
    start: Option<Stamp>,
    mid_line: bool,
}

impl Splitter {
    /// A splitter that cuts lines longer than `limit` and whose first byte continues a line
    /// already given out in part (`mid_line`), or starts one.
    pub(crate) fn new(limit: usize, mid_line: bool) -> Self {
        Self { limit, line: Vec::new(), start: None, mid_line }
    }

    /// Whether the next byte continues a line that was given out in part.
    pub(crate) fn mid_line(&self) -> bool {
        self.mid_line
    }

    /// Where the line under way starts, or `None` between two lines.
    pub(crate) fn under_way(&self) -> Option<Stamp> {
        self.start
    }

    /// Takes the bytes at `at` and hands each piece that they complete to `give`.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut at: Stamp, mut give: impl FnMut(Piece)) {
        while !bytes.is_empty() {
            let line_end = memchr::memchr(b'\n', bytes);
            let wanted = line_end.unwrap_or(bytes.len());
            let taken = room(self.limit, self.line.len(), &bytes[..wanted]);
            self.start.get_or_insert(at);
            self.line.extend_from_slice(&bytes[..taken]);
            at = at.plus(taken);
            bytes = &bytes[taken..];
            if taken < wanted {
                give(self.take(at, true));
            } else if line_end.is_some() {
                at = at.plus(1);
                bytes = &bytes[1..];
                // The end of a line whose text was all given out before is no line of its own.
                let nothing_left = self.mid_line && self.line.is_empty();
                let piece = self.take(at, false);
                if !nothing_left {
                    give(piece);
                }
            }
        }
    }

    /// Gives out the line under way although its end was not seen; the bytes to come continue it.
    pub(crate) fn flush(&mut self) -> Option<Piece> {
        let start = self.start?;
        (!self.line.is_empty()).then(|| self.take(start, true))
    }

    /// Ends the line under way here: what comes is another's. `unfinished` tells whether its
    /// end is missing.
    pub(crate) fn end_line(&mut self, unfinished: bool) -> Option<Piece> {
        let piece = self.flush().map(|piece| Piece { unfinished, ..piece });
        self.mid_line = false;
        piece
    }

    fn take(&mut self, end: Stamp, unfinished: bool) -> Piece {
        let continued = std::mem::replace(&mut self.mid_line, unfinished);
        let start = self.start.take().unwrap_or(end);
        Piece { text: std::mem::take(&mut self.line), time_ns: start.time_ns, continued, unfinished }
    }
}

/// How many of `bytes` still fit a line that holds `held` bytes. At the limit, the rest of a
/// UTF-8 character (at most 3 bytes) is let in.
fn room(limit: usize, held: usize, bytes: &[u8]) -> usize {
    let mut fit = limit.saturating_sub(held).min(bytes.len());
    while fit < bytes.len() && held + fit < limit + 3 && is_utf8_continuation(bytes[fit]) {
        fit += 1;
    }
    fit
}

fn is_utf8_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<Piece> {
        let mut splitter = Splitter::new(MAX_LINE_BYTES, false);
        let mut pieces = Vec::new();
        for (time_ns, chunk) in (1..).zip(chunks) {
            splitter.feed(chunk, Stamp { time_ns, ..Stamp::default() }, |piece| pieces.push(piece));
        }
        pieces.extend(splitter.flush());
        pieces
    }

    fn texts(pieces: &[Piece]) -> Vec<String> {
        pieces.iter().map(|piece| String::from_utf8_lossy(&piece.text).into_owned()).collect()
    }

    #[test]
    fn empty_lines_are_lines_and_a_line_may_cross_chunks() {
        let pieces = split(&[b"a\n\nb", b"c", b"d\ne\n"]);
        assert_eq!(texts(&pieces), ["a", "", "bcd", "e"]);
        // The time of a line is the time of its first byte.
        assert_eq!(pieces.iter().map(|piece| piece.time_ns).collect::<Vec<u64>>(), [1, 1, 1, 3]);
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_marked() {
        let long = "x".repeat(MAX_LINE_BYTES - 1) + "€uro\n";
        let pieces = split(&[long.as_bytes()]);

        assert_eq!(pieces.len(), 2);
        assert!(pieces[0].text.ends_with("€".as_bytes()) && pieces[0].unfinished && !pieces[0].continued);
        assert_eq!(pieces[1].text, b"uro");
        assert!(pieces[1].continued && !pieces[1].unfinished);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_one_piece() {
        let line = "x".repeat(MAX_LINE_BYTES) + "\n";
        assert_eq!(split(&[line.as_bytes()]).len(), 1);
    }

    #[test]
    fn what_comes_after_a_break_is_another_line() {
        let mut splitter = Splitter::new(MAX_LINE_BYTES, false);
        let mut pieces = Vec::new();
        splitter.feed(b"cut off", Stamp::default(), |piece| pieces.push(piece));
        pieces.extend(splitter.end_line(false));
        splitter.feed(b"next\n", Stamp::default(), |piece| pieces.push(piece));

        assert_eq!(texts(&pieces), ["cut off", "next"]);
        assert!(pieces.iter().all(|piece| !piece.continued && !piece.unfinished));
    }

    proptest! {
        #[test]
        fn each_byte_is_given_out_once_and_in_order_however_it_was_cut(
            text in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), Just(0xe2), Just(0x82)], 0..400),
            repeat in 1usize..120,
            cuts in prop::collection::vec(1usize..5_000, 1..20),
        ) {
            let text: Vec<u8> = text.repeat(repeat);
            let mut rest = text.as_slice();
            let mut chunks = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }

            let mut joined = Vec::new();
            for piece in split(&chunks) {
                prop_assert!(piece.text.len() <= MAX_LINE_BYTES + 3);
                joined.extend_from_slice(&piece.text);
                if !piece.unfinished { joined.push(b'\n'); }
            }
            // A cut that falls right before a line end leaves that end with no piece of its own.
            let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte != b'\n').copied().collect::<Vec<u8>>();
            prop_assert_eq!(lines(&joined), lines(&text));
            let longest = text.split(|byte| *byte == b'\n').map(<[u8]>::len).max();
            if longest.is_some_and(|bytes| bytes <= MAX_LINE_BYTES) {
                prop_assert_eq!(joined, text);
            }
        }
    }
}
