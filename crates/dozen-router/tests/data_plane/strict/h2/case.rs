//! One probe of HTTP/2: frames of a client behind its preface, and what may become of them.

use crate::frames::{Head, kind};

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const PRIORITY: u8 = 32;
/// Both ends of a request without a body.
pub(super) const WHOLE: u8 = END_STREAM | END_HEADERS;

/// Codes of RFC 9113, 7.
pub(super) const PROTOCOL: u32 = 1;
pub(super) const FLOW: u32 = 3;
pub(super) const CLOSED: u32 = 5;
pub(super) const SIZE: u32 = 6;
pub(super) const REFUSED: u32 = 7;
pub(super) const COMPRESSION: u32 = 9;

/// What may become of a probe. Where a stream error is right, so is a connection error (5.4).
#[derive(Debug, Clone, Copy)]
pub(super) enum Right {
    /// These streams are answered by 200, and the connection lives on.
    Served(&'static [u32]),
    /// This stream is reset with one of these codes, or the connection ends.
    Reset(u32, &'static [u32]),
    /// The connection ends, with one of these codes.
    Ends(&'static [u32]),
    /// This stream is answered by this status.
    Status(u32, u16),
    /// This stream is reset, answered by 400, or the connection ends: the app gets nothing.
    Malformed(u32),
    /// The frame may be ignored, or be an error.
    Any,
}

/// A probe.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: String,
    /// Instead of the preface and the settings of a client, if that is what it is about.
    pub(super) start: Option<Vec<u8>>,
    pub(super) bytes: Vec<u8>,
    /// Any of these is right.
    pub(super) right: Vec<Right>,
    /// What the app gets whole.
    pub(super) seen: Vec<&'static str>,
    /// Whether it may also get less of it.
    pub(super) may_see_less: bool,
}

impl Case {
    /// Nothing of it reaches the app whole.
    pub(super) fn new(name: impl Into<String>, right: Right, parts: &[Vec<u8>]) -> Self {
        let (name, bytes, right) = (name.into(), parts.concat(), vec![right]);
        Self { name, start: None, bytes, right, seen: Vec::new(), may_see_less: false }
    }

    /// Another outcome that is right as well.
    pub(super) fn or(mut self, right: Right) -> Self {
        self.right.push(right);
        self
    }

    /// Each of this may reach the app, and nothing else.
    pub(super) fn may_see(self, seen: &[&'static str]) -> Self {
        Self { may_see_less: true, ..self.seen(seen) }
    }

    /// All of this, and nothing else, reaches the app.
    pub(super) fn seen(mut self, seen: &[&'static str]) -> Self {
        self.seen = seen.to_vec();
        self
    }

    pub(super) fn starting(mut self, bytes: &[u8]) -> Self {
        self.start = Some(bytes.to_vec());
        self
    }
}

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, id: u32, bytes: &[u8]) -> Vec<u8> {
    let head = [&(bytes.len() as u32).to_be_bytes()[1..], &[kind, flags], &id.to_be_bytes()].concat();
    [&head, bytes].concat()
}

pub(super) fn get() -> Head {
    Head::new(&[(":method", "GET"), (":scheme", "https"), (":authority", "one.test"), (":path", "/")])
}

pub(super) fn post() -> Head {
    get().with(":method", "POST")
}

/// A whole request.
pub(super) fn ask(id: u32) -> Vec<u8> {
    frame(kind::HEADERS, WHOLE, id, &get().encoded())
}

/// A request whose body is to come.
pub(super) fn begin(id: u32) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS, id, &post().encoded())
}

pub(super) fn data(flags: u8, id: u32, bytes: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, id, bytes)
}

pub(super) fn setting(name: u16, value: u32) -> Vec<u8> {
    frame(kind::SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}
