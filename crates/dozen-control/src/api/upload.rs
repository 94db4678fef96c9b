//! The upload of a tree: written to disk as it comes, queued when it is complete.
//!
//! A client that goes away in the middle, or a tree that is refused, leaves nothing: the file is not
//! queued and goes.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
};
use dozen_model::names::{AppName, StageName};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use super::{Api, ApiError, blocking, peer::Peer, streams::followed, wire::DeploySource};
use crate::{error::ControlError, seal::random_text};

/// A tree of more than this is refused.
const LIMIT: u64 = 4 << 30;

pub(super) async fn deploy(
    State(api): State<Api>,
    Path((app, name)): Path<(AppName, StageName)>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let source: DeploySource = headers
        .get("x-dozen-source")
        .and_then(|value| serde_json::from_slice(value.as_bytes()).ok())
        .ok_or_else(|| {
            ControlError::BadRequest("the header `x-dozen-source` is missing or not JSON".into())
        })?;
    let (control, create) = (Arc::clone(&api.control), source.create);
    let stage = blocking(move || control.stage_for_deploy(&app, &name, create)).await?;
    let name = random_text(12, b"abcdefghijklmnopqrstuvwxyz");
    let upload = api.control.home.root().join("incoming").join(format!("upload-{name}"));
    if let Err(error) = receive(body, &upload).await {
        let _ = tokio::fs::remove_file(&upload).await;
        return Err(error.into());
    }
    let control = api.control;
    let queue = move || {
        let queued = control.queue_tree(&stage, &source, &peer.name, &upload);
        if queued.is_err() {
            let _ = std::fs::remove_file(&upload);
        }
        Ok(queued?.follow())
    };
    Ok(followed(blocking(queue).await?))
}

async fn receive(body: Body, path: &std::path::Path) -> Result<(), ControlError> {
    let storing = || ControlError::io("store the uploaded tree");
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).await.map_err(storing())?;
    let mut stream = body.into_data_stream();
    let mut bytes = 0;
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| ControlError::BadRequest("the upload ended early".into()))?;
        bytes += piece.len() as u64;
        if bytes > LIMIT {
            return Err(ControlError::BadRequest(format!("the source is larger than {} GiB", LIMIT >> 30)));
        }
        file.write_all(&piece).await.map_err(storing())?;
    }
    file.flush().await.map_err(storing())
}
