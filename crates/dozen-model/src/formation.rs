//! How many instances of each process type a stage runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names::ProcessType;

/// The number of instances wanted for each process type.
///
/// A type that is absent has never been scaled; it runs as [`Formation::of`] says: one `web`,
/// none of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Formation(pub BTreeMap<ProcessType, u32>);

impl Formation {
    /// Instances wanted of `process`: as scaled, else 1 for `web` and 0 for the rest.
    pub fn of(&self, process: &ProcessType) -> u32 {
        self.0.get(process).copied().unwrap_or(u32::from(process.is_web()))
    }

    /// Sets the count of one process type.
    pub fn scale(&mut self, process: ProcessType, count: u32) {
        self.0.insert(process, count);
    }
}
