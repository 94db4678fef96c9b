//! Answers that go on: progress, logs, an attached process.

use std::{convert::Infallible, error::Error as _, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, Query, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use dozen_logs::{LogError, LogLine, LogQuery, Source};
use dozen_model::names::{AppName, StageName};
use futures_util::stream;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::mpsc::{Sender, channel},
};

use super::{
    Api, ApiError,
    peer::Peer,
    stage_routes::of_stage,
    wire::{LogItem, LogPosition, LogRecord, LogRequest, Progress, RunRequest},
};
use crate::{
    control::Control,
    error::ControlError,
    progress::{Follower, ProgressLog, read},
    store::{DeployRow, StageRow},
};

/// The events of work under way.
pub(super) fn progress(log: &Arc<ProgressLog>) -> Response {
    followed(log.follow())
}

/// Events as they come.
pub(super) fn followed(follower: Follower) -> Response {
    lines(stream::unfold(follower, |mut follower: Follower| async move {
        let event = follower.next().await?;
        Some((line(&event), follower))
    }))
}

/// The events of a deploy that has ended; the last one follows from its row when a server was
/// killed before it could write it.
pub(super) fn kept_progress(control: &Control, stage: &StageRow, deploy: &DeployRow) -> Response {
    let mut events = read(&control.events_file(&stage.key, deploy.number));
    if !matches!(events.last(), Some(Progress::Finished { .. })) {
        events.push(control.last_event(stage, deploy));
    }
    let events: Vec<Result<Bytes, Infallible>> = events.iter().map(line).collect();
    lines(stream::iter(events))
}

fn lines(body: impl futures_util::Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(body)).into_response()
}

fn line(value: &impl Serialize) -> Result<Bytes, Infallible> {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    Ok(text.into())
}

/// `GET /logs`.
pub(super) async fn logs(
    State(api): State<Api>,
    Path(stage): Path<(AppName, StageName)>,
    Query(request): Query<LogRequest>,
) -> Result<Response, ApiError> {
    lines_of(api, stage, &request, None).await
}

/// `POST /logs`: from a position on.
pub(super) async fn logs_from(
    State(api): State<Api>,
    Path(stage): Path<(AppName, StageName)>,
    Query(request): Query<LogRequest>,
    Json(position): Json<LogPosition>,
) -> Result<Response, ApiError> {
    lines_of(api, stage, &request, Some(position)).await
}

async fn lines_of(
    api: Api,
    (app, name): (AppName, StageName),
    request: &LogRequest,
    from: Option<LogPosition>,
) -> Result<Response, ApiError> {
    of_stage(api.clone(), (app.clone(), name.clone()), |_, _| Ok(())).await?;
    let mut query = LogQuery::new(app, name);
    query.from = from;
    let bad = |text: String| ControlError::BadRequest(text);
    query.lines = request.lines;
    query.since_ns = request.since_ns;
    query.process = match &request.ps {
        Some(text) => Some(text.parse().map_err(|error| bad(format!("{error}")))?),
        None => None,
    };
    query.source = match request.source.as_deref() {
        None => None,
        Some("app") => Some(Source::App),
        Some("dozen") => Some(Source::Dozen),
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            return Err(bad(format!("`{other}` is not a source: use `app` or `dozen`")).into());
        }
    };
    // Each batch may be a megabyte of lines, and a client may be slow.
    let (sender, receiver) = channel(4);
    let control = api.control;
    let follow = request.follow;
    std::thread::spawn(move || {
        let sent =
            if follow { follow_log(&control, query, &sender) } else { send_log(&control, &query, &sender) };
        if let Err(error) = sent {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            let failed = ControlError::Logs(format!("{error}{cause}")).body();
            // The client may be gone.
            let _ = sender.blocking_send(items([LogItem::Failed { failed }]));
        }
    });
    Ok(lines(stream::unfold(receiver, |mut records| async move {
        let batch: Bytes = records.recv().await?;
        Some((Ok(batch), records))
    })))
}

/// Reads once.
fn send_log(control: &Control, query: &LogQuery, sender: &Sender<Bytes>) -> Result<(), LogError> {
    let page = control.logs.read(query)?;
    // The client may be gone.
    let _ = sender.blocking_send(items(records(&page.lines)));
    Ok(())
}

/// Reads on until the client is gone.
fn follow_log(control: &Control, query: LogQuery, sender: &Sender<Bytes>) -> Result<(), LogError> {
    let mut told = query.from.clone().unwrap_or_default();
    let mut follower = control.logs.follow(query)?;
    while !sender.is_closed() && !control.is_ending() {
        let lines = follower.next_batch(Duration::from_secs(1))?;
        if lines.is_empty() {
            continue;
        }
        let position = LogItem::Position { position: follower.cursor().since(&told) };
        told = follower.cursor().clone();
        if sender.blocking_send(items(records(&lines).chain([position]))).is_err() {
            break;
        }
    }
    Ok(())
}

fn records(lines: &[LogLine]) -> impl Iterator<Item = LogItem> {
    lines.iter().map(|one| {
        LogItem::Line(LogRecord {
            time_ns: one.time_ns,
            source: one.source.as_str().to_owned(),
            process: one.process.clone(),
            text: String::from_utf8_lossy(&one.text).into_owned(),
            continued: one.unfinished,
        })
    })
}

/// One item a line.
fn items(items: impl IntoIterator<Item = LogItem>) -> Bytes {
    let mut text = Vec::new();
    for item in items {
        text.extend(serde_json::to_vec(&item).unwrap_or_default());
        text.push(b'\n');
    }
    text.into()
}

/// `POST /run`: detached, an answer; else the connection becomes one of frames.
pub(super) async fn run(
    State(api): State<Api>,
    Path((app, name)): Path<(AppName, StageName)>,
    Extension(peer): Extension<Peer>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let upgrade = hyper::upgrade::on(&mut request);
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await;
    let body = body.map_err(|_| ControlError::BadRequest("the request is too large".into()))?;
    let wanted: RunRequest =
        serde_json::from_slice(&body).map_err(|error| ControlError::BadRequest(error.to_string()))?;
    let run = move |control: &Arc<Control>, row: StageRow| control.run_one_off(&row, &wanted, &peer.name);
    let started = of_stage(api, (app, name), run).await?;
    let Some(stream) = started.stream else { return Ok(Json(started.about).into_response()) };
    stream.set_nonblocking(true).map_err(ControlError::io("attach to a one-off process"))?;
    let mut process =
        tokio::net::UnixStream::from_std(stream).map_err(ControlError::io("attach to a one-off process"))?;
    tokio::spawn(async move {
        if let Ok(client) = upgrade.await {
            carry(TokioIo::new(client), &mut process).await;
        }
    });
    let head = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "dozen-attach")];
    Ok((StatusCode::SWITCHING_PROTOCOLS, head).into_response())
}

/// Carries frames both ways until the process has said its last. Input that it takes no more is
/// no reason to stop: how it ended is still on its way to the caller.
async fn carry(client: impl AsyncRead + AsyncWrite, process: &mut tokio::net::UnixStream) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_process, mut to_process) = process.split();
    let input = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_process).await;
        let _ = to_process.shutdown().await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = tokio::io::copy(&mut from_process, &mut to_client) => {}
        () = input => {}
    }
    let _ = to_client.shutdown().await;
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn the_last_words_of_a_process_that_takes_no_input_arrive() {
        let (mut caller, client) = tokio::io::duplex(1024);
        let (mut ours, process) = tokio::net::UnixStream::pair().unwrap();
        let process = process.into_std().unwrap();
        process.shutdown(std::net::Shutdown::Read).unwrap();
        let mut process = tokio::net::UnixStream::from_std(process).unwrap();
        let carried = tokio::spawn(async move { carry(client, &mut ours).await });

        caller.write_all(b"input that nobody takes").await.unwrap();
        // Long enough for the input to have been refused.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        process.write_all(b"exit 7").await.unwrap();
        drop(process);

        let mut heard = Vec::new();
        caller.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"exit 7");
        carried.await.unwrap();
    }
}
