//! An answer on its way to a client that speaks HTTP/2: the app's, a file, or a page of ours.
//!
//! It owns its exchange, so the request counts as in flight until the last byte was taken, and it
//! gives the app's connection back to the pool. Meanwhile the rest of the request may still go the
//! other way.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{CONTENT_LENGTH, STRICT_TRANSPORT_SECURITY},
};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::{
    answer::{OwnAnswer, OwnBody},
    attempt::Begun,
    exchange::Exchange,
    h_code::HCode,
    h2_body::H2Body,
    headers::{self, X_REQUEST_ID},
    http1::{Framing, fields::Fields, response::ResponseHead},
    pool::Lent,
    static_file::FileBody,
    upload::Upload,
    watchdog::Watchdog,
    worker::RequestPlace,
};

/// The most of an answer that is handed over at once.
const PIECE: usize = 32 << 10;

/// An answer's body.
pub(crate) struct H2Answer {
    source: Source,
    exchange: Option<Box<Exchange>>,
    is_over: bool,
    _place: Option<RequestPlace>,
}

enum Source {
    Nothing,
    Page(Option<Bytes>),
    File(FileBody),
    App(Box<AppBody>),
}

/// What an app sends, and what is left to send to it.
struct AppBody {
    /// Until it can be lent again.
    lent: Option<Lent>,
    upload: Upload,
    rest: H2Body,
    framing: Framing,
    watchdog: Watchdog,
    moved: Instant,
}

/// A page that is no exchange's: for a request that cannot be read.
pub(crate) fn page(status: StatusCode, page: String) -> Response<H2Answer> {
    let body = Source::Page(Some(page.into()));
    let mut response = Response::new(H2Answer::new(body, None, None));
    *response.status_mut() = status;
    response
}

/// An answer of our own.
pub(crate) fn own(own: OwnAnswer, place: RequestPlace) -> Response<H2Answer> {
    let OwnAnswer { response, exchange, closes: _ } = own;
    let (mut parts, body) = response.into_parts();
    let length = body.length();
    if parts.status != StatusCode::NOT_MODIFIED {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let source = match body {
        _ if length == 0 || exchange.method == Method::HEAD => Source::Nothing,
        OwnBody::Page(page) => Source::Page(Some(page)),
        OwnBody::File(file) => Source::File(file),
    };
    Response::from_parts(parts, H2Answer::new(source, Some(exchange), Some(place)))
}

/// The app's answer, begun.
pub(crate) fn app(
    Begun { said, mut lent, upload }: Begun,
    exchange: Box<Exchange>,
    (rest, watchdog): (H2Body, Watchdog),
    place: RequestPlace,
) -> Response<H2Answer> {
    let mut headers = HeaderMap::new();
    take_over(&mut headers, &said, lent.upstream().fields());
    if let Ok(id) = HeaderValue::try_from(exchange.id.as_str()) {
        headers.insert(X_REQUEST_ID, id);
    }
    if let Some(hsts) = exchange.hsts() {
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| hsts.clone());
    }
    let framing = said.framing;
    // Without a body the connection may be lent again at once.
    let source = if framing.is_empty() {
        Source::Nothing
    } else {
        let (lent, moved) = (Some(lent), Instant::now());
        Source::App(Box::new(AppBody { lent, upload, rest, framing, watchdog, moved }))
    };
    let mut response = Response::new(H2Answer::new(source, Some(exchange), Some(place)));
    *response.status_mut() = said.status;
    *response.headers_mut() = headers;
    response
}

fn take_over(headers: &mut HeaderMap, said: &ResponseHead, fields: Fields<'_>) {
    for (name, value) in headers::for_client(said, fields) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let length = match said.framing {
        Framing::Length(length) => Some(length),
        Framing::None => said.length.filter(|_| said.status != StatusCode::NO_CONTENT),
        Framing::Chunked | Framing::UntilClose => None,
    };
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

impl H2Answer {
    fn new(source: Source, exchange: Option<Box<Exchange>>, place: Option<RequestPlace>) -> Self {
        let is_over = matches!(source, Source::Nothing);
        Self { source, exchange, is_over, _place: place }
    }
}

impl AppBody {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &mut Exchange,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(lent) = &mut self.lent else { return Poll::Ready(None) };
        if !self.upload.is_over() {
            let polled = self.upload.poll(cx, &[], &mut self.rest, &mut lent.upstream().stream);
            if let Poll::Ready(Ok(())) = polled {
                lent.sent();
            }
            exchange.received = self.upload.body_bytes();
        }
        let upstream = lent.upstream();
        let piece = match upstream.poll_data(cx) {
            Poll::Ready(Ok(data)) => Bytes::copy_from_slice(&data[..data.len().min(PIECE)]),
            Poll::Ready(Err(_)) => {
                exchange.blame(HCode::ServerInterrupted);
                return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
            }
            Poll::Pending => {
                let moved = self.moved.max(self.upload.moved());
                if !self.watchdog.is_overdue(cx, moved + exchange.limits().idle) {
                    return Poll::Pending;
                }
                exchange.blame(HCode::IdleConnection);
                return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
            }
        };
        self.moved = Instant::now();
        if !piece.is_empty() {
            upstream.consume(piece.len());
            exchange.bytes += piece.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let mut trailers = Vec::new();
        if self.framing == Framing::Chunked {
            headers::write_trailers(&mut trailers, upstream.trailers());
        }
        self.lent = None;
        let trailers = read_trailers(&trailers);
        Poll::Ready((!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers))))
    }
}

/// Lines that each end in CRLF, as fields.
fn read_trailers(lines: &[u8]) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            trailers.append(name, value);
        }
    }
    trailers
}

impl Body for H2Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let frame = match (&mut this.source, &mut this.exchange) {
            (Source::Page(page), _) => page.take().map(|page| Ok(Frame::data(page))),
            (Source::File(file), _) => ready!(file.poll(cx)).map(|part| part.map(Frame::data)),
            (Source::App(app), Some(exchange)) => {
                let frame = ready!(app.poll(cx, exchange));
                this.is_over = !matches!(frame, Some(Ok(_))) || app.lent.is_none();
                return Poll::Ready(frame);
            }
            _ => None,
        };
        match &frame {
            Some(Ok(frame)) => {
                if let Some(exchange) = &mut this.exchange {
                    exchange.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                }
                this.is_over = this.is_end_stream();
            }
            _ => this.is_over = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Nothing => true,
            Source::Page(page) => page.is_none(),
            Source::File(file) => file.left() == 0,
            Source::App(app) => app.lent.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Nothing => SizeHint::with_exact(0),
            Source::Page(page) => SizeHint::with_exact(page.as_ref().map_or(0, Bytes::len) as u64),
            Source::File(file) => SizeHint::with_exact(file.left()),
            Source::App(_) => SizeHint::default(),
        }
    }
}

impl Drop for H2Answer {
    fn drop(&mut self) {
        if let Some(exchange) = &mut self.exchange
            && !self.is_over
        {
            exchange.break_off();
        }
    }
}
