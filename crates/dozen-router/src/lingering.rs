//! A client connection that is ended so that its last words arrive.
//!
//! When bytes arrive at a socket that was closed, the kernel answers with a reset, and what had not
//! been read at the other side is lost with it. An HTTP/2 client does send bytes meanwhile: it opens
//! its window for the very answer that it still reads. So the end of our side is followed by reading
//! on, until the client has ended its own or says nothing more.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::client_stream::ClientStream;

/// Silence after which nothing more is expected.
const SILENCE: Duration = Duration::from_secs(5);
/// Bytes that are read on: more than our windows let a client send of what it has begun.
const MOST: usize = 576 << 10;

/// A client connection, read on for a while after its end.
#[derive(Debug)]
pub(crate) struct Lingering {
    stream: ClientStream,
    /// In all, for a client that goes on and on.
    limit: Duration,
    ended: Option<Ended>,
}

/// Our side has ended.
#[derive(Debug)]
struct Ended {
    latest: Instant,
    left: usize,
    silence: Pin<Box<Sleep>>,
}

impl Lingering {
    /// Reads on for `limit` at most.
    pub(crate) fn new(stream: ClientStream, limit: Duration) -> Self {
        Self { stream, limit, ended: None }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ended.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let ended = this.ended.get_or_insert_with(|| {
            let now = Instant::now();
            Ended { latest: now + this.limit, left: MOST, silence: Box::pin(sleep_until(now + SILENCE)) }
        });
        loop {
            let mut dropped = [0; 4 << 10];
            let mut dropped = ReadBuf::new(&mut dropped);
            match Pin::new(&mut this.stream).poll_read(cx, &mut dropped) {
                Poll::Ready(Ok(())) if (1..=ended.left).contains(&dropped.filled().len()) => {
                    ended.left -= dropped.filled().len();
                    let silent = Instant::now() + SILENCE;
                    ended.silence.as_mut().reset(silent.min(ended.latest));
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return ended.silence.as_mut().poll(cx).map(Ok),
            }
        }
    }
}
