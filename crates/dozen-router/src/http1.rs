//! HTTP/1.1 on the wire, strictly: heads, bodies and the buffers they are read into.
//!
//! What crosses the router is never the bytes of a head, but what was understood of it, written
//! anew: the framing of a message is a type ([`Framing`]), decided once, so no header can name it
//! away. Requests are judged as RFC 9112 has it where it says MUST, and where it leaves a choice the
//! message is refused: whoever sends two lengths means no good, and another proxy in front may have
//! understood them otherwise.
//!
//! ```text
//! stream -> Buffer -> HeadEnd (a whole head?) -> request | response -> Framing -> BodyReader
//! ```
//!
//! Nothing here waits for anything but its stream, and nothing knows of routes or apps.

pub(crate) mod body;
pub(crate) mod buffer;
pub(crate) mod chunks;
pub(crate) mod fields;
pub(crate) mod head_end;
pub(crate) mod request;
pub(crate) mod response;

/// The longest head of a request or an answer.
pub(crate) const MAX_HEAD: usize = 64 << 10;
/// The most headers in one.
pub(crate) const MAX_HEADERS: usize = 100;

/// How the end of a message's body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no body, and no word of one.
    None,
    /// After so many bytes, which may be none.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection; answers only.
    UntilClose,
}

impl Framing {
    /// Whether nothing follows the head.
    pub(crate) fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// Bytes that are no HTTP, or HTTP that could be understood in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;
