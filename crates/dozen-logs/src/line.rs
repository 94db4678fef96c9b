//! A line of a log. How it is shown is its reader's.
//!
//! Start reading at [`LogLine`].

use crate::StreamId;

/// Who spoke: the app's own process, or dozen about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many line ends.
    pub lines: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// One line, or a piece of a very long one.
#[derive(Debug, Clone, PartialEq, Eq)]
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
