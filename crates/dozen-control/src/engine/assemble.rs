//! The step `assemble`: image + config + attachments + formation become a numbered release.

use std::collections::BTreeMap;

use dozen_model::{
    formation::Formation,
    image::Image,
    manifest::{AppManifest, ServiceKind},
    names::{ConfigVar, ServiceName},
};
use dozen_services::{ServiceRequest, driver};
use serde::{Deserialize, Serialize};

use super::{Change, django};
use crate::{
    error::ControlError,
    release_config::{Bound, ReleaseConfig, Value, add_declared, check_size, from_base64, stage_vars},
    store::{AttachmentRow, DeployKind, NewRelease, ReleaseRow, ServiceRow},
};

/// What a change asks for besides its tree; sealed in its row, since it may hold values.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ChangeRequest {
    /// What changed, names only.
    pub(crate) change: String,
    /// Config vars to set, in base64.
    #[serde(default)]
    pub(crate) set: BTreeMap<String, String>,
    /// Config vars to remove.
    #[serde(default)]
    pub(crate) unset: Vec<String>,
    /// Services to attach: var and service.
    #[serde(default)]
    pub(crate) attach: Vec<(ConfigVar, i64)>,
    /// Services to detach.
    #[serde(default)]
    pub(crate) detach: Vec<i64>,
    /// The release whose image and config to take.
    #[serde(default)]
    pub(crate) rollback_to: Option<u64>,
    /// Whether a rollback runs the release phase.
    #[serde(default)]
    pub(crate) run_release_phase: bool,
}

impl Change {
    /// What the change asks for.
    pub(crate) fn request(&self) -> Result<ChangeRequest, ControlError> {
        let Some(sealed) = &self.deploy.sealed_request else { return Ok(ChangeRequest::default()) };
        let text = self.control.key.unseal(&self.key().owner("change"), sealed)?;
        serde_json::from_slice(&text).map_err(|_| ControlError::Sealed { what: "a change".into() })
    }
}

/// The release whose image a change keeps: the one to return to, else the one that serves.
pub(super) fn base_release(change: &Change) -> Result<ReleaseRow, ControlError> {
    let no_release = || ControlError::NoRelease { app: change.key().app.clone() };
    let number = match change.request()?.rollback_to {
        Some(number) => dozen_model::release::ReleaseNumber(number),
        None => change.stage.current.ok_or_else(no_release)?,
    };
    change.control.store.release(change.key().id, number)?.ok_or_else(no_release)
}

/// Writes the release, once.
pub(super) fn assemble(change: &mut Change) -> Result<(), ControlError> {
    if change.deploy.release.is_some() {
        return Ok(());
    }
    let control = &change.control;
    let announced = change.work.progress.step("assemble", "Assembling the release");
    let request = change.request()?;
    let image_digest = change.deploy.image.clone().ok_or(ControlError::Io {
        what: "find the image of the change".into(),
        source: std::io::ErrorKind::NotFound.into(),
    })?;
    let image = control.layers.image(&image_digest).ok_or_else(|| ControlError::Io {
        what: format!("read the image {}", image_digest.short()),
        source: std::io::ErrorKind::NotFound.into(),
    })?;
    let (config, commit) = match change.deploy.kind {
        DeployKind::Rollback => {
            let base = base_release(change)?;
            let owner = change.key().owner(&base.number.to_string());
            (ReleaseConfig::unseal(&control.key, &owner, &base.sealed)?, base.commit)
        }
        DeployKind::Deploy => (config_of(change, &request, &image)?, change.deploy.source.commit.clone()),
        _ => (config_of(change, &request, &image)?, base_release(change)?.commit),
    };
    let formation = formation_of(change, &image);
    let new = NewRelease {
        deploy: change.deploy.id,
        image: &image_digest,
        formation: &formation,
        change: &request.change,
        who: &change.deploy.who,
        commit: commit.as_deref(),
    };
    let key = &control.key;
    let stage = change.key();
    let number = control
        .store
        .add_release(stage.id, &new, |number| config.seal(key, &stage.owner(&number.to_string())))?;
    announced.done(format!("{number}: {}", new.change));
    Ok(())
}

fn formation_of(change: &Change, image: &Image) -> Formation {
    let counts = image
        .processes
        .keys()
        .map(|process| (process.clone(), change.control.wanted(&change.stage, image, process)));
    Formation(counts.collect())
}

fn config_of(change: &Change, request: &ChangeRequest, image: &Image) -> Result<ReleaseConfig, ControlError> {
    let control = &change.control;
    let stage = change.key();
    let manifest = image.manifest.for_stage(&stage.stage);
    let mut vars = stage_vars(&control.key, stage, &control.store.config(stage.id)?)?;
    for (name, value) in &request.set {
        vars.insert(name.parse()?, Value { origin: "set".into(), bytes: from_base64(name, value)? });
    }
    for name in &request.unset {
        vars.remove(&name.parse::<ConfigVar>()?);
    }
    let attachments = attachments_of(change, request, &manifest, &vars)?;
    let bound = bind(change, &attachments, image, &mut vars)?;
    add_declared(&mut vars, &manifest, &bound)?;
    check_size(&stage.app, &vars)?;
    Ok(ReleaseConfig { vars, bound })
}

/// The stage's attachments, changed as asked, and those that the app declares and nobody made yet.
fn attachments_of(
    change: &Change,
    request: &ChangeRequest,
    manifest: &AppManifest,
    vars: &BTreeMap<ConfigVar, Value>,
) -> Result<Vec<AttachmentRow>, ControlError> {
    let stage = change.key();
    let mut rows = change.control.store.attachments(stage.id)?;
    rows.retain(|row| !request.detach.contains(&row.service));
    for (var, service) in &request.attach {
        rows.retain(|row| row.var != *var);
        rows.push(AttachmentRow { var: var.clone(), service: *service });
    }
    for (name, declaration) in &manifest.services {
        let declared = ServiceRequest::declared(name.clone(), declaration);
        let var =
            declaration.attach.clone().unwrap_or_else(|| dozen_services::default_var(&declared, |_| false));
        if vars.contains_key(&var) || rows.iter().any(|row| row.var == var) {
            continue;
        }
        let existing = find_service(change, name)?;
        // A service that its user detached stays detached, unless this is a new tree.
        if existing.is_some() && change.deploy.kind != DeployKind::Deploy {
            continue;
        }
        let service = match existing {
            Some(row) => row.id,
            None => declare(change, &declared)?,
        };
        rows.push(AttachmentRow { var, service });
    }
    Ok(rows)
}

fn find_service(change: &Change, name: &ServiceName) -> Result<Option<ServiceRow>, ControlError> {
    Ok(change.control.store.services(change.key().id)?.into_iter().find(|row| row.name == *name))
}

/// Makes a service that the app declares.
fn declare(change: &Change, request: &ServiceRequest) -> Result<i64, ControlError> {
    let control = &change.control;
    driver(request.kind)?.plan(request)?;
    let row = ServiceRow {
        id: 0,
        name: request.name.clone(),
        kind: request.kind.as_str().to_owned(),
        path: request.path.as_ref().map(ToString::to_string),
        sealed_url: None,
        created_at: 0,
    };
    let id = control.store.create_service(change.key().id, &row)?;
    change.work.progress.line(format!("made the {} service `{}`", row.kind, row.name));
    Ok(id)
}

/// Makes what the attached services need and puts their values into `vars`.
fn bind(
    change: &Change,
    attachments: &[AttachmentRow],
    image: &Image,
    vars: &mut BTreeMap<ConfigVar, Value>,
) -> Result<Vec<Bound>, ControlError> {
    let control = &change.control;
    let services = control.store.services(change.key().id)?;
    let manifest = image.manifest.for_stage(&change.key().stage);
    let takes_transaction_mode = django::takes_transaction_mode(change, image);
    let mut bound = Vec::new();
    for row in attachments {
        let Some(service) = services.iter().find(|one| one.id == row.service) else { continue };
        let mut request = control.service_request(change.key(), service, Some(row.var.clone()))?;
        request.takes_transaction_mode = takes_transaction_mode;
        if let Some(declaration) = manifest.services.get(&service.name) {
            request.url_options.clone_from(&declaration.url_options);
        }
        let plan = driver(request.kind)?.plan(&request)?;
        control.make_service(change.key(), &plan)?;
        for warning in &plan.warnings {
            change.work.progress.warn(warning.clone());
        }
        for (name, bytes) in plan.vars {
            vars.insert(name, Value { origin: format!("service {}", service.name), bytes });
        }
        if service.kind == ServiceKind::Sqlite.as_str() && is_news(change, service) {
            django::sqlite_advice(change, image)
                .into_iter()
                .for_each(|advice| change.work.progress.hint(advice));
        }
        bound.push(Bound {
            var: row.var.clone(),
            service: service.id,
            name: service.name.clone(),
            kind: service.kind.clone(),
            path: service.path.clone(),
        });
    }
    Ok(bound)
}

/// Whether a change brings a service and an image together that were not together before, as far
/// as advice about the two goes: not when only config changes.
fn is_news(change: &Change, service: &ServiceRow) -> bool {
    match change.deploy.kind {
        DeployKind::Deploy => true,
        DeployKind::Attach => change
            .request()
            .is_ok_and(|request| request.attach.iter().any(|(_, attached)| *attached == service.id)),
        _ => false,
    }
}

/// A release that did not go live keeps its number; the gap can be explained.
pub(super) fn fail_release(change: &Change) -> Result<(), ControlError> {
    match change.deploy.release {
        Some(number) => change.control.store.fail_release(change.key().id, number),
        None => Ok(()),
    }
}
