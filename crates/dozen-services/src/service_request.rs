//! What a user or a manifest asks of a driver.

use std::collections::BTreeMap;

use dozen_model::{
    manifest::{MountPath, ServiceDeclaration, ServiceKind},
    names::{ConfigVar, ServiceName},
};

use crate::{ServiceError, ServiceUrl, default_var};

/// One backing service, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRequest {
    /// Its name within the stage.
    pub name: ServiceName,
    /// Its kind.
    pub kind: ServiceKind,
    /// The config var to attach it to; the usual one of the kind if absent.
    pub var: Option<ConfigVar>,
    /// Where to mount it, for a volume.
    pub path: Option<MountPath>,
    /// Parameters of its URL's query; see [`ServiceDeclaration::url_options`].
    pub url_options: BTreeMap<String, String>,
    /// Where it is, for an external one.
    pub url: Option<ServiceUrl>,
    /// Whether the app hands `transaction_mode` of a URL to its database, as Django from 5.1 on
    /// does. Others refuse to connect with an option that they do not know.
    pub takes_transaction_mode: bool,
}

impl ServiceRequest {
    /// A service of `kind` with everything else as usual.
    pub fn new(name: ServiceName, kind: ServiceKind) -> Self {
        Self {
            name,
            kind,
            var: None,
            path: None,
            url_options: BTreeMap::new(),
            url: None,
            takes_transaction_mode: true,
        }
    }

    /// The service that a manifest declares; the URL of an external one is not written there.
    pub fn declared(name: ServiceName, declaration: &ServiceDeclaration) -> Self {
        Self {
            var: declaration.attach.clone(),
            path: declaration.path.clone(),
            url_options: declaration.url_options.clone(),
            ..Self::new(name, declaration.kind)
        }
    }

    /// The config var that the service is attached to, when no other service is in the way.
    pub(crate) fn var(&self) -> ConfigVar {
        self.var.clone().unwrap_or_else(|| default_var(self, |_| false))
    }

    /// Refuses what the request's kind does not take.
    pub(crate) fn only(&self, taken: &[&str]) -> Result<(), ServiceError> {
        let asked = [
            ("path", self.path.is_some()),
            ("URL", self.url.is_some()),
            ("URL options", !self.url_options.is_empty()),
        ];
        match asked.into_iter().find(|(what, asked)| *asked && !taken.contains(what)) {
            None => Ok(()),
            Some((what, _)) => {
                Err(ServiceError::NotTaken { service: self.name.clone(), kind: self.kind, what })
            }
        }
    }
}
