//! The answer's body on its way to the client: the app's, a file, or a page of ours.
//!
//! It owns its exchange, so the request counts as in flight until the last byte has been taken,
//! and it gives the app's connection back to the pool.

use std::{
    error::Error,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{exchange::Exchange, h_code::HCode, pool::Lent, static_file::FileBody};

/// Why an answer broke off; hyper only closes the connection on it.
pub(crate) type BodyError = Box<dyn Error + Send + Sync>;

/// An answer's body.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    source: Source,
    /// Absent once a tunnel has it.
    exchange: Option<Box<Exchange>>,
    is_over: bool,
}

#[derive(Debug)]
enum Source {
    Page(Option<Bytes>),
    File(FileBody),
    App(AppBody),
}

/// A part of the app's answer, or why there is none and whose fault that is.
type AppFrame = Result<Frame<Bytes>, (HCode, BodyError)>;

#[derive(Debug)]
struct AppBody {
    /// What was taken of the body before the head went on.
    first: Option<Frame<Bytes>>,
    body: Incoming,
    /// The connection it comes from, until it can be lent again.
    lent: Option<Lent>,
    moved: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    idle: Duration,
}

impl ResponseBody {
    /// Nothing: the connection goes on as a tunnel.
    pub(crate) fn none() -> Self {
        Self { source: Source::Page(None), exchange: None, is_over: true }
    }

    /// A page of ours.
    pub(crate) fn page(page: Bytes, exchange: Box<Exchange>) -> Self {
        Self {
            source: Source::Page(Some(page).filter(|page| !page.is_empty())),
            exchange: Some(exchange),
            is_over: false,
        }
    }

    /// A part of a file.
    pub(crate) fn file(file: FileBody, exchange: Box<Exchange>) -> Self {
        Self { source: Source::File(file), exchange: Some(exchange), is_over: false }
    }

    /// What the app sends over a connection of the pool, and its `first` part if that is here.
    pub(crate) fn app(
        first: Option<Frame<Bytes>>,
        body: Incoming,
        lent: Lent,
        exchange: Box<Exchange>,
    ) -> Self {
        let idle = exchange.limits().idle;
        let mut app = AppBody { first, body, lent: Some(lent), moved: Instant::now(), timer: None, idle };
        if app.body.is_end_stream() {
            app.lent = None;
        }
        let is_over = app.is_over();
        Self { source: Source::App(app), exchange: Some(exchange), is_over }
    }
}

impl AppBody {
    fn is_over(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + first);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + first);
        }
        hint
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<AppFrame>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.moved = Instant::now();
                if self.body.is_end_stream() || frame.is_none() {
                    self.lent = None;
                }
                Poll::Ready(
                    frame.map(|frame| frame.map_err(|error| (HCode::ServerInterrupted, error.into()))),
                )
            }
            Poll::Pending => {
                ready!(self.poll_idle(cx));
                Poll::Ready(Some(Err((HCode::IdleConnection, "nothing moved for too long".into()))))
            }
        }
    }

    /// Ready when nothing has moved for too long. The timer is not moved with each chunk.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.moved + self.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match &mut this.source {
            Source::Page(page) => page.take().map(|page| Ok(Frame::data(page))),
            Source::File(file) => ready!(file.poll(cx)).map(|part| part.map(Frame::data).map_err(Into::into)),
            Source::App(app) => match ready!(app.poll(cx)) {
                Some(Err((code, error))) => {
                    if let Some(exchange) = &mut this.exchange {
                        exchange.blame(code);
                    }
                    Some(Err(error))
                }
                Some(Ok(frame)) => Some(Ok(frame)),
                None => None,
            },
        };
        match (&frame, &mut this.exchange) {
            (Some(Ok(frame)), Some(exchange)) => {
                exchange.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
            }
            (Some(Ok(_)), None) => {}
            (Some(Err(_)) | None, _) => this.is_over = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Page(page) => page.is_none(),
            Source::File(file) => file.is_over(),
            Source::App(app) => app.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Page(page) => SizeHint::with_exact(page.as_ref().map_or(0, Bytes::len) as u64),
            Source::File(file) => SizeHint::with_exact(file.left()),
            Source::App(app) => app.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // To a HEAD request hyper asks for no body at all: nothing was broken off then.
        let is_whole = self.is_over || self.is_end_stream();
        if let Some(exchange) = &mut self.exchange
            && !is_whole
            && exchange.method != http::Method::HEAD
        {
            exchange.break_off();
        }
    }
}
