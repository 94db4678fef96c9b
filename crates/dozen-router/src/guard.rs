//! The client's side of a connection: every byte read is scanned, and no wait is endless.
//!
//! It ends a connection whose request head takes too long, which has had no request for too long,
//! or whose client stops reading. Time limits of bodies that move slowly belong to the bodies.
//! After an upgrade it lets everything pass.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, Release},
        },
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    client_stream::ClientStream,
    head_scan::{Broken, HeadScan},
    options::Limits,
};

/// What the connection's service and its stream tell each other.
#[derive(Debug, Default)]
pub(crate) struct ConnectionState {
    /// The number of the request that broke a rule, 0 for none.
    malformed: AtomicU64,
    /// Requests answered to the last byte.
    finished: AtomicU64,
    upgraded: AtomicBool,
}

impl ConnectionState {
    /// Whether the request with this number, counted from 1, broke a rule or came after one that did.
    pub(crate) fn is_malformed(&self, number: u64) -> bool {
        let malformed = self.malformed.load(Relaxed);
        malformed != 0 && number >= malformed
    }

    /// One more request was answered to the last byte.
    pub(crate) fn finish_one(&self) {
        self.finished.fetch_add(1, Relaxed);
    }

    /// The connection does not speak HTTP any more.
    pub(crate) fn upgrade(&self) {
        self.upgraded.store(true, Release);
    }
}

/// The stream of a client connection.
#[derive(Debug)]
pub(crate) struct Guard {
    stream: ClientStream,
    scan: HeadScan,
    body_broken: bool,
    state: Arc<ConnectionState>,
    limits: Limits,
    /// When the wait for a head, or for the next request, began.
    waiting_since: Option<Instant>,
    /// When the client last stopped reading.
    blocked_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Guard {
    pub(crate) fn new(stream: ClientStream, state: Arc<ConnectionState>, limits: Limits) -> Self {
        Self {
            stream,
            scan: HeadScan::new(),
            body_broken: false,
            state,
            limits,
            waiting_since: None,
            blocked_since: None,
            timer: None,
        }
    }

    fn is_upgraded(&self) -> bool {
        self.state.upgraded.load(Relaxed)
    }

    fn look_at(&mut self, bytes: &[u8]) {
        let was_inside = self.scan.is_inside_head();
        match self.scan.feed(bytes) {
            Ok(()) => {}
            Err(Broken::Head(number)) => self.state.malformed.store(number, Relaxed),
            Err(Broken::Body) => self.body_broken = true,
        }
        // A head's time runs from its first byte, however it trickles in.
        if !(was_inside && self.scan.is_inside_head()) {
            self.waiting_since = None;
        }
    }

    /// When the wait for a head, or for the next request, is over. While a request is being
    /// answered it is a time to look again: nobody tells the stream when the answer is complete,
    /// so a pause ends between one and two times its limit.
    fn read_deadline(&mut self) -> Option<Instant> {
        let is_first = self.scan.heads() == 0;
        let is_idle = self.state.finished.load(Relaxed) >= self.scan.heads();
        let limit = if self.scan.is_inside_head() || (is_first && self.scan.is_between()) {
            self.limits.header_read
        } else if self.scan.is_between() && is_idle {
            self.limits.keep_alive
        } else {
            self.waiting_since = None;
            return self.scan.is_between().then(|| Instant::now() + self.limits.keep_alive);
        };
        Some(*self.waiting_since.get_or_insert_with(Instant::now) + limit)
    }

    fn deadline(&mut self) -> Option<Instant> {
        let read = self.read_deadline();
        let write = self.blocked_since.map(|since| since + self.limits.idle);
        read.into_iter().chain(write).min()
    }

    /// Whether the wait has been too long. The timer is only moved when it fires: between requests
    /// that come quickly nobody touches it.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.deadline() else { return false };
        loop {
            match &mut self.timer {
                Some(timer) if timer.is_elapsed() || timer.deadline() > deadline => {
                    if Instant::now() >= deadline {
                        return true;
                    }
                    timer.as_mut().reset(deadline);
                    if timer.as_mut().poll(cx).is_pending() {
                        return false;
                    }
                }
                Some(_) => return false,
                None => {
                    let mut timer = Box::pin(sleep_until(deadline));
                    let is_armed = timer.as_mut().poll(cx).is_pending();
                    self.timer = Some(timer);
                    if is_armed {
                        return false;
                    }
                }
            }
        }
    }
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

impl AsyncRead for Guard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if this.is_upgraded() {
            return polled;
        }
        match polled {
            Poll::Ready(Ok(())) => {
                this.look_at(&buf.filled()[before..]);
                if this.body_broken {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending if this.is_overdue(cx) => Poll::Ready(Err(timed_out())),
            other => other,
        }
    }
}

impl Guard {
    fn after_write(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if polled.is_ready() {
            self.blocked_since = None;
            return polled;
        }
        if self.is_upgraded() {
            return polled;
        }
        self.blocked_since.get_or_insert_with(Instant::now);
        if self.is_overdue(cx) { Poll::Ready(Err(timed_out())) } else { Poll::Pending }
    }
}

impl AsyncWrite for Guard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.after_write(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.after_write(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
