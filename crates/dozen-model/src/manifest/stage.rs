//! What differs in one stage, and how it is merged into the whole.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{AppManifest, ConfigDeclaration, HealthSettings, ProcessSettings, RouterSettings, is_unset};
use crate::names::{ConfigVar, Domain, ProcessType, StageName};

/// `[stages.NAME]`: entries that replace the app's own in one stage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageOverrides {
    /// Config vars, each replacing the whole declaration of the same name.
    #[serde(skip_serializing_if = "is_unset")]
    pub config: BTreeMap<ConfigVar, ConfigDeclaration>,
    /// Process types, each field of which replaces the same field.
    #[serde(skip_serializing_if = "is_unset")]
    pub formation: BTreeMap<ProcessType, ProcessSettings>,
    /// The stage's domains.
    #[serde(skip_serializing_if = "is_unset")]
    pub domains: Vec<Domain>,
    /// Health settings that are set here.
    #[serde(skip_serializing_if = "is_unset")]
    pub health: HealthSettings,
    /// Release settings that are set here.
    #[serde(skip_serializing_if = "is_unset")]
    pub release: ReleaseOverrides,
    /// Router settings that are set here.
    #[serde(skip_serializing_if = "is_unset")]
    pub router: RouterSettings,
}

/// `[stages.NAME.release]`: the release settings that a stage may change.
///
/// Unlike the app's own section it knows "not said" for each of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReleaseOverrides {
    /// See [`super::ReleaseSettings::command`].
    #[serde(skip_serializing_if = "is_unset")]
    pub command: Option<String>,
    /// See [`super::ReleaseSettings::timeout`].
    #[serde(skip_serializing_if = "is_unset")]
    pub timeout: Option<Duration>,
    /// See [`super::ReleaseSettings::on_rollback`].
    #[serde(skip_serializing_if = "is_unset")]
    pub on_rollback: Option<bool>,
    /// See [`super::ReleaseSettings::hold_unsafe`].
    #[serde(skip_serializing_if = "is_unset")]
    pub hold_unsafe: Option<bool>,
}

/// `manifest` as it holds in `stage`.
pub(super) fn merged(manifest: &AppManifest, stage: &StageName) -> AppManifest {
    let mut merged = manifest.clone();
    let overrides = merged.stages.remove(stage).unwrap_or_default();
    merged.stages.clear();
    merged.domains = overrides.domains;
    merged.config.extend(overrides.config);
    for (process, settings) in overrides.formation {
        let base = merged.formation.remove(&process).unwrap_or_default();
        merged.formation.insert(process, settings.over(base));
    }
    merged.health = overrides.health.over(merged.health);
    merged.release = overrides.release.over(merged.release);
    merged.router = overrides.router.over(merged.router);
    merged
}

impl ProcessSettings {
    /// These settings, and `base` where they say nothing.
    pub(super) fn over(self, base: Self) -> Self {
        Self {
            count: self.count.or(base.count),
            memory: self.memory.or(base.memory),
            cpu: self.cpu.or(base.cpu),
            grace: self.grace.or(base.grace),
            stop_signal: self.stop_signal.or(base.stop_signal),
            signal_all: self.signal_all.or(base.signal_all),
        }
    }
}

impl HealthSettings {
    /// These settings, and `base` where they say nothing.
    pub(super) fn over(self, base: Self) -> Self {
        Self { path: self.path.or(base.path), timeout: self.timeout.or(base.timeout) }
    }
}

impl ReleaseOverrides {
    fn over(self, base: super::ReleaseSettings) -> super::ReleaseSettings {
        super::ReleaseSettings {
            command: self.command.or(base.command),
            timeout: self.timeout.or(base.timeout),
            on_rollback: self.on_rollback.unwrap_or(base.on_rollback),
            hold_unsafe: self.hold_unsafe.or(base.hold_unsafe),
        }
    }
}

impl AppManifest {
    /// This manifest, and what `base` (an `app.json`) says beyond it.
    ///
    /// Only the sections that `app.json` has are merged; the others it leaves at their defaults.
    pub(super) fn over(self, base: Self) -> Self {
        let mut merged = self;
        merged.app.name = merged.app.name.or(base.app.name);
        for (var, declaration) in base.config {
            merged.config.entry(var).or_insert(declaration);
        }
        for (process, settings) in base.formation {
            let own = merged.formation.remove(&process).unwrap_or_default();
            merged.formation.insert(process, own.over(settings));
        }
        merged.health = merged.health.over(base.health);
        for (stage, overrides) in base.stages {
            let own = merged.stages.entry(stage).or_default();
            for (var, declaration) in overrides.config {
                own.config.entry(var).or_insert(declaration);
            }
            for (process, settings) in overrides.formation {
                let mine = own.formation.remove(&process).unwrap_or_default();
                own.formation.insert(process, mine.over(settings));
            }
        }
        merged
    }
}
