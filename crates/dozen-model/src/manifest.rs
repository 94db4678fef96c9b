//! What an app declares about itself, in `dozen.toml` or in Heroku's `app.json`.
//!
//! Everything here is optional and comes from the repository, so it holds no secret: a value that
//! differs between stages or that must be hidden is a config var, and only its *declaration*
//! (required, default, generated) stands here. An [`AppManifest`] is part of an image and the
//! image's digest is taken of its JSON: maps are ordered, there are no floats, and what nobody
//! wrote is left out, so that a new section or key does not rename old images.
//!
//! Reading is strict where the file is ours ([`read_toml`]: an unknown key is an error with its
//! line and a suggestion) and lenient where it is not ([`read_app_json`]: an unknown key is a
//! warning). Neither reads a file: bytes go in.
//!
//! Start reading at [`AppManifest`]; [`AppManifest::read`] takes both files at once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    formation::Formation,
    names::{ConfigVar, Domain, ProcessType, ServiceName, StageName},
    procfile::Procfile,
};

mod app_json;
mod config_declaration;
mod dozen_toml;
mod factor;
mod https;
mod manifest_error;
mod mount_path;
mod process_settings;
mod quantity;
mod redirect;
mod router;
mod sections;
mod service_declaration;
mod service_kind;
mod stage;
mod stop_signal;
mod value_rules;

pub use app_json::read_app_json;
pub use config_declaration::{ConfigDeclaration, ConfigFallback};
pub use dozen_toml::read_toml;
pub use factor::{Factor, NotAFactor};
pub use https::{Hsts, HttpsRedirect};
pub use manifest_error::{ManifestError, ManifestErrorKind};
pub use mount_path::{MountPath, NotAMountPath};
pub use process_settings::ProcessSettings;
pub use quantity::{ByteSize, CpuLimit, NotAQuantity, parse_duration, parse_long_duration};
pub use redirect::{NotARedirect, Redirect, RedirectFrom, RedirectTo, Www, first_loop};
pub use router::RouterSettings;
pub use sections::{
    AppSettings, BuildSettings, DrainSettings, HealthSettings, LimitSettings, ReleaseSettings, SystemSettings,
};
pub use service_declaration::ServiceDeclaration;
pub use service_kind::{NotAServiceKind, ServiceKind};
pub use stage::{ReleaseOverrides, StageOverrides};
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
    /// `[router]`: what the router does with requests before it passes them on.
    #[serde(skip_serializing_if = "is_unset")]
    pub router: RouterSettings,
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
        let counted =
            |(name, settings): (&ProcessType, &ProcessSettings)| Some((name.clone(), settings.count?));
        Formation(self.formation.iter().filter_map(counted).collect())
    }

    /// What one process type may use, with `[limits]` where it says nothing itself.
    pub fn settings_of(&self, process: &ProcessType) -> ProcessSettings {
        let mut settings = self.formation.get(process).cloned().unwrap_or_default();
        settings.memory = settings.memory.or(self.limits.memory);
        settings.cpu = settings.cpu.or(self.limits.cpu);
        settings
    }
}

/// Whether a value is what nobody wrote: such a value is left out of an image's JSON.
fn is_unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
