//! Bytes on their way to a client.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

/// Room that is kept for the next answer.
const KEPT_ROOM: usize = 4 << 10;

/// A queue of bytes that were made and not written yet.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    written: usize,
}

impl Outbox {
    /// Where more is appended.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes that were not written yet.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left() == 0
    }

    /// Writes all of it.
    pub(crate) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            ready!(self.poll_write_with(cx, stream, &[]))?;
        }
        Pin::new(stream).poll_flush(cx)
    }

    /// Writes once, with `more` behind it: how many bytes of `more` went along.
    pub(crate) fn poll_write_with<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        more: &[u8],
    ) -> Poll<io::Result<usize>> {
        let own = &self.bytes[self.written..];
        let own_length = own.len();
        let stream = Pin::new(stream);
        let written = match (own_length, more.len()) {
            (0, _) => stream.poll_write(cx, more),
            (_, 0) => stream.poll_write(cx, own),
            _ => stream.poll_write_vectored(cx, &[IoSlice::new(own), IoSlice::new(more)]),
        };
        let count = ready!(written)?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written += count.min(own_length);
        if self.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_ROOM);
            self.written = 0;
        }
        Poll::Ready(Ok(count.saturating_sub(own_length)))
    }
}
