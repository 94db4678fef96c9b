//! One request to one endpoint: over a pooled connection or a new one, sent again where that is safe.
//!
//! What was never written may always go again. What was written goes again only if it has no body
//! and its method changes nothing, and if the connection ended without an answer: once, or, where
//! a reset says that the app has not read it, until a new connection is refused. So a read outlives
//! an app whose processes are all killed. Anything else is never sent twice.
//!
//! An answer of known length to a read begins for the client when its first bytes are here, not
//! with its head alone: an app that dies between the two has answered nothing yet.

use std::{
    error::Error,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Frame, Incoming};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    board::Endpoint,
    exchange::Exchange,
    h_code::HCode,
    options::Limits,
    pool::Lent,
    request_body::{Progress, RequestBody},
    status::Counters,
};

/// Pooled connections that may turn out closed before a new one is made.
const POOLED_TRIES: u32 = 3;
/// New connections that may close before they took the request.
const TRIES: u32 = 6;

/// How long the head of an answer waits for the body's first bytes.
const FIRST_BYTES: Duration = Duration::from_secs(1);

/// The answer of an app, begun.
#[derive(Debug)]
pub(crate) struct Begun {
    /// Its head, and the rest of its body.
    pub(crate) response: Response<Incoming>,
    /// The part of the body that has been taken already.
    pub(crate) first: Option<Frame<Bytes>>,
    /// The connection it comes from.
    pub(crate) lent: Lent,
}

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// With an answer.
    Answered(Begun),
    /// The endpoint does not take it: it may go to another one.
    NotSent(Request<RequestBody>),
    /// For good.
    Failed(StatusCode, HCode),
}

enum Sent {
    Answered(Begun),
    NotWritten(Request<RequestBody>),
    Lost(hyper::Error),
    /// After the head, before anything else.
    BrokenOff,
    ClientBroke,
    Late(StatusCode, HCode),
}

/// Sends `request` to `endpoint`.
pub(crate) async fn attempt(
    exchange: &mut Exchange,
    endpoint: &Endpoint,
    mut request: Request<RequestBody>,
) -> Attempt {
    let room = Rc::clone(&exchange.client.room);
    let is_replayable = is_replayable(&request);
    let (mut tries, mut resets) = (0, 0);
    loop {
        let pooled = if tries < POOLED_TRIES { room.pool.take(endpoint, is_replayable) } else { None };
        let lent = match pooled {
            Some(lent) => lent,
            None => match room.pool.connect(endpoint).await {
                Ok(lent) => lent,
                Err(error) => {
                    tracing::debug!(%error, endpoint = endpoint.load.id, "an endpoint takes no connection");
                    return Attempt::NotSent(request);
                }
            },
        };
        let copy = is_replayable.then(|| copy_of(&request));
        let was_reused = lent.is_reused();
        exchange.sent = Some(Instant::now());
        match send(lent, request, &exchange.limits()).await {
            Sent::Answered(begun) => return Attempt::Answered(begun),
            Sent::NotWritten(back) => {
                request = back;
                tries += 1;
                if tries == TRIES {
                    return Attempt::NotSent(request);
                }
            }
            Sent::Lost(error) => match copy {
                Some(copy) if resets < TRIES && is_reset(&error) => {
                    resets += 1;
                    Counters::count(&room.counters.replayed);
                    request = copy;
                    tries = POOLED_TRIES;
                }
                Some(copy) if !exchange.replayed && (was_reused || has_ended(&error)) => {
                    exchange.replayed = true;
                    Counters::count(&room.counters.replayed);
                    request = copy;
                    tries = POOLED_TRIES;
                }
                _ => return Attempt::Failed(StatusCode::BAD_GATEWAY, blame(&error)),
            },
            Sent::BrokenOff => match copy {
                Some(copy) if !exchange.replayed => {
                    exchange.replayed = true;
                    Counters::count(&room.counters.replayed);
                    request = copy;
                    tries = POOLED_TRIES;
                }
                _ => return Attempt::Failed(StatusCode::BAD_GATEWAY, HCode::ServerInterrupted),
            },
            Sent::ClientBroke => return Attempt::Failed(StatusCode::BAD_REQUEST, HCode::ClientInterrupted),
            Sent::Late(status, code) => return Attempt::Failed(status, code),
        }
    }
}

fn is_replayable(request: &Request<RequestBody>) -> bool {
    request.body().is_empty() && matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
}

fn copy_of(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

async fn send(mut lent: Lent, request: Request<RequestBody>, limits: &Limits) -> Sent {
    let progress = request.body().progress();
    let is_read = is_replayable(&request);
    let Some(sender) = lent.sender() else { return Sent::NotWritten(request) };
    let answer = pin!(sender.try_send_request(request));
    match in_time(answer, progress.as_deref(), limits).await {
        Ok(Ok(response)) if is_read => begin(response, lent).await,
        Ok(Ok(response)) => Sent::Answered(Begun { response, first: None, lent }),
        Ok(Err(mut error)) => {
            lent.abort();
            match error.take_message() {
                Some(request) => Sent::NotWritten(request),
                None if progress.is_some_and(|progress| progress.is_broken()) => Sent::ClientBroke,
                None => Sent::Lost(error.into_error()),
            }
        }
        Err((status, code)) => {
            lent.abort();
            Sent::Late(status, code)
        }
    }
}

/// Waits for the first bytes of a body that must come, since its length is known.
async fn begin(mut response: Response<Incoming>, lent: Lent) -> Sent {
    let has_length = response.body().size_hint().exact().is_some_and(|length| length > 0);
    if !has_length {
        return Sent::Answered(Begun { response, first: None, lent });
    }
    let mut frame = pin!(poll_fn(|cx| Pin::new(response.body_mut()).poll_frame(cx)));
    // Mostly it came with the head, and needs no timer.
    let at_once = poll_fn(|cx| Poll::Ready(frame.as_mut().poll(cx))).await;
    let taken = match at_once {
        Poll::Ready(taken) => Ok(taken),
        Poll::Pending => timeout(FIRST_BYTES, frame).await,
    };
    match taken {
        Ok(Some(Ok(first))) => Sent::Answered(Begun { response, first: Some(first), lent }),
        Ok(_) => {
            lent.abort();
            Sent::BrokenOff
        }
        Err(_) => Sent::Answered(Begun { response, first: None, lent }),
    }
}

/// Waits for the head of the answer: as long as the body moves, then for the first byte.
async fn in_time<F: Future>(
    mut answer: std::pin::Pin<&mut F>,
    progress: Option<&Progress>,
    limits: &Limits,
) -> Result<F::Output, (StatusCode, HCode)> {
    let sent = Instant::now();
    let deadline = || match progress {
        Some(body) if body.is_done() => body.moved() + limits.first_byte,
        Some(body) => body.moved() + limits.idle,
        None => sent + limits.first_byte,
    };
    loop {
        if let Ok(answered) = timeout_at(deadline(), answer.as_mut()).await {
            return Ok(answered);
        }
        // The body may have moved since the limit was set.
        if Instant::now() >= deadline() {
            return Err(match progress {
                Some(body) if !body.is_done() && body.is_awaited() => {
                    (StatusCode::REQUEST_TIMEOUT, HCode::ClientIdle)
                }
                _ => (StatusCode::GATEWAY_TIMEOUT, HCode::RequestTimeout),
            });
        }
    }
}

/// Whether the connection was closed before the head of an answer was whole.
fn has_ended(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_closed() || error.is_canceled()
}

/// Whether the connection was reset: the other side's kernel had bytes that nobody read.
fn is_reset(error: &hyper::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return matches!(io.kind(), BrokenPipe | ConnectionAborted | ConnectionReset);
        }
        source = cause.source();
    }
    false
}

fn blame(error: &hyper::Error) -> HCode {
    if error.is_parse() { HCode::PoorlyFormed } else { HCode::ClosedWithoutResponse }
}
