//! Where a request's body comes from, whichever version of HTTP brings it.

use std::task::{Context, Poll};

/// The client broke its body off, or framed it badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientBroke;

/// The body of one request, taken as the app takes it.
pub(crate) trait BodySource {
    /// The next piece, empty at the end. It stays until it is consumed.
    ///
    /// The first call is the word that the body is wanted: a client that waits for `100 Continue`
    /// gets it then.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], ClientBroke>>;

    /// Drops the first bytes of the last piece.
    fn consume(&mut self, count: usize);

    /// The trailers behind the end, as lines that each end in CRLF.
    fn trailers(&self) -> &[u8];

    /// Ready when the client has gone. To be asked only when nothing more is wanted of the body.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}
