//! Why logs could not be read, written or cleaned up.

use std::{io, path::PathBuf};

use dozen_model::hint::Hint;

/// Why logs could not be read, written or cleaned up. No variant holds a line of a log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A folder of logs could not be opened, listed or made.
    #[error("the log folder `{}` could not be read", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One log file could not be opened or read.
    #[error("the log file `{}` could not be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The platform log could not be opened.
    #[error("the platform log `{}` could not be opened", path.display())]
    PlatformLog {
        /// Its folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A process filter is neither a process type nor an instance.
    #[error("`{filter}` names no process type and no instance")]
    ProcessFilter {
        /// What was typed, escaped and cut short.
        filter: String,
    },
}

impl Hint for LogError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::ProcessFilter { .. } => Some("write it as `web` or `web.1`".to_owned()),
            _ => None,
        }
    }
}
