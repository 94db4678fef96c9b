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
    attachments::refuse_overlap,
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
    let mut services = change.control.store.services(stage.id)?;
    refuse_overlap(&attached(&services, &rows))?;
    for name in manifest.services.keys() {
        let found = services.iter().find(|row| row.name == *name).cloned();
        let declared = Declared { change, manifest, vars, name, found };
        let Some(var) = declared.var(&services, &rows)? else { continue };
        let service = declared.made(&services, &rows)?;
        rows.push(AttachmentRow { var, service: service.id });
        services.retain(|row| row.id != service.id);
        services.push(service);
    }
    Ok(rows)
}

fn attached(services: &[ServiceRow], rows: &[AttachmentRow]) -> Vec<ServiceRow> {
    let is_attached = |service: &&ServiceRow| rows.iter().any(|row| row.service == service.id);
    services.iter().filter(is_attached).cloned().collect()
}

/// A service that the app declares, and its row where it was made before.
struct Declared<'a> {
    change: &'a Change,
    manifest: &'a AppManifest,
    vars: &'a BTreeMap<ConfigVar, Value>,
    name: &'a ServiceName,
    found: Option<ServiceRow>,
}

impl Declared<'_> {
    fn request(&self) -> ServiceRequest {
        ServiceRequest::declared(self.name.clone(), &self.manifest.services[self.name])
    }

    /// The var that it is to be attached to, if there is something to attach. Where it is not done
    /// although the app asks for it, that is said.
    fn var(
        &self,
        services: &[ServiceRow],
        rows: &[AttachmentRow],
    ) -> Result<Option<ConfigVar>, ControlError> {
        let is_new_tree = self.change.deploy.kind == DeployKind::Deploy;
        if is_new_tree {
            self.warn_of_difference();
        }
        // A service that its user detached stays detached, unless this is a new tree.
        if self.found.is_some() && !is_new_tree {
            return Ok(None);
        }
        let id = self.found.as_ref().map(|row| row.id);
        let request = self.request();
        let var = match &request.var {
            Some(var) => var.clone(),
            None if rows.iter().any(|row| Some(row.service) == id) => return Ok(None),
            None => dozen_services::default_var(&request, |var| self.is_of_another(var, services, rows)),
        };
        let progress = &self.change.work.progress;
        if let Some(row) = rows.iter().find(|row| row.var == var) {
            if Some(row.service) != id {
                let other = self.change.control.service_name(self.change.key(), row.service)?;
                let text = format!("`{}` is not attached: `{var}` is attached to `{other}`", self.name);
                // Where its user put another one there, that is no news.
                if self.manifest.services.contains_key(&other) {
                    progress.warn(text);
                } else {
                    progress.line(text);
                }
            }
            return Ok(None);
        }
        if self.vars.contains_key(&var) {
            progress.line(format!("`{}` is not attached: `{var}` is set in the app's config", self.name));
            return Ok(None);
        }
        Ok(Some(var))
    }

    /// Whether another declared service has a var, or asks for it by name. One that its user made
    /// and attached there takes the place of the declared one instead.
    fn is_of_another(&self, var: &ConfigVar, services: &[ServiceRow], rows: &[AttachmentRow]) -> bool {
        let others = || self.manifest.services.iter().filter(|(name, _)| *name != self.name);
        let asks = others().any(|(_, declaration)| declaration.attach.as_ref() == Some(var));
        let holder = rows.iter().find(|row| row.var == *var).map(|row| row.service);
        let holder = services.iter().find(|row| Some(row.id) == holder);
        asks || holder.is_some_and(|holder| others().any(|(name, _)| *name == holder.name))
    }

    /// A service's kind and place are those it was made with.
    fn warn_of_difference(&self) {
        let (Some(found), request) = (&self.found, self.request()) else { return };
        let path = request.path.as_ref().map(ToString::to_string);
        if found.kind == request.kind.as_str() && found.path == path {
            return;
        }
        let at = |path: Option<&str>| path.map(|path| format!(" at `{path}`")).unwrap_or_default();
        self.change.work.progress.warn(format!(
            "`{}` is declared as {}{}, but was made as {}{} and stays that; declare another name for a new one",
            self.name,
            request.kind.as_str(),
            at(path.as_deref()),
            found.kind,
            at(found.path.as_deref()),
        ));
    }

    /// Its row, made now where it is missing; refused when it would overlap what is attached.
    fn made(&self, services: &[ServiceRow], rows: &[AttachmentRow]) -> Result<ServiceRow, ControlError> {
        let request = self.request();
        let row = self.found.clone().unwrap_or_else(|| ServiceRow {
            id: 0,
            name: self.name.clone(),
            kind: request.kind.as_str().to_owned(),
            path: request.path.as_ref().map(ToString::to_string),
            sealed_url: None,
            created_at: 0,
        });
        let mut together = attached(services, rows);
        together.push(row.clone());
        refuse_overlap(&together)?;
        if self.found.is_some() {
            return Ok(row);
        }
        driver(request.kind)?.plan(&request)?;
        let id = self.change.control.store.create_service(self.change.key().id, &row)?;
        self.change.work.progress.line(format!("made the {} service `{}`", row.kind, row.name));
        Ok(ServiceRow { id, ..row })
    }
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
mod tests;
