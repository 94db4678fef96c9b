//! HTTP/2 towards clients: one connection, whose streams are answered like any other requests.
//!
//! The frames are hyper's and h2's business; what is bounded here is what one client can make of
//! them: streams, window, head, what it breaks off, what it does not take, and time without any
//! request. At the drain it is told to go elsewhere (GOAWAY), and what it has begun is finished.
//!
//! Start reading at [`serve`].

use std::{pin::pin, rc::Rc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    answer, attempt,
    client_stream::ClientStream,
    connection::Client,
    forward::Answer,
    front_http1::LAST_REQUEST,
    h2_answer::{self, H2Answer},
    h2_body::H2Body,
    h2_request::{Reach, write_head},
    h2_traffic::{Streams, Traffic, Watched},
    http1::request::{self, Refusal},
    lingering::Lingering,
    service,
    status::Counters,
    watchdog::Watchdog,
    worker::Stopping,
};

const MAX_STREAMS: u32 = 250;
/// Bytes of a request's body that may wait for the app.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 512 << 10;
/// Bytes of an answer that may wait for the client.
const SEND_BUFFER: usize = 64 << 10;
/// Requests that may be broken off before they were looked at, and those that may be malformed,
/// before the connection ends.
const MAX_RESETS: usize = 100;
/// Silence after which a client is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(20);
/// For the GOAWAY of a connection that is not to go on.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a stream is reset instead of answered.
type Reset = &'static str;

/// Serves a connection to its end.
pub(crate) async fn serve(client: Rc<Client>, stream: ClientStream, reach: Reach) {
    client.room.tally().http2_connections.add(1);
    let limits = client.room.limits;
    let traffic = Rc::new(Traffic::new());
    let reach = Rc::new(reach);
    let service = service_fn(|request: Request<Incoming>| {
        let (client, reach) = (Rc::clone(&client), Rc::clone(&reach));
        let (flow, is_abused) = (traffic.begin(), traffic.is_abused());
        // Boxed: the task of a stream is moved about eight times until it runs, and this is 8 KiB.
        Box::pin(async move {
            let is_head = request.method() == Method::HEAD;
            let answered = match is_abused {
                true => Err("too many requests were broken off"),
                false => answer(client, &reach, request).await,
            };
            if answered.is_err() {
                flow.end();
            }
            answered.map(|response| response.map(|body| Watched::new(Some(body).filter(|_| !is_head), flow)))
        })
    });
    let streams = Streams { traffic: Rc::clone(&traffic), limit: limits.idle };
    let mut connection = pin!(
        http2::Builder::new(streams)
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(MAX_RESETS)
            .max_local_error_reset_streams(MAX_RESETS)
            // Also ends a connection whose head does not come to its end: nothing else may be sent
            // in the midst of it, not the answer to a ping.
            .keep_alive_interval(QUIET)
            .keep_alive_timeout(limits.header_read)
            .serve_connection(TokioIo::new(Lingering::new(stream, limits.idle)), service)
    );
    let mut stopping = client.room.stopping.clone();
    // How long it may stay open without a stream after it was told to go.
    let patience = tokio::select! {
        ended = connection.as_mut() => return note_end(ended),
        () = traffic.abused() => {
            tracing::debug!("a client breaks off too many requests");
            GOODBYE
        }
        () = traffic.quiet_for(limits.header_read, limits.keep_alive) => GOODBYE,
        // The last part of an answer may still wait for a slow client.
        () = drained(&mut stopping, &traffic) => limits.idle,
    };
    connection.as_mut().graceful_shutdown();
    traffic.wait_anew();
    let abused = async {
        traffic.abused().await;
        sleep(GOODBYE).await;
    };
    tokio::select! {
        ended = connection.as_mut() => note_end(ended),
        () = abused => {}
        () = traffic.quiet_for(patience, patience) => {}
    }
}

/// Ready at the drain. A client that has come and not asked yet gets its first answer here: not all
/// understand that they are sent elsewhere with it.
async fn drained(stopping: &mut watch::Receiver<Stopping>, traffic: &Traffic) {
    // Only the end of the process closes the channel.
    let _ = stopping.wait_for(|now| *now != Stopping::No).await;
    let _ = timeout(LAST_REQUEST, traffic.begun()).await;
}

fn note_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a client connection broke");
    }
}

/// Brings one request to its answer.
async fn answer(
    client: Rc<Client>,
    reach: &Reach,
    request: Request<Incoming>,
) -> Result<Response<H2Answer>, Reset> {
    client.requests.set(client.requests.get() + 1);
    let Some(place) = client.room.place() else { return Ok(refuse(&client, Refusal::Crowded)) };
    let mut ranges = Vec::new();
    let text = match write_head(&request) {
        Ok(text) => text,
        Err(refusal) => return Ok(refuse(&client, refusal)),
    };
    let head = match request::parse(&text, client.room.limits.headers, &mut ranges) {
        Ok(head) => head,
        Err(refusal) => return Ok(refuse(&client, refusal)),
    };
    if !reach.includes(head.host.name()) {
        Counters::count(&client.room.counters.refusals.misdirected);
        let text = "This connection is not for that host.";
        return Ok(page(StatusCode::MISDIRECTED_REQUEST, text));
    }
    let mut for_app = Vec::new();
    client.room.tally().http2_requests.add(1);
    let taken = service::take(&client, &head, &mut for_app);
    let framing = head.framing;
    let (mut body, mut watchdog) = (H2Body::new(request.into_body()), Watchdog::default());
    let asking = attempt::Client { body: &mut body, watchdog: &mut watchdog };
    match service::answer(taken, &for_app, framing, asking).await {
        Answer::Nobody => Err("its client has gone"),
        Answer::Own(own) => Ok(h2_answer::own(own, place)),
        Answer::App(begun, exchange) => Ok(h2_answer::app(begun, exchange, (body, watchdog), place)),
    }
}

/// A page for a request that is not served; others of its connection may be.
fn refuse(client: &Client, refusal: Refusal) -> Response<H2Answer> {
    client.room.counters.refusals.note_malformed(refusal, client.peer.text.to_str().unwrap_or_default());
    let (status, text) = answer::refusal(refusal);
    page(status, text)
}

fn page(status: StatusCode, text: &str) -> Response<H2Answer> {
    let heading = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let mut response = h2_answer::page(status, answer::page(&heading, &format!("<p>{text}</p>"), None));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}
