//! What is declared for one process type: how many, how large, how it ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ByteSize, CpuLimit, StopSignal, is_unset};

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
