//! The smaller sections of a manifest, each a struct of what may be set there.
//!
//! A field that is `None` was not written; the method of the same name says what then holds.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ByteSize, CpuLimit, is_unset};
use crate::{
    image::Language,
    names::{AppName, ConfigVar},
};

/// `[app]`: what the app is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppSettings {
    /// The name used where the user gives none.
    #[serde(skip_serializing_if = "is_unset")]
    pub name: Option<AppName>,
    /// The folder of a static site, relative to the source tree, `.` for the tree itself.
    #[serde(skip_serializing_if = "is_unset")]
    pub root: Option<String>,
    /// The language, where the tree is not clear about it.
    #[serde(skip_serializing_if = "is_unset")]
    pub language: Option<Language>,
    /// The lock file that decides where several compete, relative to the source tree.
    #[serde(skip_serializing_if = "is_unset")]
    pub lock: Option<String>,
    /// Python's version, such as `3.12` or `3.12.4`.
    #[serde(skip_serializing_if = "is_unset")]
    pub python: Option<String>,
    /// Node's version, such as `20` or `20.11.1`.
    #[serde(skip_serializing_if = "is_unset")]
    pub node: Option<String>,
    /// The tool that installs dependencies, one of [`AppSettings::PACKAGE_MANAGERS`].
    #[serde(skip_serializing_if = "is_unset")]
    pub package_manager: Option<String>,
}

impl AppSettings {
    /// The tools that [`AppSettings::package_manager`] may name.
    pub const PACKAGE_MANAGERS: [&str; 9] =
        ["uv", "pip", "poetry", "pipenv", "pdm", "npm", "pnpm", "yarn", "bun"];
}

/// `[health]`: when an instance is ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthSettings {
    /// The path that must answer 2xx or 3xx; without one, `/` must answer below 500.
    #[serde(skip_serializing_if = "is_unset")]
    pub path: Option<String>,
    /// How long an instance may take until it is ready.
    #[serde(skip_serializing_if = "is_unset")]
    pub timeout: Option<Duration>,
}

impl HealthSettings {
    /// The time allowed where none is declared.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

    /// How long an instance may take until it is ready.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Self::DEFAULT_TIMEOUT)
    }
}

/// `[release]`: the release phase.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleaseSettings {
    /// The command, in the place of the Procfile's `release:` line.
    #[serde(skip_serializing_if = "is_unset")]
    pub command: Option<String>,
    /// How long it may run.
    #[serde(skip_serializing_if = "is_unset")]
    pub timeout: Option<Duration>,
    /// Whether a rollback runs it too. Off, since it would run old migrations on a newer schema.
    #[serde(skip_serializing_if = "is_unset")]
    pub on_rollback: bool,
    /// Whether the router holds unsafe requests from the phase's start to the route swap; if
    /// absent, it does when an attached service has a single writer.
    #[serde(skip_serializing_if = "is_unset")]
    pub hold_unsafe: Option<bool>,
}

impl ReleaseSettings {
    /// The time allowed where none is declared.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

    /// How long the phase may run.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Self::DEFAULT_TIMEOUT)
    }
}

/// `[limits]`: what an instance may use where its process type says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitSettings {
    /// Memory of each instance; unlimited if absent.
    #[serde(skip_serializing_if = "is_unset")]
    pub memory: Option<ByteSize>,
    /// CPU time of each instance; unlimited if absent.
    #[serde(skip_serializing_if = "is_unset")]
    pub cpu: Option<CpuLimit>,
    /// Size of each instance's `/tmp`.
    #[serde(skip_serializing_if = "is_unset")]
    pub tmp: Option<ByteSize>,
}

impl LimitSettings {
    /// The size of `/tmp` where none is declared.
    pub const DEFAULT_TMP: ByteSize = ByteSize(64 << 20);

    /// The size of each instance's `/tmp`.
    pub fn tmp(&self) -> ByteSize {
        self.tmp.unwrap_or(Self::DEFAULT_TMP)
    }
}

/// `[drain]`: how an instance leaves the rotation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DrainSettings {
    /// How long requests in flight may go on before the stop signal is sent.
    #[serde(skip_serializing_if = "is_unset")]
    pub timeout: Option<Duration>,
}

impl DrainSettings {
    /// The time allowed where none is declared.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

    /// How long requests in flight may go on before the stop signal is sent.
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Self::DEFAULT_TIMEOUT)
    }
}

/// `[build]`: how the image is built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildSettings {
    /// One more command of the asset step, run by `sh` in the source tree, without network.
    #[serde(skip_serializing_if = "is_unset")]
    pub command: Option<String>,
    /// Whether the language's own asset step runs; by default, when the app has one.
    #[serde(skip_serializing_if = "is_unset")]
    pub assets: Option<bool>,
    /// How long the whole build may take.
    #[serde(skip_serializing_if = "is_unset")]
    pub timeout: Option<Duration>,
    /// Environment of the asset step, besides placeholders for the declared config vars.
    #[serde(skip_serializing_if = "is_unset")]
    pub env: BTreeMap<ConfigVar, String>,
    /// Packages of the host that only the build needs.
    #[serde(skip_serializing_if = "is_unset")]
    pub system_packages: Vec<String>,
}

/// `[system]`: what the app needs of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SystemSettings {
    /// Packages that the app needs when it runs.
    #[serde(skip_serializing_if = "is_unset")]
    pub packages: Vec<String>,
}
