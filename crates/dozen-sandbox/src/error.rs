//! Why an instance could not be started, reached or understood.

use std::{io, path::PathBuf, time::Duration};

use dozen_model::hint::Hint;

/// What went wrong between control and an instance.
///
/// No variant holds arguments or config: they may be secret.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The launch spec breaks a rule.
    #[error("the launch of `{instance}` is not possible: {reason}")]
    BadSpec {
        /// The instance it was for.
        instance: String,
        /// The rule.
        reason: String,
    },
    /// The instance's directory could not be made or is not safe to use.
    #[error("could not use `{}` as the directory of an instance", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The shim's program could not be started.
    #[error("could not start the shim of `{instance}`")]
    Spawn {
        /// The instance it was for.
        instance: String,
        /// Why.
        source: io::Error,
    },
    /// The shim started, looked, and refused.
    #[error("the shim of `{instance}` gave up: {reason}")]
    Refused {
        /// The instance it was for.
        instance: String,
        /// What it said.
        reason: String,
    },
    /// The shim would not do what it was asked.
    #[error("the shim in `{}` did not do what it was asked: {reason}", path.display())]
    NotDone {
        /// The instance's directory.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// The shim did not say in time that it has taken over.
    #[error("the shim of `{instance}` was not ready within {waited:?}")]
    NotReady {
        /// The instance it was for.
        instance: String,
        /// How long it had.
        waited: Duration,
    },
    /// Nobody answers on the instance's socket, or not as agreed.
    #[error("could not talk to the shim in `{}`", path.display())]
    Unreachable {
        /// The instance's directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file in the instance's directory is not what we write.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Hint for SandboxError {}
