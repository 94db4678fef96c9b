//! The body of an HTTP/2 request on its way to the app.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use hyper::body::{Body as _, Incoming};

use crate::body_source::{BodySource, ClientBroke};

/// A request's body; the client may send as much more as the app has taken.
#[derive(Debug)]
pub(crate) struct H2Body {
    body: Incoming,
    piece: Bytes,
    trailers: Vec<u8>,
    is_over: bool,
}

impl H2Body {
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, piece: Bytes::new(), trailers: Vec::new(), is_over: false }
    }
}

impl BodySource for H2Body {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], ClientBroke>> {
        while self.piece.is_empty() && !self.is_over {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => self.is_over = true,
                Some(Err(_)) => return Poll::Ready(Err(ClientBroke)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.piece = data,
                    Err(frame) => {
                        for (name, value) in frame.trailers_ref().into_iter().flatten() {
                            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                                self.trailers.extend_from_slice(part);
                            }
                        }
                    }
                },
            }
        }
        Poll::Ready(Ok(&self.piece))
    }

    fn consume(&mut self, count: usize) {
        self.piece.advance(count);
    }

    fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        // The task of a stream that was reset is dropped, and all that it waits for with it.
        Poll::Pending
    }
}
