//! HTTP/2 towards clients: one connection, whose streams are answered like any other requests.
//!
//! The frames are hyper's and h2's business; what is bounded here is what one client can make of
//! them: streams, window, head, what it breaks off, what it does not take, and time without any
//! request. At the drain it is told to go elsewhere (GOAWAY), and what it has begun is finished.
//!
//! Start reading at [`serve`].

use std::{pin::pin, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response,
    header::{ALLOW, CONTENT_LENGTH},
};
use http_body_util::{Either, Full};
use hyper::{
    body::{Body, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::sleep;

use crate::{
    client_stream::ClientStream,
    connection::Client,
    h2_request::{Reach, Refused, as_http1},
    h2_traffic::{Flow, Streams, Traffic, Watched},
    head_scan::MAX_HEAD,
    response_body::BodyError,
    status::Counters,
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

/// The answer's body: a page of ours, or whatever the service gives.
type AnswerBody<B> = Either<Full<Bytes>, B>;

/// Serves a connection to its end; `answer` brings each request to its answer.
pub(crate) async fn serve<A, F, B>(client: Rc<Client>, stream: ClientStream, reach: Reach, answer: A)
where
    A: Fn(Rc<Client>, Request<Incoming>) -> F + 'static,
    F: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BodyError>,
{
    let limits = client.room.limits;
    let traffic = Rc::new(Traffic::new());
    let (reach, answer) = (Rc::new(reach), Rc::new(answer));
    let service = service_fn(|request: Request<Incoming>| {
        let (client, reach, answer) = (Rc::clone(&client), Rc::clone(&reach), Rc::clone(&answer));
        let (flow, is_abused) = (traffic.begin(), traffic.is_abused());
        async move {
            if is_abused {
                flow.end();
                return Err("too many requests were broken off");
            }
            let is_head = request.method() == Method::HEAD;
            let response = match as_http1(request, &reach) {
                Ok(request) => answer(client, request).await.map(Either::Right),
                Err(refused) => refuse(&client, refused).map(Either::Left),
            };
            Ok(finish(response, is_head, flow))
        }
    });
    let streams = Streams { traffic: Rc::clone(&traffic), limit: limits.idle };
    let mut connection = pin!(
        http2::Builder::new(streams)
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(MAX_HEAD as u32)
            .max_pending_accept_reset_streams(MAX_RESETS)
            .max_local_error_reset_streams(MAX_RESETS)
            // Also ends a connection whose head does not come to its end: nothing else may be sent
            // in the midst of it, not the answer to a ping.
            .keep_alive_interval(QUIET)
            .keep_alive_timeout(limits.header_read)
            .serve_connection(TokioIo::new(stream), service)
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
        // Only the end of the process closes the channel. The last part of an answer may still wait
        // for a slow client.
        _ = stopping.wait_for(|now| *now != Stopping::No) => limits.idle,
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

fn note_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a client connection broke");
    }
}

/// A page for a request that is no app's business.
fn refuse(client: &Client, refused: Refused) -> Response<Full<Bytes>> {
    let counters = &client.room.counters;
    Counters::count(&counters.requests);
    if refused != Refused::Misdirected {
        Counters::count(&counters.refusals.malformed);
    }
    let status = refused.status();
    let text = format!("{status}\n");
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if refused == Refused::Connect {
        let all = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
        headers.insert(ALLOW, HeaderValue::from_static(all));
    }
    response
}

/// An answer as it leaves: to HEAD without its body.
fn finish<B>(
    response: Response<AnswerBody<B>>,
    is_head: bool,
    flow: Rc<Flow>,
) -> Response<Watched<AnswerBody<B>>>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let (mut parts, body) = response.into_parts();
    if !is_head {
        return Response::from_parts(parts, Watched::new(Some(body), flow));
    }
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0)
        && !parts.headers.contains_key(CONTENT_LENGTH)
    {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Watched::new(None, flow))
}
