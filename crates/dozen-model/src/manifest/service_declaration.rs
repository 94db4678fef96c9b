//! A backing service that the app wants, as it declares it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{MountPath, ServiceKind, is_unset};
use crate::names::{ConfigVar, ServiceName};

/// One backing service that the app wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceDeclaration {
    /// Its kind.
    pub kind: ServiceKind,
    /// The config var its URL (or a volume's path) goes into; the kind's usual one if absent.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub attach: Option<ConfigVar>,
    /// Where a volume is mounted; only a `volume` has one.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub path: Option<MountPath>,
    /// Parameters of the URL's query: they are added, or replace the driver's own of that name; an
    /// empty value leaves the driver's own out.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub url_options: BTreeMap<String, String>,
}

impl ServiceDeclaration {
    /// Where the service called `name` is mounted inside the walls: the declared path, else
    /// `/data/NAME`; nothing for a kind that is reached by network.
    pub fn mount_path(&self, name: &ServiceName) -> Option<MountPath> {
        match self.kind {
            ServiceKind::Sqlite | ServiceKind::Volume => {
                Some(self.path.clone().unwrap_or_else(|| MountPath::of_service(name)))
            }
            _ => None,
        }
    }
}
