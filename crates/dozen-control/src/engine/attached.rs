//! Which services a release is attached to: those of its stage, changed as asked, and those that
//! the app declares and nobody made yet.
//!
//! A var has one source. Where a service and the config both want it, the change is refused: the
//! value of the other would be lost, and a detach would not bring it back.

use std::collections::BTreeMap;

use dozen_model::{
    manifest::AppManifest,
    names::{ConfigVar, ServiceName},
};
use dozen_services::{ServiceRequest, driver};

use super::{Change, ChangeRequest};
use crate::{
    error::ControlError,
    release_config::Value,
    store::{AttachmentRow, DeployKind, ServiceRow},
};

/// The stage's attachments, changed as asked, and those that the app declares and nobody made yet.
pub(super) fn attachments_of(
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
    refuse_set(change, request, &rows, vars)?;
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

/// Refuses attachments to vars that are set. The requests were checked when they came, but one
/// that waited in the queue before this may have taken the var meanwhile.
fn refuse_set(
    change: &Change,
    request: &ChangeRequest,
    rows: &[AttachmentRow],
    vars: &BTreeMap<ConfigVar, Value>,
) -> Result<(), ControlError> {
    let Some(row) = rows.iter().find(|row| vars.contains_key(&row.var)) else { return Ok(()) };
    let (var, service) = (row.var.clone(), change.control.service_name(change.key(), row.service)?);
    Err(match request.set.contains_key(var.as_str()) {
        true => ControlError::VarOfService { var, service },
        false => ControlError::VarSet { var, service },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        api::wire::DeploySource,
        control::Control,
        store::{NewDeploy, StageRow},
        temporary_control::{stage, temporary_control},
    };

    /// A change of a stage that is about to be assembled.
    fn change(control: &Arc<Control>, stage: &StageRow, kind: DeployKind) -> Change {
        let source = DeploySource::default();
        let new = NewDeploy { kind, source: &source, sealed_request: None, who: "me" };
        let deploy = control.store.queue_deploy(stage.key.id, &new, |_| Ok(())).unwrap();
        let work = control.work(deploy.id, deploy.number, &stage.key);
        Change { control: Arc::clone(control), stage: stage.clone(), deploy, work }
    }

    fn sqlite(control: &Control, stage: &StageRow, name: &str) -> i64 {
        let row = ServiceRow {
            id: 0,
            name: name.parse().unwrap(),
            kind: "sqlite".into(),
            path: None,
            sealed_url: None,
            created_at: 0,
        };
        control.store.create_service(stage.key.id, &row).unwrap()
    }

    fn set(name: &str) -> BTreeMap<ConfigVar, Value> {
        BTreeMap::from([(name.parse().unwrap(), Value { origin: "set".into(), bytes: b"x".to_vec() })])
    }

    #[test]
    fn a_change_that_waited_does_not_take_a_var_from_the_one_before_it() {
        let (_folder, control) = temporary_control();
        let shop = stage(&control, "shop");
        let service = sqlite(&control, &shop, "db");
        let var: ConfigVar = "DATABASE_URL".parse().unwrap();
        let manifest = AppManifest::default();

        let attach = change(&control, &shop, DeployKind::Attach);
        let asked = ChangeRequest { attach: vec![(var.clone(), service)], ..ChangeRequest::default() };
        let refused = attachments_of(&attach, &asked, &manifest, &set("DATABASE_URL"));
        assert!(matches!(refused, Err(ControlError::VarSet { .. })));
        assert_eq!(attachments_of(&attach, &asked, &manifest, &set("OTHER")).unwrap().len(), 1);

        control.store.replace_attachments(shop.key.id, &[AttachmentRow { var, service }]).unwrap();
        let config = change(&control, &shop, DeployKind::Config);
        let asked = ChangeRequest {
            set: BTreeMap::from([("DATABASE_URL".into(), "eA==".into())]),
            ..ChangeRequest::default()
        };
        let refused = attachments_of(&config, &asked, &manifest, &set("DATABASE_URL"));
        assert!(matches!(refused, Err(ControlError::VarOfService { .. })));
    }
}
