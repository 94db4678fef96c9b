//! What the router does with a stage's requests before, or in place of, passing them on.
//!
//! Two sources meet here: what the repository declares (`[router]` of dozen.toml, a part of the
//! image) and what an operator has said (maintenance, a pause), which the store keeps. The router
//! gets both with the route table and needs control for none of it, not even for the end of a pause.
//!
//! Start reading at [`RoutePolicy`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{address_range::AddressRange, manifest::RouterSettings};

/// What holds for the requests of one stage.
///
/// `RoutePolicy::default()` lets everything pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoutePolicy {
    /// What the release that serves declares.
    #[serde(skip_serializing_if = "is_unset")]
    pub declared: RouterSettings,
    /// Set while the stage is in maintenance.
    #[serde(skip_serializing_if = "is_unset")]
    pub maintenance: Option<Maintenance>,
    /// Set while requests are to wait.
    #[serde(skip_serializing_if = "is_unset")]
    pub pause: Option<Pause>,
    /// Where the error pages of the release that serves are.
    #[serde(skip_serializing_if = "is_unset")]
    pub error_pages: Option<ErrorPageFolder>,
    /// The port at which clients reach HTTPS, where it is not that of the router's own listener.
    #[serde(skip_serializing_if = "is_unset")]
    pub https_port: Option<u16>,
}

/// A folder of error pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorPageFolder {
    /// Absolute path of the layer that holds it, which never changes.
    pub layer: PathBuf,
    /// The folder below the layer.
    pub folder: PathBuf,
}

/// A stage answers 503 to everybody but those who look after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Maintenance {
    /// Who is let through.
    #[serde(skip_serializing_if = "is_unset")]
    pub allow: Vec<AddressRange>,
}

/// All requests wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The end, in Unix milliseconds: the router lets requests go on by itself.
    pub until_ms: u64,
}

/// Whether a value is what nobody said.
fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
