//! What the API asks for about backing services: made, attached, detached.
//!
//! As in [`crate::requests`], a request that is refused has changed nothing. A service's data is
//! never deleted here: detaching takes only its URL from the app.

use std::sync::Arc;

use dozen_model::{
    names::{ConfigVar, ServiceName},
    suggestion::nearest,
};

use crate::{
    api::wire::{AttachService, CreateService},
    attachments::{kind_of, mount_path, refuse_overlap},
    barrier::Place,
    control::Control,
    engine::ChangeRequest,
    error::ControlError,
    progress::ProgressLog,
    requests::kept_for_the_first_release,
    seal::Secret,
    store::{AttachmentRow, DeployKind, ForFirst, ServiceRow, StageKey, StageRow},
};

impl Control {
    /// Makes a service; it is attached apart. What may surprise about it comes back.
    pub fn create_service(
        &self,
        stage: &StageRow,
        request: &CreateService,
    ) -> Result<Vec<String>, ControlError> {
        let kind = kind_of(&request.kind)?;
        let url = request
            .url
            .as_ref()
            .map(|url| self.key.seal(&stage.key.owner(Secret::ServiceUrl(&request.name)), url.as_bytes()));
        let path = mount_path(request.path.as_deref())?.map(|path| path.to_string());
        let row = ServiceRow {
            id: 0,
            name: request.name.clone(),
            kind: kind.as_str().to_owned(),
            path,
            sealed_url: url,
            created_at: 0,
        };
        let plan = dozen_services::driver(kind)?.plan(&self.service_request(&stage.key, &row, None)?)?;
        let id = self.store.create_service(stage.key.id, &row)?;
        self.reach(Place::ServiceRecorded);
        if let Err(error) = self.make_service(&stage.key, &plan) {
            // Refused: it must not be there for who tries again.
            self.store.forget_service(id)?;
            return Err(error);
        }
        Ok(plan.warnings)
    }

    /// Attaches a service to a config var: a new release.
    pub fn attach_service(
        self: &Arc<Self>,
        stage: &StageRow,
        name: &ServiceName,
        request: &AttachService,
        who: &str,
    ) -> Result<Arc<ProgressLog>, ControlError> {
        let service = self.service_row(&stage.key, name)?;
        let rows = self.store.attachments(stage.key.id)?;
        let var = match &request.var {
            Some(var) => var.clone(),
            None => self.usual_var(&stage.key, &service, &rows)?,
        };
        let present = rows.iter().find(|row| row.var == var).map(|row| row.service);
        let present = present.map(|id| self.service_name(&stage.key, id)).transpose()?;
        if let Some(present) = present.as_ref().filter(|present| !request.replace || *present == name) {
            let (service, wanted) = (present.clone(), name.clone());
            return Err(ControlError::VarAttached { var, service, wanted });
        }
        let mut together = self.store.services(stage.key.id)?;
        let stays = |id: i64| rows.iter().any(|row| row.service == id && row.var != var);
        together.retain(|one| one.id != service.id && stays(one.id));
        together.push(service.clone());
        refuse_overlap(&together)?;
        if self.store.config(stage.key.id)?.iter().any(|row| row.name == var) {
            return Err(ControlError::VarSet { var, service: name.clone() });
        }
        let attach = [AttachmentRow { var: var.clone(), service: service.id }];
        let kept = ForFirst { attach: &attach, ..ForFirst::default() };
        if self.store.keep_for_first(stage.key.id, &kept, None)? {
            return Ok(kept_for_the_first_release());
        }
        let request = ChangeRequest {
            change: match present {
                Some(present) => format!("attach {name} as {var} in the place of {present}"),
                None => format!("attach {name} as {var}"),
            },
            attach: vec![(var, service.id)],
            ..ChangeRequest::default()
        };
        self.queue_change(stage, DeployKind::Attach, &request, who)
    }

    /// Detaches a service: a new release. Its data stays.
    pub fn detach_service(
        self: &Arc<Self>,
        stage: &StageRow,
        name: &ServiceName,
        who: &str,
    ) -> Result<Arc<ProgressLog>, ControlError> {
        let service = self.service_row(&stage.key, name)?;
        let rows = self.store.attachments(stage.key.id)?;
        if rows.iter().all(|row| row.service != service.id) {
            return Err(ControlError::NotAttached { name: name.clone() });
        }
        let kept = ForFirst { detach: &[service.id], ..ForFirst::default() };
        if self.store.keep_for_first(stage.key.id, &kept, None)? {
            return Ok(kept_for_the_first_release());
        }
        let request = ChangeRequest {
            change: format!("detach {name}"),
            detach: vec![service.id],
            ..ChangeRequest::default()
        };
        self.queue_change(stage, DeployKind::Detach, &request, who)
    }

    /// The var of a service when nobody says; of an external one its URL decides.
    fn usual_var(
        &self,
        stage: &StageKey,
        service: &ServiceRow,
        taken: &[AttachmentRow],
    ) -> Result<ConfigVar, ControlError> {
        let request = self.service_request(stage, service, None)?;
        Ok(dozen_services::default_var(&request, |var| taken.iter().any(|row| row.var == *var)))
    }

    /// A service by its name.
    pub(crate) fn service_row(
        &self,
        stage: &StageKey,
        name: &ServiceName,
    ) -> Result<ServiceRow, ControlError> {
        let services = self.store.services(stage.id)?;
        let near = nearest(name.as_str(), services.iter().map(|row| row.name.as_str())).map(str::to_owned);
        let found = services.into_iter().find(|row| row.name == *name);
        found.ok_or_else(|| ControlError::NoSuchService { name: name.to_string(), nearest: near })
    }

    pub(crate) fn service_name(&self, stage: &StageKey, id: i64) -> Result<ServiceName, ControlError> {
        let services = self.store.services(stage.id)?;
        let found = services.into_iter().find(|row| row.id == id).map(|row| row.name);
        found.ok_or_else(|| ControlError::NoSuchService { name: id.to_string(), nearest: None })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{api::wire::ConfigChange, stand::Stand};

    fn service(name: &str, kind: &str) -> CreateService {
        CreateService { name: name.parse().unwrap(), kind: kind.into(), url: None, path: None }
    }

    #[test]
    fn a_service_does_not_take_the_place_of_a_var_that_is_set() {
        let stand = Stand::new();
        let (control, shop) = (&stand.control, stand.stage());
        control.create_service(&shop, &service("db", "sqlite")).unwrap();
        let set = BTreeMap::from([("DATABASE_URL".to_owned(), "aHVudGVyMg==".to_owned())]);
        let change = ConfigChange { set, unset: Vec::new() };
        control.change_config(&shop, &change, "me").unwrap();

        let name = "db".parse().unwrap();
        let refused = control.attach_service(&shop, &name, &AttachService::default(), "me").unwrap_err();
        assert!(matches!(refused, ControlError::VarSet { .. }), "{refused}");
        let named = AttachService { var: Some("DB_URL".parse().unwrap()), ..AttachService::default() };
        control.attach_service(&shop, &name, &named, "me").unwrap();
        assert_eq!(control.store.config(shop.key.id).unwrap().len(), 1, "it is set still");
    }

    #[test]
    fn an_external_service_is_attached_by_what_its_url_speaks() {
        let stand = Stand::new();
        let (control, shop) = (&stand.control, stand.stage());
        let url = Some("postgres://ann:hunter2@db.example.org/shop".to_owned());
        control.create_service(&shop, &CreateService { url, ..service("main", "external") }).unwrap();
        let name = "main".parse().unwrap();
        control.attach_service(&shop, &name, &AttachService::default(), "me").unwrap();
        assert_eq!(control.store.attachments(shop.key.id).unwrap()[0].var.as_str(), "DATABASE_URL");
    }

    #[test]
    fn two_services_are_not_attached_at_one_path() {
        let stand = Stand::new();
        let (control, shop) = (&stand.control, stand.stage());
        let attach = |name: &str, path: &str| {
            let path = Some(path.to_owned());
            control.create_service(&shop, &CreateService { path, ..service(name, "volume") }).unwrap();
            control.attach_service(&shop, &name.parse().unwrap(), &AttachService::default(), "me")
        };
        attach("media", "/data/files/media").unwrap();
        for (name, path) in
            [("same", "/data/files/media"), ("inside", "/data/files/media/a"), ("around", "/data/files")]
        {
            let refused = attach(name, path).unwrap_err();
            assert!(matches!(refused, ControlError::MountTaken { .. }), "{refused}");
        }
        attach("beside", "/data/others").unwrap();
        let again = AttachService { var: Some("ALSO".parse().unwrap()), ..AttachService::default() };
        control.attach_service(&shop, &"media".parse().unwrap(), &again, "me").unwrap();
    }

    #[test]
    fn a_service_that_cannot_be_made_can_be_tried_again() {
        let stand = Stand::new();
        let (control, shop) = (&stand.control, stand.stage());
        let in_the_way = control.services_folder(shop.key.id);
        std::fs::write(&in_the_way, "").unwrap();
        assert!(control.create_service(&shop, &service("db", "sqlite")).is_err());
        std::fs::remove_file(in_the_way).unwrap();
        control.create_service(&shop, &service("db", "sqlite")).unwrap();
    }
}
