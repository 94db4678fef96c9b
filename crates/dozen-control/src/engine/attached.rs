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
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        api::wire::DeploySource,
        control::Control,
        stand::Stand,
        store::{NewDeploy, StageRow},
    };

    /// A change of a stage that is about to be assembled.
    fn change(control: &Arc<Control>, stage: &StageRow, kind: DeployKind) -> Change {
        let source = DeploySource::default();
        let new = NewDeploy { kind, source: &source, sealed_request: None, who: "me" };
        let deploy = control.store.queue_deploy(stage.key.id, &new, |_| Ok(())).unwrap().deploy;
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
        let stand = Stand::new();
        let (control, shop) = (&stand.control, stand.stage());
        let service = sqlite(control, &shop, "db");
        let var: ConfigVar = "DATABASE_URL".parse().unwrap();
        let manifest = AppManifest::default();

        let attach = change(control, &shop, DeployKind::Attach);
        let asked = ChangeRequest { attach: vec![(var.clone(), service)], ..ChangeRequest::default() };
        let refused = attachments_of(&attach, &asked, &manifest, &set("DATABASE_URL"));
        assert!(matches!(refused, Err(ControlError::VarSet { .. })));
        assert_eq!(attachments_of(&attach, &asked, &manifest, &set("OTHER")).unwrap().len(), 1);

        control.store.replace_attachments(shop.key.id, &[AttachmentRow { var, service }]).unwrap();
        let config = change(control, &shop, DeployKind::Config);
        let asked = ChangeRequest {
            set: BTreeMap::from([("DATABASE_URL".into(), "eA==".into())]),
            ..ChangeRequest::default()
        };
        let refused = attachments_of(&config, &asked, &manifest, &set("DATABASE_URL"));
        assert!(matches!(refused, Err(ControlError::VarOfService { .. })));
    }

    /// What a deploy of a tree with this dozen.toml attaches, as `VAR service` words, and what is
    /// said of it.
    fn deployed(control: &Arc<Control>, shop: &StageRow, toml: &str) -> (Vec<String>, Vec<String>) {
        use crate::api::wire::Progress;
        let change = change(control, shop, DeployKind::Deploy);
        let (manifest, _) = AppManifest::read(Some(toml.as_bytes()), None).unwrap();
        let rows = attachments_of(&change, &ChangeRequest::default(), &manifest, &BTreeMap::new()).unwrap();
        control.store.replace_attachments(shop.key.id, &rows).unwrap();
        let mut words: Vec<String> = rows
            .iter()
            .map(|row| format!("{} {}", row.var, control.service_name(&shop.key, row.service).unwrap()))
            .collect();
        words.sort();
        let mut events = change.work.progress.follow();
        let warnings = std::iter::from_fn(|| events.try_recv().ok()).filter_map(|event| match event {
            Progress::Warning { text } => Some(text),
            _ => None,
        });
        (words, warnings.collect())
    }

    #[test]
    fn each_declared_service_gets_a_var_of_its_own_and_keeps_it() {
        let stand = Stand::new();
        let (control, shop) = (&stand.control, stand.stage());
        let one = "[services.db]\nkind = \"sqlite\"\n";
        let two = format!("{one}[services.audit]\nkind = \"sqlite\"\n");
        assert_eq!(deployed(control, &shop, one), (vec!["DATABASE_URL db".into()], vec![]));
        for _ in 0..2 {
            let (words, warnings) = deployed(control, &shop, &two);
            assert_eq!(words, ["AUDIT_URL audit", "DATABASE_URL db"]);
            assert!(warnings.is_empty(), "{warnings:?}");
        }
    }

    #[test]
    fn a_declared_service_that_is_not_as_declared_is_said() {
        let stand = Stand::new();
        let (control, shop) = (&stand.control, stand.stage());
        let volume = |path: &str| format!("[services.media]\nkind = \"volume\"\npath = \"{path}\"\n");
        deployed(control, &shop, &volume("/data/old"));
        let (_, warnings) = deployed(control, &shop, &volume("/data/new"));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("`/data/new`") && warnings[0].contains("`/data/old`"), "{warnings:?}");

        let other = sqlite(control, &shop, "other");
        let row = AttachmentRow { var: "DATABASE_URL".parse().unwrap(), service: other };
        control.store.replace_attachments(shop.key.id, &[row]).unwrap();
        let (words, warnings) = deployed(control, &shop, "[services.db]\nkind = \"sqlite\"\n");
        assert_eq!(words, ["DATABASE_URL other"], "its user put another one there");
        assert!(warnings.is_empty(), "{warnings:?}");

        let both = "[services.other]\nkind = \"sqlite\"\n[services.db]\nkind = \"sqlite\"\n\
                    attach = \"DATABASE_URL\"\n";
        let (_, warnings) = deployed(control, &shop, both);
        assert!(warnings[0].contains("`db` is not attached"), "{warnings:?}");
    }

    #[test]
    fn a_declared_service_over_the_mount_of_another_is_refused_and_not_made() {
        let stand = Stand::new();
        let (control, shop) = (&stand.control, stand.stage());
        let service = sqlite(control, &shop, "other");
        let row = AttachmentRow { var: "OTHER_URL".parse().unwrap(), service };
        control.store.replace_attachments(shop.key.id, &[row]).unwrap();
        let toml = "[services.media]\nkind = \"volume\"\npath = \"/data/other\"\n";
        let (manifest, _) = AppManifest::read(Some(toml.as_bytes()), None).unwrap();
        let change = change(control, &shop, DeployKind::Deploy);
        let refused = attachments_of(&change, &ChangeRequest::default(), &manifest, &BTreeMap::new());
        assert!(matches!(refused, Err(ControlError::MountTaken { .. })));
        assert_eq!(control.store.services(shop.key.id).unwrap().len(), 1);
    }
}
