//! Handlers of what belongs to one stage.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json,
    extract::{Path, Query, State},
    response::Response,
};
use dozen_model::{
    names::{AppName, ProcessType, ServiceName, StageName},
    release::ReleaseNumber,
};
use serde::Deserialize;

use super::{
    Api, ApiError, blocking,
    peer::Peer,
    streams::{kept_progress, progress},
    wire::{
        AddDomain, AttachService, Cancelled, ConfigChange, ConfigEntry, CreateService, DeploySummary,
        DomainEntry, ProcessFilter, ReleaseDetail, ReleaseSummary, Rollback, ServiceEntry, StageStatus,
    },
};
use crate::store::StageRow;

type Names = Path<(AppName, StageName)>;
type Answer<T> = Result<Json<T>, ApiError>;

/// `?limit=`.
#[derive(Debug, Deserialize)]
pub(super) struct Limit {
    limit: Option<u32>,
}

/// `?reveal=`.
#[derive(Debug, Deserialize)]
pub(super) struct Reveal {
    #[serde(default)]
    reveal: bool,
}

fn stage(api: &Api, (app, stage): &(AppName, StageName)) -> Result<StageRow, ApiError> {
    Ok(api.control.stage(app, stage)?)
}

pub(super) async fn deploys(
    State(api): State<Api>,
    Path(names): Names,
    Query(query): Query<Limit>,
) -> Answer<Vec<DeploySummary>> {
    Ok(Json(api.control.deploy_list(&stage(&api, &names)?, query.limit.unwrap_or(20))?))
}

pub(super) async fn deploy_events(
    State(api): State<Api>,
    Path((app, name, number)): Path<(AppName, StageName, u64)>,
) -> Result<Response, ApiError> {
    let row = stage(&api, &(app, name))?;
    let deploy = api.control.deploy_row(&row, number)?;
    Ok(match api.control.work_of(&row, &deploy) {
        Some(work) => progress(&work.progress),
        None => kept_progress(&api.control, &row, &deploy),
    })
}

pub(super) async fn cancel(
    State(api): State<Api>,
    Path((app, name, number)): Path<(AppName, StageName, u64)>,
) -> Answer<Cancelled> {
    Ok(Json(api.control.cancel(&stage(&api, &(app, name))?, number)?))
}

pub(super) async fn releases(
    State(api): State<Api>,
    Path(names): Names,
    Query(query): Query<Limit>,
) -> Answer<Vec<ReleaseSummary>> {
    Ok(Json(api.control.release_list(&stage(&api, &names)?, query.limit.unwrap_or(20))?))
}

pub(super) async fn release(
    State(api): State<Api>,
    Path((app, name, number)): Path<(AppName, StageName, u64)>,
) -> Answer<ReleaseDetail> {
    Ok(Json(api.control.release_detail(&stage(&api, &(app, name))?, ReleaseNumber(number))?))
}

pub(super) async fn rollback(
    State(api): State<Api>,
    Path(names): Names,
    Extension(peer): Extension<Peer>,
    Json(request): Json<Rollback>,
) -> Result<Response, ApiError> {
    Ok(progress(&api.control.rollback(&stage(&api, &names)?, &request, &peer.name)?))
}

pub(super) async fn config(
    State(api): State<Api>,
    Path(names): Names,
    Query(query): Query<Reveal>,
) -> Answer<Vec<ConfigEntry>> {
    Ok(Json(api.control.config_list(&stage(&api, &names)?, query.reveal)?))
}

pub(super) async fn change_config(
    State(api): State<Api>,
    Path(names): Names,
    Extension(peer): Extension<Peer>,
    Json(change): Json<ConfigChange>,
) -> Result<Response, ApiError> {
    Ok(progress(&api.control.change_config(&stage(&api, &names)?, &change, &peer.name)?))
}

pub(super) async fn domains(State(api): State<Api>, Path(names): Names) -> Answer<Vec<DomainEntry>> {
    Ok(Json(api.control.domain_list(&stage(&api, &names)?)?))
}

pub(super) async fn add_domain(
    State(api): State<Api>,
    Path(names): Names,
    Json(request): Json<AddDomain>,
) -> Answer<Vec<DomainEntry>> {
    let row = stage(&api, &names)?;
    let control = Arc::clone(&api.control);
    Ok(Json(
        blocking(move || control.add_domain(&row, &request.domain).and_then(|()| control.domain_list(&row)))
            .await?,
    ))
}

pub(super) async fn remove_domain(
    State(api): State<Api>,
    Path((app, name, domain)): Path<(AppName, StageName, String)>,
) -> Answer<Vec<DomainEntry>> {
    let row = stage(&api, &(app, name))?;
    let control = Arc::clone(&api.control);
    Ok(Json(
        blocking(move || control.remove_domain(&row, &domain).and_then(|()| control.domain_list(&row)))
            .await?,
    ))
}

pub(super) async fn ps(State(api): State<Api>, Path(names): Names) -> Answer<StageStatus> {
    let row = stage(&api, &names)?;
    let control = Arc::clone(&api.control);
    Ok(Json(blocking(move || control.stage_status(&row)).await?))
}

pub(super) async fn scale(
    State(api): State<Api>,
    Path(names): Names,
    Json(counts): Json<BTreeMap<ProcessType, u32>>,
) -> Result<Response, ApiError> {
    Ok(progress(&api.control.scale(&stage(&api, &names)?, counts)?))
}

pub(super) async fn restart(
    State(api): State<Api>,
    Path(names): Names,
    Json(filter): Json<ProcessFilter>,
) -> Result<Response, ApiError> {
    Ok(progress(&api.control.restart_instances(&stage(&api, &names)?, filter.target)?))
}

pub(super) async fn stop(
    State(api): State<Api>,
    Path(names): Names,
    Json(filter): Json<ProcessFilter>,
) -> Result<Response, ApiError> {
    Ok(progress(&api.control.stop_processes(&stage(&api, &names)?, filter.target)?))
}

pub(super) async fn start(State(api): State<Api>, Path(names): Names) -> Result<Response, ApiError> {
    Ok(progress(&api.control.start_stage(&stage(&api, &names)?)))
}

pub(super) async fn services(State(api): State<Api>, Path(names): Names) -> Answer<Vec<ServiceEntry>> {
    Ok(Json(api.control.service_list(&stage(&api, &names)?)?))
}

pub(super) async fn create_service(
    State(api): State<Api>,
    Path(names): Names,
    Json(request): Json<CreateService>,
) -> Answer<Vec<ServiceEntry>> {
    let row = stage(&api, &names)?;
    let control = Arc::clone(&api.control);
    let create = move || {
        let warnings = control.create_service(&row, &request)?;
        let mut entries = control.service_list(&row)?;
        if let Some(made) = entries.iter_mut().find(|entry| entry.name == request.name) {
            made.warnings = warnings;
        }
        Ok(entries)
    };
    Ok(Json(blocking(create).await?))
}

pub(super) async fn attach(
    State(api): State<Api>,
    Path((app, name, service)): Path<(AppName, StageName, ServiceName)>,
    Extension(peer): Extension<Peer>,
    Json(request): Json<AttachService>,
) -> Result<Response, ApiError> {
    let row = stage(&api, &(app, name))?;
    Ok(progress(&api.control.attach_service(&row, &service, &request, &peer.name)?))
}

pub(super) async fn detach(
    State(api): State<Api>,
    Path((app, name, service)): Path<(AppName, StageName, ServiceName)>,
    Extension(peer): Extension<Peer>,
) -> Result<Response, ApiError> {
    let row = stage(&api, &(app, name))?;
    Ok(progress(&api.control.detach_service(&row, &service, &peer.name)?))
}
