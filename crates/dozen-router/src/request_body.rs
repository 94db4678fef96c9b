//! The client's body on its way to the app: passed on as it comes, watched for progress.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

/// How far a request's body has come.
#[derive(Debug)]
pub(crate) struct Progress {
    moved: Cell<Instant>,
    awaited: Cell<bool>,
    done: Cell<bool>,
    broken: Cell<bool>,
}

impl Progress {
    /// When a part of the body last moved.
    pub(crate) fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// Whether the app's connection wants more of it than the client has sent. Else nobody asks: the
    /// app is the one that does not read.
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited.get()
    }

    /// Whether the app's connection has taken all of it.
    pub(crate) fn is_done(&self) -> bool {
        self.done.get()
    }

    /// Whether the client broke it off, or framed it badly.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.get()
    }
}

/// A request's body.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// None; such a request can be built again.
    Empty,
    /// From the client.
    Streaming(Incoming, Rc<Progress>),
}

impl RequestBody {
    pub(crate) fn new(body: Incoming) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        let [awaited, done, broken] = [const { Cell::new(false) }; 3];
        let progress = Progress { moved: Cell::new(Instant::now()), awaited, done, broken };
        Self::Streaming(body, Rc::new(progress))
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// The body's progress, for whom waits beside it.
    pub(crate) fn progress(&self) -> Option<Rc<Progress>> {
        match self {
            Self::Empty => None,
            Self::Streaming(_, progress) => Some(Rc::clone(progress)),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self::Streaming(body, progress) = &mut *self else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        progress.awaited.set(polled.is_pending());
        let frame = ready!(polled);
        progress.moved.set(Instant::now());
        match &frame {
            Some(Ok(_)) => progress.done.set(body.is_end_stream()),
            Some(Err(_)) => progress.broken.set(true),
            None => progress.done.set(true),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(body, _) => body.size_hint(),
        }
    }
}
