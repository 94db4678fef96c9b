//! A config var that the app reads, as it declares it.

use serde::{Deserialize, Serialize};

use super::is_unset;

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
