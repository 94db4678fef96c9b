//! Why an instance could not be started, reached, stopped or removed.

use std::{io, path::PathBuf, time::Duration};

use dozen_model::hint::Hint;
use dozen_sandbox::SandboxError;

use crate::LaunchId;

/// Why the supervisor could not do what it was asked.
///
/// No variant holds a command line's arguments or config: errors reach logs and screens.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The id names a launch that exists.
    #[error("a launch `{id}` exists already")]
    Exists {
        /// The id.
        id: LaunchId,
    },
    /// Nothing is known of this launch.
    #[error("no launch `{id}` is known here")]
    NoSuchLaunch {
        /// The id.
        id: LaunchId,
    },
    /// It cannot be removed while something inside runs.
    #[error("`{id}` still runs")]
    StillRuns {
        /// The id.
        id: LaunchId,
    },
    /// It did not end, although it was killed.
    #[error("`{id}` did not end within {waited:?} after it was killed")]
    WouldNotEnd {
        /// The id.
        id: LaunchId,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The shim that took it over died at once.
    #[error("no shim stays with `{id}`")]
    NoShimStays {
        /// The id.
        id: LaunchId,
    },
    /// Nobody is there to attach to.
    #[error("`{id}` cannot be attached to")]
    NotAttachable {
        /// The id.
        id: LaunchId,
        /// What its shim said.
        source: SandboxError,
    },
    /// Every port of the range is taken.
    #[error("no port from {from} to {to} is free")]
    NoPort {
        /// First of the range.
        from: u16,
        /// Last of the range.
        to: u16,
    },
    /// A process type's command line cannot be run.
    #[error("the command of `{process}` cannot be run: {reason}")]
    BadCommand {
        /// The instance it was for.
        process: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What the shims report cannot be heard.
    #[error("could not listen to the shims")]
    NoListener {
        /// Why.
        source: io::Error,
    },
    /// A folder of the run-time state could not be used.
    #[error("could not use `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The walls, the shim or the way to it.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

impl Hint for RunError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Sandbox(source) | Self::NotAttachable { source, .. } => source.hint(),
            Self::BadCommand { .. } => Some("check the line in the Procfile".to_owned()),
            Self::WouldNotEnd { .. } => {
                Some("a process that cannot be killed waits for a device or a network file system".to_owned())
            }
            _ => None,
        }
    }
}
