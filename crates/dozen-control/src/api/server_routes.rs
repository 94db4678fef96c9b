//! Handlers of what belongs to the server or to an app as a whole.

use axum::{
    Json,
    extract::{Path, Query, State},
    response::Response,
};
use dozen_model::names::AppName;
use serde::Deserialize;

use super::{
    Api, ApiError, blocking,
    streams::progress,
    wire::{AppSummary, CreateApp, DoctorCheck, ServerInfo, StopServer},
};
use crate::error::ControlError;

pub(super) async fn info(State(api): State<Api>) -> Result<Json<ServerInfo>, ApiError> {
    let control = api.control;
    Ok(Json(blocking(move || control.server_info()).await?))
}

/// In a task of its own: who asks may go away before all is stopped. The server ends also when
/// something would not end, since it has begun nothing any more from the first moment on.
pub(super) async fn stop(
    State(api): State<Api>,
    Json(request): Json<StopServer>,
) -> Result<Json<()>, ApiError> {
    let stopping = tokio::spawn(async move {
        let control = api.control;
        let stopped = if request.all { blocking(move || control.stop_all()).await } else { Ok(()) };
        api.stop.notify_one();
        stopped
    });
    let lost = |_| ControlError::BadRequest("the server ended before it could answer".into());
    stopping.await.map_err(lost)??;
    Ok(Json(()))
}

pub(super) async fn doctor(State(api): State<Api>) -> Result<Json<Vec<DoctorCheck>>, ApiError> {
    let control = api.control;
    Ok(Json(blocking(move || Ok(control.doctor())).await?))
}

pub(super) async fn apps(State(api): State<Api>) -> Result<Json<Vec<AppSummary>>, ApiError> {
    let control = api.control;
    Ok(Json(blocking(move || control.app_list()).await?))
}

pub(super) async fn create(
    State(api): State<Api>,
    Json(request): Json<CreateApp>,
) -> Result<Json<Vec<AppSummary>>, ApiError> {
    let control = api.control;
    let create = move || {
        match control.store.create_app(&request.name) {
            Err(ControlError::AppTaken { .. }) if request.if_missing => {}
            made => made?,
        }
        let mut apps = control.app_list()?;
        apps.retain(|app| app.name == request.name);
        Ok(apps)
    };
    Ok(Json(blocking(create).await?))
}

/// `?follow=`.
#[derive(Debug, Deserialize)]
pub(super) struct Follow {
    #[serde(default)]
    follow: bool,
}

pub(super) async fn destroy(
    State(api): State<Api>,
    Path(app): Path<AppName>,
    Query(query): Query<Follow>,
) -> Result<Response, ApiError> {
    let control = api.control;
    let destruction =
        blocking(
            move || {
                if query.follow { control.follow_destruction(&app) } else { control.destroy_app(&app) }
            },
        );
    Ok(progress(&destruction.await?))
}
