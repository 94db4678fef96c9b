//! A line of a log, and the two forms in which it is shown.
//!
//! Start reading at [`LogLine`].

use std::borrow::Cow;

use dozen_model::printable::printable;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::StreamId;

/// Who spoke: the app's own process, or dozen about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The app's processes.
    App,
    /// dozen: the router, the supervisor, the release engine, the log router itself.
    Dozen,
}

impl Source {
    /// The word that stands in a printed line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Dozen => "dozen",
        }
    }
}

/// Output that is missing at this place of a stream. All zero where nobody knows how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// How many line ends.
    pub lines: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// One line, or a piece of a very long one.
///
/// In JSON the text is UTF-8, with what is not replaced; nothing else is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Wire", from = "Wire")]
pub struct LogLine {
    /// When its first byte was captured, in unix nanoseconds.
    pub time_ns: u64,
    /// Who spoke.
    pub source: Source,
    /// The process: `web.1`, `router`, `release`.
    pub process: String,
    /// The stream it came from.
    pub stream: StreamId,
    /// The text without its line end, as written.
    pub text: Vec<u8>,
    /// It goes on a line whose first piece was given out before.
    pub continued: bool,
    /// Its line end was not seen: it is too long, or nothing more came for a second.
    pub unfinished: bool,
    /// It stands for output that is missing here; the text says so in words.
    pub dropped: Option<Dropped>,
}

impl LogLine {
    /// Its time as RFC 3339 in UTC, to the microsecond.
    fn timestamp(&self) -> String {
        timestamp(self.time_ns).strftime("%Y-%m-%dT%H:%M:%S.%6f%:z").to_string()
    }
}

/// The line as people read it: `2026-11-22T10:00:00.123456+00:00 app[web.1]: text`.
///
/// Safe to print: control sequences are removed and control characters escaped, also in the
/// process. With `colour`, the front is coloured and the text keeps the colours it has.
pub fn format_line(line: &LogLine, colour: bool) -> String {
    let text = String::from_utf8_lossy(&line.text);
    let text = printable(&text, colour);
    let process = printable(&line.process, false);
    let (time, source) = (line.timestamp(), line.source.as_str());
    if !colour {
        return format!("{time} {source}[{process}]: {text}");
    }
    let front = match line.source {
        Source::App => 36,
        Source::Dozen => 35,
    };
    format!("\u{1b}[{front}m{time} {source}[{process}]:\u{1b}[0m {text}")
}

/// The line as one JSON object without a line end. Control characters are JSON escapes, so it
/// is safe to print as well.
pub fn json_line(line: &LogLine) -> String {
    let json = serde_json::to_string(line).expect("a log line has only text keys and plain values");
    // JSON leaves DEL and C1 as they are, and a terminal would act on them.
    if !json.contains(|c: char| ('\u{7f}'..='\u{9f}').contains(&c)) {
        return json;
    }
    let escape = |c: char| match c {
        '\u{7f}'..='\u{9f}' => Cow::Owned(format!("\\u{:04x}", u32::from(c))),
        other => Cow::Owned(other.to_string()),
    };
    json.chars().map(escape).collect::<Vec<Cow<'_, str>>>().concat()
}

fn timestamp(nanos: u64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The JSON form.
#[derive(Serialize, Deserialize)]
struct Wire {
    time: Timestamp,
    source: Source,
    process: String,
    text: String,
    stream: StreamId,
    #[serde(default, skip_serializing_if = "is_false")]
    continued: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    unfinished: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dropped: Option<Dropped>,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

impl From<LogLine> for Wire {
    fn from(line: LogLine) -> Self {
        let text = match String::from_utf8(line.text) {
            Ok(text) => text,
            Err(other) => String::from_utf8_lossy(other.as_bytes()).into_owned(),
        };
        Self {
            time: timestamp(line.time_ns),
            source: line.source,
            process: line.process,
            text,
            stream: line.stream,
            continued: line.continued,
            unfinished: line.unfinished,
            dropped: line.dropped,
        }
    }
}

impl From<Wire> for LogLine {
    fn from(wire: Wire) -> Self {
        Self {
            time_ns: u64::try_from(wire.time.as_nanosecond()).unwrap_or(0),
            source: wire.source,
            process: wire.process,
            text: wire.text.into_bytes(),
            stream: wire.stream,
            continued: wire.continued,
            unfinished: wire.unfinished,
            dropped: wire.dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &[u8]) -> LogLine {
        LogLine {
            time_ns: 1_795_341_600_123_456_789,
            source: Source::App,
            process: "web.1".to_owned(),
            stream: StreamId("web.1~4f0c".to_owned()),
            text: text.to_vec(),
            continued: false,
            unfinished: false,
            dropped: None,
        }
    }

    #[test]
    fn a_line_shows_time_source_and_process() {
        assert_eq!(
            format_line(&line(b"hello\r"), false),
            "2026-11-22T10:00:00.123456+00:00 app[web.1]: hello"
        );
    }

    #[test]
    fn a_hostile_process_name_cannot_reach_the_terminal() {
        let hostile = LogLine { process: "r\u{1b}[2J\u{9b}".to_owned(), source: Source::Dozen, ..line(b"x") };
        assert!(format_line(&hostile, false).ends_with("dozen[r\\x9b]: x"));
    }

    #[test]
    fn a_line_survives_its_json_and_the_json_is_safe_to_print() {
        let written = line("caf\u{e9} \u{9b}2J \u{1b}[31m".as_bytes());
        let json = json_line(&written);

        assert!(!json.chars().any(char::is_control), "{json:?}");
        assert_eq!(serde_json::from_str::<LogLine>(&json).unwrap(), written);
        assert!(json.contains(r#""time":"2026-11-22T10:00:00.123456789Z""#), "{json}");
    }
}
