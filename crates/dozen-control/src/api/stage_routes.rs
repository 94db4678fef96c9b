//! Handlers of what belongs to one stage. All of them ask the store, so each works through
//! [`of_stage`] and none on the thread that serves everybody.

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
    streams::{followed, kept_progress},
    wire::{
        AddDomain, AttachService, Cancelled, ConfigChange, ConfigEntry, CreateService, DeploySummary,
        DomainEntry, MaintenanceWish, PauseRequest, ProcessFilter, ReleaseDetail, ReleaseSummary, Rollback,
        ServiceEntry, StageStatus, TrafficStatus,
    },
};
use crate::{control::Control, error::ControlError, progress::ProgressLog, store::StageRow};

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

/// Does blocking work with a stage.
pub(super) async fn of_stage<T: Send + 'static>(
    api: Api,
    (app, stage): (AppName, StageName),
    work: impl FnOnce(&Arc<Control>, StageRow) -> Result<T, ControlError> + Send + 'static,
) -> Result<T, ApiError> {
    blocking(move || {
        let row = api.control.stage(&app, &stage)?;
        work(&api.control, row)
    })
    .await
}

/// The same for an answer.
async fn answer<T: Send + 'static>(
    api: Api,
    names: (AppName, StageName),
    work: impl FnOnce(&Arc<Control>, StageRow) -> Result<T, ControlError> + Send + 'static,
) -> Answer<T> {
    Ok(Json(of_stage(api, names, work).await?))
}

/// The same for work that goes on, whose events are the answer.
async fn events(
    api: Api,
    names: (AppName, StageName),
    work: impl FnOnce(&Arc<Control>, StageRow) -> Result<Arc<ProgressLog>, ControlError> + Send + 'static,
) -> Result<Response, ApiError> {
    let follow = |control: &Arc<Control>, row: StageRow| Ok(work(control, row)?.follow());
    Ok(followed(of_stage(api, names, follow).await?))
}

pub(super) async fn deploys(
    State(api): State<Api>,
    Path(names): Names,
    Query(query): Query<Limit>,
) -> Answer<Vec<DeploySummary>> {
    answer(api, names, move |control, row| control.deploy_list(&row, query.limit.unwrap_or(20))).await
}

pub(super) async fn deploy_events(
    State(api): State<Api>,
    Path((app, name, number)): Path<(AppName, StageName, u64)>,
) -> Result<Response, ApiError> {
    let find = move |control: &Arc<Control>, row: StageRow| {
        let deploy = control.deploy_row(&row, number)?;
        Ok(match control.work_of(&row, &deploy) {
            Some(work) => followed(work.progress.follow()),
            None => kept_progress(control, &row, &deploy),
        })
    };
    of_stage(api, (app, name), find).await
}

pub(super) async fn cancel(
    State(api): State<Api>,
    Path((app, name, number)): Path<(AppName, StageName, u64)>,
) -> Answer<Cancelled> {
    answer(api, (app, name), move |control, row| control.cancel(&row, number)).await
}

pub(super) async fn releases(
    State(api): State<Api>,
    Path(names): Names,
    Query(query): Query<Limit>,
) -> Answer<Vec<ReleaseSummary>> {
    answer(api, names, move |control, row| control.release_list(&row, query.limit.unwrap_or(20))).await
}

pub(super) async fn release(
    State(api): State<Api>,
    Path((app, name, number)): Path<(AppName, StageName, u64)>,
) -> Answer<ReleaseDetail> {
    let number = ReleaseNumber(number);
    answer(api, (app, name), move |control, row| control.release_detail(&row, number)).await
}

pub(super) async fn rollback(
    State(api): State<Api>,
    Path(names): Names,
    Extension(peer): Extension<Peer>,
    Json(request): Json<Rollback>,
) -> Result<Response, ApiError> {
    events(api, names, move |control, row| control.rollback(&row, &request, &peer.name)).await
}

pub(super) async fn config(
    State(api): State<Api>,
    Path(names): Names,
    Query(query): Query<Reveal>,
) -> Answer<Vec<ConfigEntry>> {
    answer(api, names, move |control, row| control.config_list(&row, query.reveal)).await
}

pub(super) async fn change_config(
    State(api): State<Api>,
    Path(names): Names,
    Extension(peer): Extension<Peer>,
    Json(change): Json<ConfigChange>,
) -> Result<Response, ApiError> {
    events(api, names, move |control, row| control.change_config(&row, &change, &peer.name)).await
}

pub(super) async fn domains(State(api): State<Api>, Path(names): Names) -> Answer<Vec<DomainEntry>> {
    answer(api, names, |control, row| control.domain_list(&row)).await
}

pub(super) async fn add_domain(
    State(api): State<Api>,
    Path(names): Names,
    Json(request): Json<AddDomain>,
) -> Answer<Vec<DomainEntry>> {
    let add = move |control: &Arc<Control>, row: StageRow| {
        control.add_domain(&row, &request.domain)?;
        control.domain_list(&row)
    };
    answer(api, names, add).await
}

pub(super) async fn remove_domain(
    State(api): State<Api>,
    Path((app, name, domain)): Path<(AppName, StageName, String)>,
) -> Answer<Vec<DomainEntry>> {
    let remove = move |control: &Arc<Control>, row: StageRow| {
        control.remove_domain(&row, &domain)?;
        control.domain_list(&row)
    };
    answer(api, (app, name), remove).await
}

pub(super) async fn traffic(State(api): State<Api>, Path(names): Names) -> Answer<TrafficStatus> {
    answer(api, names, |control, row| control.traffic(&row.key)).await
}

pub(super) async fn maintenance(
    State(api): State<Api>,
    Path(names): Names,
    Json(wish): Json<MaintenanceWish>,
) -> Answer<TrafficStatus> {
    answer(api, names, move |control, row| control.set_maintenance(&row, &wish)).await
}

pub(super) async fn pause(
    State(api): State<Api>,
    Path(names): Names,
    Json(request): Json<PauseRequest>,
) -> Result<Response, ApiError> {
    events(api, names, move |control, row| control.pause(&row, &request)).await
}

pub(super) async fn resume(State(api): State<Api>, Path(names): Names) -> Answer<TrafficStatus> {
    answer(api, names, |control, row| control.resume(&row)).await
}

pub(super) async fn ps(State(api): State<Api>, Path(names): Names) -> Answer<StageStatus> {
    answer(api, names, |control, row| control.stage_status(&row)).await
}

pub(super) async fn scale(
    State(api): State<Api>,
    Path(names): Names,
    Json(counts): Json<BTreeMap<ProcessType, u32>>,
) -> Result<Response, ApiError> {
    events(api, names, move |control, row| control.scale(&row, counts)).await
}

pub(super) async fn restart(
    State(api): State<Api>,
    Path(names): Names,
    Json(filter): Json<ProcessFilter>,
) -> Result<Response, ApiError> {
    events(api, names, move |control, row| control.restart_instances(&row, filter.target)).await
}

pub(super) async fn stop(
    State(api): State<Api>,
    Path(names): Names,
    Json(filter): Json<ProcessFilter>,
) -> Result<Response, ApiError> {
    events(api, names, move |control, row| control.stop_processes(&row, filter.target)).await
}

pub(super) async fn start(State(api): State<Api>, Path(names): Names) -> Result<Response, ApiError> {
    events(api, names, |control, row| control.start_stage(&row)).await
}

pub(super) async fn services(State(api): State<Api>, Path(names): Names) -> Answer<Vec<ServiceEntry>> {
    answer(api, names, |control, row| control.service_list(&row)).await
}

pub(super) async fn create_service(
    State(api): State<Api>,
    Path(names): Names,
    Json(request): Json<CreateService>,
) -> Answer<Vec<ServiceEntry>> {
    let create = move |control: &Arc<Control>, row: StageRow| {
        let warnings = control.create_service(&row, &request)?;
        let mut entries = control.service_list(&row)?;
        if let Some(made) = entries.iter_mut().find(|entry| entry.name == request.name) {
            made.warnings = warnings;
        }
        Ok(entries)
    };
    answer(api, names, create).await
}

pub(super) async fn attach(
    State(api): State<Api>,
    Path((app, name, service)): Path<(AppName, StageName, ServiceName)>,
    Extension(peer): Extension<Peer>,
    Json(request): Json<AttachService>,
) -> Result<Response, ApiError> {
    let attach =
        move |control: &Arc<Control>, row| control.attach_service(&row, &service, &request, &peer.name);
    events(api, (app, name), attach).await
}

pub(super) async fn detach(
    State(api): State<Api>,
    Path((app, name, service)): Path<(AppName, StageName, ServiceName)>,
    Extension(peer): Extension<Peer>,
) -> Result<Response, ApiError> {
    events(api, (app, name), move |control, row| control.detach_service(&row, &service, &peer.name)).await
}
