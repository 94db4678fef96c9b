//! An app's answer on its way to a client that speaks HTTP/1.
//!
//! Small pieces are gathered with the head, so that most answers are one write; large ones go from
//! the buffer they were read into straight to the client. Nothing waits for more than is here.
//! Meanwhile the rest of the request may still go the other way.

use std::{
    io::Write as _,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{io::AsyncWrite as _, time::Instant};

use crate::{
    attempt::Begun,
    body_source::BodySource as _,
    exchange::Exchange,
    front_http1::Http1,
    h_code::HCode,
    headers::{self, Delivery},
    http1::{Framing, response::ResponseHead},
    pool::Lent,
    upload::Upload,
    watchdog::Watchdog,
};

/// Pieces up to this size are copied, to be written together.
const SMALL: usize = 16 << 10;

/// An answer, and what is left of its request.
#[derive(Debug)]
pub(crate) struct Download {
    said: ResponseHead,
    /// Until it can be lent again.
    lent: Option<Lent>,
    upload: Upload,
    framing: Framing,
    is_read: bool,
    is_broken: bool,
    moved: Instant,
}

/// How an answer ended for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Whole,
    /// The connection is spent.
    Broken,
}

impl Download {
    /// Begins; to the client the body is framed as `framing`.
    pub(crate) fn new(Begun { said, lent, upload }: Begun, framing: Framing) -> Self {
        Self {
            said,
            lent: Some(lent),
            upload,
            framing,
            is_read: false,
            is_broken: false,
            moved: Instant::now(),
        }
    }

    /// Writes the head.
    pub(crate) fn write_head(&mut self, out: &mut Vec<u8>, delivery: &Delivery<'_>) {
        if let Some(lent) = &mut self.lent {
            headers::write_response(out, &self.said, lent.upstream().fields(), delivery);
        }
    }

    /// Moves what can be moved, in both directions, until the answer has ended.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Http1,
        watchdog: &mut Watchdog,
        exchange: &mut Exchange,
    ) -> Poll<Ended> {
        self.poll_upload(cx, client, exchange);
        loop {
            let is_large = self.gather(cx, client, exchange);
            if client.outbox.is_empty() && !is_large {
                // TLS may hold what it has taken.
                match Pin::new(&mut client.stream).poll_flush(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Pending if !watchdog.is_overdue(cx, self.moved + exchange.limits().idle) => {
                        return Poll::Pending;
                    }
                    Poll::Pending => {
                        exchange.blame(HCode::ClientIdle);
                        return Poll::Ready(Ended::Broken);
                    }
                    Poll::Ready(Err(_)) => {
                        exchange.break_off();
                        return Poll::Ready(Ended::Broken);
                    }
                }
                // What came before a break was the app's all the same.
                if self.is_broken {
                    return Poll::Ready(Ended::Broken);
                }
                if self.is_read {
                    return Poll::Ready(Ended::Whole);
                }
                return self.poll_silent(cx, client, watchdog, exchange);
            }
            match self.poll_write(cx, client, exchange) {
                Poll::Ready(Ok(())) => self.moved = Instant::now(),
                Poll::Ready(Err(_)) => {
                    exchange.break_off();
                    return Poll::Ready(Ended::Broken);
                }
                Poll::Pending if watchdog.is_overdue(cx, self.moved + exchange.limits().idle) => {
                    exchange.blame(HCode::ClientIdle);
                    return Poll::Ready(Ended::Broken);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The app has nothing to say for now; the client may have gone meanwhile.
    fn poll_silent(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Http1,
        watchdog: &mut Watchdog,
        exchange: &mut Exchange,
    ) -> Poll<Ended> {
        if self.upload.is_over() && client.poll_gone(cx).is_ready() {
            exchange.break_off();
            return Poll::Ready(Ended::Broken);
        }
        let moved = self.moved.max(self.upload.moved());
        if watchdog.is_overdue(cx, moved + exchange.limits().idle) {
            exchange.blame(HCode::IdleConnection);
            return Poll::Ready(Ended::Broken);
        }
        Poll::Pending
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>, client: &mut Http1, exchange: &mut Exchange) {
        let Some(lent) = self.lent.as_mut().filter(|_| !self.upload.is_over()) else { return };
        // An app that reads no more has said all the same what it has to say, and a client whose
        // body broke is told by the end of the connection.
        if let Poll::Ready(Ok(())) = self.upload.poll(cx, &[], client, &mut lent.upstream().stream) {
            lent.sent();
        }
        exchange.received = self.upload.body_bytes();
    }

    /// Takes what is here of the answer, as long as it is small. Whether a large piece waits in the
    /// connection's own buffer.
    fn gather(&mut self, cx: &mut Context<'_>, client: &mut Http1, exchange: &mut Exchange) -> bool {
        let Some(lent) = self.lent.as_mut().filter(|_| !self.is_broken) else { return false };
        let upstream = lent.upstream();
        while !self.is_read && client.outbox.left() <= SMALL {
            let data = match upstream.poll_data(cx) {
                Poll::Ready(Ok(data)) => data,
                Poll::Ready(Err(_)) => {
                    exchange.blame(HCode::ServerInterrupted);
                    self.is_broken = true;
                    return false;
                }
                Poll::Pending => return false,
            };
            if data.is_empty() {
                self.is_read = true;
                break;
            }
            if data.len() > SMALL && self.framing != Framing::Chunked {
                return true;
            }
            let count = data.len();
            let out = client.outbox.room();
            if self.framing == Framing::Chunked {
                // Writing to a Vec cannot go wrong.
                let _ = write!(out, "{count:x}\r\n");
                out.extend_from_slice(data);
                out.extend_from_slice(b"\r\n");
            } else {
                out.extend_from_slice(data);
            }
            upstream.consume(count);
            exchange.bytes += count as u64;
            self.moved = Instant::now();
        }
        if self.is_read {
            if self.framing == Framing::Chunked {
                let out = client.outbox.room();
                out.extend_from_slice(b"0\r\n");
                headers::write_trailers(out, upstream.trailers());
                out.extend_from_slice(b"\r\n");
            }
            // The next request may have it while the client still reads.
            self.lent = None;
        }
        false
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Http1,
        exchange: &mut Exchange,
    ) -> Poll<std::io::Result<()>> {
        let Some(lent) = self.lent.as_mut().filter(|_| self.framing != Framing::Chunked) else {
            return client.outbox.poll_write_with(cx, &mut client.stream, &[]).map_ok(drop);
        };
        let upstream = lent.upstream();
        let written = client.outbox.poll_write_with(cx, &mut client.stream, upstream.at_hand());
        written.map_ok(|count| {
            upstream.consume(count);
            exchange.bytes += count as u64;
        })
    }
}
