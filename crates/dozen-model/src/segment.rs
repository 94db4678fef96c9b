//! The format of log segments: what the shim writes and the log router reads.
//!
//! This file owns names and bytes, no I/O. Two kinds of log exist in one shape of folder:
//!
//! - **Output of an instance**: `0000000001.seg` holds exactly the bytes that the app wrote,
//!   `0000000001.idx` says when. The concatenation of all segments by number is one byte stream:
//!   a line may begin in one segment and end in the next.
//! - **The platform stream** (control, router): `0000000001.log`, text lines with their own time, see
//!   [`StreamLine`]. It has no index.
//!
//! # The index
//!
//! Records of 16 bytes, two little-endian words: what, and when (nanoseconds since 1970).
//! The two high bits of the first word say what it is, the other 62 are its value:
//!
//! ```text
//! 00  chunk           bytes of the segment up to this end offset arrived by this time
//! 01  break           incarnation n begins: a line left open before this place ends here
//! 10  lines dropped   n line ends were discarded at this place, for want of space
//! 11  bytes dropped   n bytes were discarded at this place
//! ```
//!
//! A gap has both records. Bytes dropped alone mean that older segments with so many bytes were
//! removed to keep the log's limit: nothing is missing at this place.
//!
//! A record's place in the stream is the end offset of the last chunk record before it (0 if there is none).
//!
//! # Promises a reader can rely on
//!
//! - An index record never covers bytes that are not in the segment: data is written first.
//! - Bytes behind the last chunk record are real. In the newest segment their record is on its way;
//!   in an older one the shim died between the two writes, and the last known time is theirs.
//! - A segment is complete once one with a higher number exists, or the instance's state is `exited`
//!   and its shim is gone. A trailing part of a record (less than 16 bytes) is to be ignored.
//! - Numbers only grow as long as the highest numbered segment stays in its folder.
//!
//! Start reading at [`IndexRecord`].

use std::{fmt::Write as _, time::SystemTime};

/// The suffix of a file with output of an instance.
pub const SEGMENT_SUFFIX: &str = "seg";
/// The suffix of the index beside a segment.
pub const INDEX_SUFFIX: &str = "idx";
/// The suffix of a file of the platform stream.
pub const STREAM_SUFFIX: &str = "log";
/// The length of one index record.
pub const INDEX_RECORD_BYTES: usize = 16;
/// A segment ends after about this many bytes, unless its writer was told otherwise.
pub const DEFAULT_SEGMENT_BYTES: u64 = 16 << 20;
/// The log of one instance keeps about this many bytes, unless its writer was told otherwise.
pub const DEFAULT_LOG_BYTES: u64 = 256 << 20;
/// The longest text of a platform line; what is beyond is cut off.
pub const MAX_STREAM_TEXT_BYTES: usize = 16 << 10;

const KIND_SHIFT: u32 = 62;
const VALUE_MASK: u64 = (1 << KIND_SHIFT) - 1;

/// The file name of a segment, for example `0000000001.seg`.
pub fn segment_name(number: u64) -> String {
    file_name(number, SEGMENT_SUFFIX)
}

/// The file name of a segment's index, for example `0000000001.idx`.
pub fn index_name(number: u64) -> String {
    file_name(number, INDEX_SUFFIX)
}

/// The file name of a part of the platform stream, for example `0000000001.log`.
pub fn stream_name(number: u64) -> String {
    file_name(number, STREAM_SUFFIX)
}

fn file_name(number: u64, suffix: &str) -> String {
    format!("{number:010}.{suffix}")
}

/// The number in the name of a segment.
pub fn parse_segment_name(name: &str) -> Option<u64> {
    parse_file_name(name, SEGMENT_SUFFIX)
}

/// The number in the name of a part of the platform stream.
pub fn parse_stream_name(name: &str) -> Option<u64> {
    parse_file_name(name, STREAM_SUFFIX)
}

fn parse_file_name(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?.strip_suffix('.')?;
    let is_number = digits.len() >= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = if is_number { digits.parse().ok()? } else { return None };
    // One name for one number: `00000000001` is not ours.
    (file_name(number, suffix) == name).then_some(number)
}

/// A time as logs have it: nanoseconds since 1970; 0 before.
pub fn unix_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// One record of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexRecord {
    /// The bytes of the segment up to `end` had arrived at `at`.
    Chunk {
        /// End offset in the segment, exclusive.
        end: u64,
        /// Nanoseconds since 1970.
        at: u64,
    },
    /// An incarnation begins here; a line left open before it ends here.
    Break {
        /// The number of the incarnation, from 1.
        incarnation: u64,
        /// Nanoseconds since 1970.
        at: u64,
    },
    /// Line ends were discarded here because the log could not be written.
    LinesDropped {
        /// How many.
        lines: u64,
        /// Nanoseconds since 1970.
        at: u64,
    },
    /// Bytes were discarded here because the log could not be written.
    BytesDropped {
        /// How many.
        bytes: u64,
        /// Nanoseconds since 1970.
        at: u64,
    },
}

impl IndexRecord {
    /// The record's 16 bytes. Values above 2⁶² − 1 are written as that.
    pub fn encode(self) -> [u8; INDEX_RECORD_BYTES] {
        let (kind, value, at) = match self {
            Self::Chunk { end, at } => (0_u64, end, at),
            Self::Break { incarnation, at } => (1, incarnation, at),
            Self::LinesDropped { lines, at } => (2, lines, at),
            Self::BytesDropped { bytes, at } => (3, bytes, at),
        };
        let what = kind << KIND_SHIFT | value.min(VALUE_MASK);
        let mut record = [0; INDEX_RECORD_BYTES];
        record[..8].copy_from_slice(&what.to_le_bytes());
        record[8..].copy_from_slice(&at.to_le_bytes());
        record
    }

    /// The record in 16 bytes; every 16 bytes are one.
    pub fn decode(record: [u8; INDEX_RECORD_BYTES]) -> Self {
        let [what, at] = [0, 8].map(|start| {
            let mut word = [0; 8];
            word.copy_from_slice(&record[start..start + 8]);
            u64::from_le_bytes(word)
        });
        let value = what & VALUE_MASK;
        match what >> KIND_SHIFT {
            0 => Self::Chunk { end: value, at },
            1 => Self::Break { incarnation: value, at },
            2 => Self::LinesDropped { lines: value, at },
            _ => Self::BytesDropped { bytes: value, at },
        }
    }

    /// The complete records at the start of `bytes`; a trailing part of one is left out.
    pub fn decode_all(bytes: &[u8]) -> impl Iterator<Item = Self> + '_ {
        bytes.as_chunks::<INDEX_RECORD_BYTES>().0.iter().map(|record| Self::decode(*record))
    }
}

/// One line of the platform stream: `<unix nanoseconds> <process> <text>`.
///
/// Control characters and the backslash are escaped in the file, so that one line of text is
/// one line of the file whatever a request or an app put into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLine {
    /// Nanoseconds since 1970.
    pub at: u64,
    /// Who says it, for example `router` or `control`: no spaces, no control characters.
    pub process: String,
    /// What it says.
    pub text: String,
}

impl StreamLine {
    /// Appends the line and its line end to `out`.
    ///
    /// Characters that a process name cannot have are written as `_`; text beyond
    /// [`MAX_STREAM_TEXT_BYTES`] is cut off at a character and `…` put in its place.
    pub fn encode_into(&self, out: &mut String) {
        let is_plain = |c: char| !c.is_control() && !c.is_whitespace();
        let process = self.process.chars().map(|c| if is_plain(c) { c } else { '_' });
        out.push_str(&self.at.to_string());
        out.push(' ');
        if self.process.is_empty() {
            out.push('_');
        }
        out.extend(process);
        out.push(' ');
        let kept = self.text.floor_char_boundary(MAX_STREAM_TEXT_BYTES);
        escape_into(&self.text[..kept], out);
        if kept < self.text.len() {
            out.push('…');
        }
        out.push('\n');
    }

    /// The line in one line of the file, with or without its line end. `None` if it is not one.
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let (at, rest) = line.split_once(' ')?;
        let (process, text) = rest.split_once(' ')?;
        let is_number = !at.is_empty() && at.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || process.is_empty() {
            return None;
        }
        Some(Self { at: at.parse().ok()?, process: process.to_owned(), text: unescape(text)? })
    }
}

fn escape_into(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                // Writing to a string cannot go wrong.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        let kind = escape.chars().next()?;
        rest = &escape[kind.len_utf8()..];
        match kind {
            '\\' => out.push('\\'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'u' => {
                let (digits, after) = rest.strip_prefix('{')?.split_once('}')?;
                out.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
                rest = after;
            }
            _ => return None,
        }
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        for record in [
            IndexRecord::Chunk { end: 0, at: 1 },
            IndexRecord::Chunk { end: VALUE_MASK, at: u64::MAX },
            IndexRecord::Break { incarnation: 7, at: 2 },
            IndexRecord::LinesDropped { lines: 123, at: 3 },
            IndexRecord::BytesDropped { bytes: 1 << 40, at: 4 },
        ] {
            assert_eq!(IndexRecord::decode(record.encode()), record);
        }
    }

    #[test]
    fn a_chunk_record_is_the_end_offset_and_the_time() {
        let record = IndexRecord::Chunk { end: 0x0102, at: 0x0304 }.encode();
        assert_eq!(record, [2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_torn_record_at_the_end_is_left_out() {
        let mut bytes = IndexRecord::Chunk { end: 5, at: 6 }.encode().to_vec();
        bytes.extend([1; 15]);
        assert_eq!(
            IndexRecord::decode_all(&bytes).collect::<Vec<_>>(),
            [IndexRecord::Chunk { end: 5, at: 6 }]
        );
    }

    #[test]
    fn a_number_has_one_name() {
        assert_eq!(parse_segment_name(&segment_name(42)), Some(42));
        assert_eq!(parse_segment_name(&segment_name(12_345_678_901)), Some(12_345_678_901));
        for bad in
            ["42.seg", "00000000042.seg", "0000000042.idx", "+000000042.seg", "0000000042seg", ".seg", ""]
        {
            assert_eq!(parse_segment_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_platform_line_stays_one_line_and_comes_back() {
        let text = "a\\nb\nc\r\td\u{1b}[31m\u{9b}é \u{0}";
        let line = StreamLine { at: 1_700_000_000_000_000_000, process: "router".into(), text: text.into() };
        let mut out = String::new();
        line.encode_into(&mut out);
        assert_eq!(out.matches('\n').count(), 1);
        assert!(out.trim_end_matches('\n').chars().all(|c| !c.is_control()), "{out:?}");
        assert_eq!(StreamLine::parse(&out), Some(line));
    }

    #[test]
    fn a_process_name_cannot_add_a_field() {
        let mut out = String::new();
        StreamLine { at: 1, process: "a b\nc".into(), text: "t".into() }.encode_into(&mut out);
        assert_eq!(out, "1 a_b_c t\n");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let mut out = String::new();
        StreamLine { at: 1, process: "p".into(), text: "é".repeat(MAX_STREAM_TEXT_BYTES) }
            .encode_into(&mut out);
        assert!(out.len() < MAX_STREAM_TEXT_BYTES + 32 && out.ends_with("…\n"));
    }

    #[test]
    fn what_is_not_a_platform_line_is_refused() {
        for bad in ["", "x p t", "1", "1 p", "1  t", "+1 p t", "1 p \\q", "1 p \\u{110000}", "1 p \\"] {
            assert_eq!(StreamLine::parse(bad), None, "{bad}");
        }
        assert!(StreamLine::parse("1 p ").is_some());
    }
}
