//! What a driver answers: steps to run, mounts to make, config vars to set.

use std::fmt;

use dozen_model::{
    manifest::MountPath,
    names::{ConfigVar, ServiceName},
};
use serde::{Deserialize, Serialize};

/// What it takes to create a service and to attach it.
///
/// Its values are secrets: they are not serialised with it, and `Debug` shows names only.
#[derive(Clone, PartialEq, Eq)]
pub struct ServicePlan {
    /// What to make, in this order, before anything is attached.
    pub steps: Vec<Step>,
    /// What to mount into every instance of the stage.
    pub mounts: Vec<ServiceMount>,
    /// The config vars of the attachment and their values.
    pub vars: Vec<(ConfigVar, Vec<u8>)>,
    /// Whether only one process can write at a time: then the router holds unsafe requests from
    /// the start of a release phase to the route swap.
    pub single_writer: bool,
    /// What will work here but may surprise; safe to print.
    pub warnings: Vec<String>,
}

impl fmt::Debug for ServicePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vars: Vec<&str> = self.vars.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ServicePlan")
            .field("steps", &self.steps)
            .field("mounts", &self.mounts)
            .field("vars", &vars)
            .field("single_writer", &self.single_writer)
            .field("warnings", &self.warnings)
            .finish()
    }
}

/// One thing to make in the stage's services folder.
///
/// A step may run again after a server was killed in the middle of it, so each one leaves what it
/// finds done as it is. Whatever it makes is owned by the stage's user and by nobody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A directory with mode 0700.
    MakeDirectory {
        /// Its name: the service's, so it is one plain path component.
        name: ServiceName,
    },
    /// An empty SQLite database with `journal_mode=WAL`, which stays with the file.
    CreateSqlite {
        /// The directory that an earlier step made.
        directory: ServiceName,
        /// The file's name in it, one plain path component.
        file: String,
    },
}

/// A directory of the stage's services folder inside an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceMount {
    /// The directory, relative to the stage's services folder.
    pub directory: ServiceName,
    /// Where it is mounted.
    pub target: MountPath,
    /// Whether the instance may write there.
    pub writable: bool,
}
