//! What an app declares about itself, in `dozen.toml` or in Heroku's `app.json`.
//!
//! Everything here is optional and comes from the repository, so it holds no secret: a value that
//! differs between stages or that must be hidden is a config var, and only its *declaration*
//! (required, default, generated) stands here. An [`AppManifest`] is part of an image and the
//! image's digest is taken of its JSON: maps are ordered, there are no floats, and a section that
//! nobody wrote is left out, so a new section does not rename old images.
//!
//! Reading is strict where the file is ours ([`read_toml`]: an unknown key is an error with its
//! line and a suggestion) and lenient where it is not ([`read_app_json`]: an unknown key is a
//! warning). Neither reads a file: bytes go in.
//!
//! Start reading at [`AppManifest`]; [`AppManifest::read`] takes both files at once.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    formation::Formation,
    image::Language,
    names::{AppName, ConfigVar, Domain, ProcessType, ServiceName, StageName},
    procfile::Procfile,
};

mod app_json;
mod dozen_toml;
mod factor;
mod manifest_error;
mod mount_path;
mod quantity;
mod service_kind;
mod stage;
mod stop_signal;
mod toml_section;
mod word;

pub use app_json::read_app_json;
pub use dozen_toml::read_toml;
pub use factor::{Factor, NotAFactor};
pub use manifest_error::{ManifestError, ManifestErrorKind};
pub use mount_path::{MountPath, NotAMountPath};
pub use quantity::{ByteSize, CpuLimit, NotAQuantity, parse_duration};
pub use service_kind::{NotAServiceKind, ServiceKind};
pub use stage::StageOverrides;
pub use stop_signal::{NotAStopSignal, StopSignal};

#[cfg(test)]
mod tests;

/// What an app declares about itself.
///
/// `AppManifest::default()` is the manifest of an app that declares nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppManifest {
    /// `[app]`: name, language, versions.
    #[serde(skip_serializing_if = "is_unset")]
    pub app: AppSettings,
    /// `[processes]`: process types that add to the Procfile's or replace them; never `release`.
    #[serde(skip_serializing_if = "is_unset")]
    pub processes: BTreeMap<ProcessType, String>,
    /// `[config]`: the config vars the app reads.
    #[serde(skip_serializing_if = "is_unset")]
    pub config: BTreeMap<ConfigVar, ConfigDeclaration>,
    /// `[services]`: the backing services it wants.
    #[serde(skip_serializing_if = "is_unset")]
    pub services: BTreeMap<ServiceName, ServiceDeclaration>,
    /// `[health]`: when an instance is ready.
    #[serde(skip_serializing_if = "is_unset")]
    pub health: HealthSettings,
    /// `[release]`: the release phase.
    #[serde(skip_serializing_if = "is_unset")]
    pub release: ReleaseSettings,
    /// `[formation]`: how many instances of each process type, and what each may use.
    #[serde(skip_serializing_if = "is_unset")]
    pub formation: BTreeMap<ProcessType, ProcessSettings>,
    /// `[limits]`: what an instance may use where its process type says nothing.
    #[serde(skip_serializing_if = "is_unset")]
    pub limits: LimitSettings,
    /// `[drain]`: how long a stopping instance may finish requests before SIGTERM.
    #[serde(skip_serializing_if = "is_unset")]
    pub drain: DrainSettings,
    /// `[build]`: how the image is built.
    #[serde(skip_serializing_if = "is_unset")]
    pub build: BuildSettings,
    /// `[system]`: packages of the host that the app needs when it runs.
    #[serde(skip_serializing_if = "is_unset")]
    pub system: SystemSettings,
    /// Domains of the stage this manifest was made for by [`AppManifest::for_stage`]; empty in a
    /// manifest as it was read, since a domain belongs to one stage.
    #[serde(skip_serializing_if = "is_unset")]
    pub domains: Vec<Domain>,
    /// `[stages.NAME]`: what differs in one stage.
    #[serde(skip_serializing_if = "is_unset")]
    pub stages: BTreeMap<StageName, StageOverrides>,
    /// `[factors]`: factors that do not apply to this app, each with the reason.
    #[serde(skip_serializing_if = "is_unset")]
    pub factors: BTreeMap<Factor, String>,
}

/// `[app]`: what the app is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppSettings {
    /// The name used where the user gives none.
    pub name: Option<AppName>,
    /// The folder of a static site, relative to the source tree, `.` for the tree itself.
    pub root: Option<String>,
    /// The language, where the tree is not clear about it.
    pub language: Option<Language>,
    /// The lock file that decides where several compete, relative to the source tree.
    pub lock: Option<String>,
    /// Python's version, such as `3.12` or `3.12.4`.
    pub python: Option<String>,
    /// Node's version, such as `20` or `20.11.1`.
    pub node: Option<String>,
    /// The tool that installs dependencies, one of [`AppSettings::PACKAGE_MANAGERS`].
    pub package_manager: Option<String>,
}

impl AppSettings {
    /// The tools that [`AppSettings::package_manager`] may name.
    pub const PACKAGE_MANAGERS: [&str; 9] =
        ["uv", "pip", "poetry", "pipenv", "pdm", "npm", "pnpm", "yarn", "bun"];
}

/// One config var that the app reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigDeclaration {
    /// What it is for, shown to the user who has to set it.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub description: Option<String>,
    /// Where its value comes from when the user sets none.
    #[serde(default)]
    pub fallback: ConfigFallback,
}

/// Where the value of a config var comes from when the user sets none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigFallback {
    /// It stays unset; the app has a default of its own.
    #[default]
    Unset,
    /// Nowhere: without a value no release starts.
    Required,
    /// This text, which the repository shows to everyone.
    Default(String),
    /// A random secret of this many characters, made once per stage.
    Secret {
        /// Characters, from [`ConfigFallback::SHORTEST_SECRET`] to [`ConfigFallback::LONGEST_SECRET`].
        length: u32,
    },
}

impl ConfigFallback {
    /// The shortest secret that may be asked for.
    pub const SHORTEST_SECRET: u32 = 16;
    /// The longest secret that may be asked for.
    pub const LONGEST_SECRET: u32 = 1024;
    /// The length where none is given: what Django makes for its own `SECRET_KEY`.
    pub const DEFAULT_SECRET: u32 = 50;
}

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
    /// Parameters added to the URL's query, or put in the place of the driver's own.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub url_options: BTreeMap<String, String>,
}

/// `[health]`: when an instance is ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthSettings {
    /// The path that must answer 2xx or 3xx; without one, `/` must answer below 500.
    pub path: Option<String>,
    /// How long an instance may take until it is ready.
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
    pub command: Option<String>,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// Whether a rollback runs it too. Off, since it would run old migrations on a newer schema.
    pub on_rollback: bool,
    /// Whether the router holds unsafe requests from the phase's start to the route swap; see
    /// [`AppManifest::holds_unsafe`].
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

/// What is declared for one process type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessSettings {
    /// Instances wanted at first; what the user scales later wins.
    #[serde(skip_serializing_if = "is_unset")]
    pub count: Option<u32>,
    /// Memory of each instance.
    #[serde(skip_serializing_if = "is_unset")]
    pub memory: Option<ByteSize>,
    /// CPU time of each instance.
    #[serde(skip_serializing_if = "is_unset")]
    pub cpu: Option<CpuLimit>,
    /// How long it may take to end after the stop signal.
    #[serde(skip_serializing_if = "is_unset")]
    pub grace: Option<Duration>,
    /// The signal that asks it to end.
    #[serde(skip_serializing_if = "is_unset")]
    pub stop_signal: Option<StopSignal>,
    /// Whether every process inside gets that signal, not only the main one.
    #[serde(skip_serializing_if = "is_unset")]
    pub signal_all: Option<bool>,
}

impl ProcessSettings {
    /// The grace period where none is declared.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(30);
    /// The longest grace period that may be declared.
    pub const LONGEST_GRACE: Duration = Duration::from_secs(3600);
    /// The most instances of one type that a manifest may ask for.
    pub const MOST_INSTANCES: u32 = 1000;

    /// How long an instance may take to end after the stop signal.
    pub fn grace(&self) -> Duration {
        self.grace.unwrap_or(Self::DEFAULT_GRACE)
    }
}

/// `[limits]`: what an instance may use where its process type says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitSettings {
    /// Memory of each instance; unlimited if absent.
    pub memory: Option<ByteSize>,
    /// CPU time of each instance; unlimited if absent.
    pub cpu: Option<CpuLimit>,
    /// Size of each instance's `/tmp`.
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
    pub command: Option<String>,
    /// Whether the language's own asset step runs; by default, when the app has one.
    pub assets: Option<bool>,
    /// How long the whole build may take.
    pub timeout: Option<Duration>,
    /// Environment of the asset step, besides placeholders for the declared config vars.
    pub env: BTreeMap<ConfigVar, String>,
    /// Packages of the host that only the build needs.
    pub system_packages: Vec<String>,
}

/// `[system]`: what the app needs of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SystemSettings {
    /// Packages that the app needs when it runs.
    pub packages: Vec<String>,
}

impl AppManifest {
    /// Reads what a source tree declares: `dozen.toml` wins over `app.json`, section by section's
    /// entries; both may be absent. Warnings are about `app.json` only and safe to print.
    pub fn read(
        dozen_toml: Option<&[u8]>,
        app_json: Option<&[u8]>,
    ) -> Result<(Self, Vec<String>), ManifestError> {
        let (base, warnings) = app_json.map(read_app_json).transpose()?.unwrap_or_default();
        let own = dozen_toml.map(read_toml).transpose()?.unwrap_or_default();
        Ok((own.over(base), warnings))
    }

    /// The manifest as it holds in `stage`: its overrides merged in, the other stages gone.
    pub fn for_stage(&self, stage: &StageName) -> Self {
        stage::merged(self, stage)
    }

    /// The Procfile with `[processes]` and `[release] command` put over it.
    pub fn over_procfile(&self, procfile: Procfile) -> Procfile {
        let mut procfile = procfile;
        procfile.processes.extend(self.processes.iter().map(|(name, line)| (name.clone(), line.clone())));
        if let Some(command) = &self.release.command {
            procfile.release = Some(command.clone());
        }
        procfile
    }

    /// The formation that `[formation]` asks for; types it does not count keep the default.
    pub fn formation(&self) -> Formation {
        let counted = |(name, settings): (&ProcessType, &ProcessSettings)| Some((name.clone(), settings.count?));
        Formation(self.formation.iter().filter_map(counted).collect())
    }

    /// What one process type may use, with `[limits]` where it says nothing itself.
    pub fn settings_of(&self, process: &ProcessType) -> ProcessSettings {
        let mut settings = self.formation.get(process).cloned().unwrap_or_default();
        settings.memory = settings.memory.or(self.limits.memory);
        settings.cpu = settings.cpu.or(self.limits.cpu);
        settings
    }

    /// Whether the router holds unsafe requests from the start of the release phase to the route
    /// swap: as `[release] hold_unsafe` says, else when a declared service has a single writer.
    pub fn holds_unsafe(&self) -> bool {
        let single_writer = || self.services.values().any(|service| service.kind == ServiceKind::Sqlite);
        self.release.hold_unsafe.unwrap_or_else(single_writer)
    }
}

/// Whether a value is what nobody wrote: such a value is left out of an image's JSON.
fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
