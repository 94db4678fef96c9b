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
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::{
    board::Endpoint,
    body_source::BodySource,
    exchange::Exchange,
    h_code::HCode,
    http1::{Framing, response::ResponseHead},
    options::Limits,
    pool::Lent,
    rotation::Trouble,
    status::Counters,
    upload::{Upload, UploadError},
    upstream::HeadError,
    watchdog::Watchdog,
};

/// Pooled connections that may turn out closed before a new one is made.
const POOLED_TRIES: u32 = 3;
/// New connections that may close before they took the request.
const TRIES: u32 = 6;

/// How long the head of an answer waits for the body's first bytes.
const FIRST_BYTES: Duration = Duration::from_secs(1);

/// A request as an app gets it.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) framing: Framing,
    pub(crate) is_head: bool,
    /// It may be sent twice: it has no body and changes nothing.
    pub(crate) is_replayable: bool,
    /// The protocol it wants to change to.
    pub(crate) upgrade: Option<String>,
    /// The most bytes of its body.
    pub(crate) max_body: Option<u64>,
}

impl<'a> Outgoing<'a> {
    pub(crate) fn new(head: &'a [u8], framing: Framing, method: &Method, upgrade: Option<String>) -> Self {
        let is_read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        Self {
            head,
            framing,
            is_head: *method == Method::HEAD,
            is_replayable: is_read && framing.is_empty(),
            upgrade,
            max_body: None,
        }
    }
}

/// What a request has of its client while it is being served: the rest of its body, and a timer.
pub(crate) struct Client<'a> {
    pub(crate) body: &'a mut dyn BodySource,
    pub(crate) watchdog: &'a mut Watchdog,
}

/// The answer of an app, begun.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) said: ResponseHead,
    /// The connection it comes from.
    pub(crate) lent: Lent,
    /// What is left to send of the request.
    pub(crate) upload: Upload,
}

/// How an attempt ended.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "moved once or twice; a box would be an allocation a request")]
pub(crate) enum Attempt {
    /// With an answer.
    Answered(Begun),
    /// The endpoint does not take it: it may go to another one.
    NotSent,
    /// For good.
    Failed(StatusCode, HCode),
    /// Its body turned out to be larger than its stage takes.
    TooLarge,
    /// The client has gone, and nobody is there to answer.
    ClientGone,
}

#[expect(clippy::large_enum_variant, reason = "moved once or twice; a box would be an allocation a request")]
enum Sent {
    Answered(Begun),
    NotWritten,
    Lost(Loss),
    /// After the head, before anything else.
    BrokenOff,
    ClientBroke,
    TooLarge,
    ClientGone,
    Late(StatusCode, HCode),
}

/// How a connection ended that had taken the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It was reset: the other side's kernel had bytes that nobody read.
    Reset,
    Ended,
    /// With something that is no answer.
    Malformed,
}

/// Sends `request` to `endpoint`.
pub(crate) async fn attempt(
    exchange: &mut Exchange,
    endpoint: &Endpoint,
    request: &Outgoing<'_>,
    client: &mut Client<'_>,
) -> Attempt {
    let room = Rc::clone(&exchange.client.room);
    let (mut tries, mut resets) = (0, 0);
    loop {
        let pooled =
            if tries < POOLED_TRIES { room.pool.take(endpoint, request.is_replayable) } else { None };
        let is_fresh = pooled.is_none();
        let lent = match pooled {
            Some(lent) => lent,
            None => match room.pool.connect(endpoint).await {
                Ok(lent) => lent,
                Err(error) => {
                    tracing::debug!(%error, endpoint = endpoint.load.id, "an endpoint takes no connection");
                    exchange.note_trouble(Trouble::Refused);
                    return Attempt::NotSent;
                }
            },
        };
        exchange.sent = Some(Instant::now());
        let sent = send(lent, request, client, exchange).await;
        // A kept connection may end at any moment, with all in order.
        if is_fresh && matches!(sent, Sent::Lost(Loss::Reset | Loss::Ended)) {
            exchange.note_trouble(Trouble::Lost);
        }
        match sent {
            Sent::Answered(begun) => {
                endpoint.load.rotation.note_answer();
                return Attempt::Answered(begun);
            }
            Sent::NotWritten => {
                tries += 1;
                if tries == TRIES {
                    return Attempt::NotSent;
                }
                continue;
            }
            Sent::Lost(Loss::Reset) if request.is_replayable && resets < TRIES => resets += 1,
            Sent::Lost(Loss::Ended) | Sent::BrokenOff if request.is_replayable && !exchange.replayed => {
                exchange.replayed = true;
            }
            Sent::Lost(loss) => return Attempt::Failed(StatusCode::BAD_GATEWAY, blame(loss)),
            Sent::BrokenOff => return Attempt::Failed(StatusCode::BAD_GATEWAY, HCode::ServerInterrupted),
            Sent::ClientBroke => return Attempt::Failed(StatusCode::BAD_REQUEST, HCode::ClientInterrupted),
            Sent::TooLarge => return Attempt::TooLarge,
            Sent::ClientGone => return Attempt::ClientGone,
            Sent::Late(status, code) => return Attempt::Failed(status, code),
        }
        Counters::count(&room.counters.replayed);
        exchange.count(|meter| meter.replayed.add(1));
        tries = POOLED_TRIES;
    }
}

async fn send(
    mut lent: Lent,
    request: &Outgoing<'_>,
    client: &mut Client<'_>,
    exchange: &mut Exchange,
) -> Sent {
    let limits = &exchange.limits();
    let mut upload = Upload::new(request.framing, request.max_body);
    let mut broken = None;
    let headed =
        poll_fn(|cx| poll_answer(cx, &mut lent, &mut upload, &mut broken, (request, client, limits))).await;
    match headed {
        Ok(said) => begin(Begun { said, lent, upload }, request, client).await,
        Err(sent) => {
            exchange.received = upload.body_bytes();
            sent
        }
    }
}

/// The request and all that it needs, for one look at it.
type Asking<'a, 'r, 'c> = (&'a Outgoing<'r>, &'a mut Client<'c>, &'a Limits);

/// Sends what can be sent, and looks for the head of the answer.
fn poll_answer(
    cx: &mut Context<'_>,
    lent: &mut Lent,
    upload: &mut Upload,
    broken: &mut Option<io::Error>,
    (request, client, limits): Asking<'_, '_, '_>,
) -> Poll<Result<ResponseHead, Sent>> {
    if !upload.is_over() {
        match upload.poll(cx, request.head, client.body, &mut lent.upstream().stream) {
            Poll::Ready(Ok(())) => lent.sent(),
            Poll::Ready(Err(UploadError::Client)) => return Poll::Ready(Err(Sent::ClientBroke)),
            Poll::Ready(Err(UploadError::TooLarge)) => return Poll::Ready(Err(Sent::TooLarge)),
            Poll::Ready(Err(UploadError::App(_))) if upload.is_unsent() => {
                return Poll::Ready(Err(Sent::NotWritten));
            }
            // It may have answered before it stopped to read.
            Poll::Ready(Err(UploadError::App(error))) => *broken = Some(error),
            Poll::Pending => {}
        }
    }
    match lent.upstream().poll_head(cx, request.is_head) {
        Poll::Ready(Ok(said)) => return Poll::Ready(Ok(said)),
        Poll::Ready(Err(error)) => return Poll::Ready(Err(Sent::Lost(loss(error, broken.take())))),
        Poll::Pending => {}
    }
    if upload.is_over() && client.body.poll_gone(cx).is_ready() {
        return Poll::Ready(Err(Sent::ClientGone));
    }
    let limit = if upload.is_over() { limits.first_byte } else { limits.idle };
    if !client.watchdog.is_overdue(cx, upload.moved() + limit) {
        return Poll::Pending;
    }
    Poll::Ready(Err(if !upload.is_over() && upload.awaits_client() {
        Sent::Late(StatusCode::REQUEST_TIMEOUT, HCode::ClientIdle)
    } else {
        Sent::Late(StatusCode::GATEWAY_TIMEOUT, HCode::RequestTimeout)
    }))
}

/// Waits for the first bytes of a body that must come, since its length is known.
async fn begin(mut begun: Begun, request: &Outgoing<'_>, client: &mut Client<'_>) -> Sent {
    if !request.is_replayable || !matches!(begun.said.framing, Framing::Length(1..)) {
        return Sent::Answered(begun);
    }
    let mut deadline = None;
    let came = poll_fn(|cx| match begun.lent.upstream().poll_data(cx) {
        Poll::Ready(data) => Poll::Ready(data.is_ok()),
        Poll::Pending => {
            // Mostly they came with the head, and need no timer.
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + FIRST_BYTES);
            if client.watchdog.is_overdue(cx, deadline) { Poll::Ready(true) } else { Poll::Pending }
        }
    })
    .await;
    if came { Sent::Answered(begun) } else { Sent::BrokenOff }
}

fn loss(error: HeadError, write: Option<io::Error>) -> Loss {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    let is_reset =
        |error: &io::Error| matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset);
    match error {
        HeadError::Malformed => Loss::Malformed,
        HeadError::Broken(error) if is_reset(&error) => Loss::Reset,
        _ if write.as_ref().is_some_and(is_reset) => Loss::Reset,
        HeadError::Broken(_) | HeadError::Ended => Loss::Ended,
    }
}

fn blame(loss: Loss) -> HCode {
    match loss {
        Loss::Malformed => HCode::PoorlyFormed,
        Loss::Reset | Loss::Ended => HCode::ClosedWithoutResponse,
    }
}
