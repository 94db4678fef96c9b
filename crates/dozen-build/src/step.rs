//! One command of a build inside walls: what it is given, how it ended, who runs it.
//!
//! The build decides *what* runs; a [`StepRunner`] makes the walls and runs it. The runner for
//! real use is [`crate::runner::WalledRunner`].

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::error::BuildError;

/// One command of a build.
#[derive(Debug, Clone)]
pub struct WalledStep {
    /// Its name in the build log, such as `install`.
    pub name: String,
    /// The program, as an absolute path inside the walls, and its arguments. No secret is in it.
    pub argv: Vec<String>,
    /// Its whole environment; nothing else is inherited.
    pub env: BTreeMap<String, String>,
    /// What stands at `/app`, which is also the working directory.
    pub app: AppMount,
    /// Further files and folders it sees.
    pub binds: Vec<Bind>,
    /// Whether it may use the network.
    pub network: bool,
    /// When it is killed.
    pub timeout: Duration,
    /// Whom it runs as; `None` runs as the calling user.
    pub build_user: Option<BuildUser>,
}

/// What stands at `/app` during a step.
#[derive(Debug, Clone)]
pub enum AppMount {
    /// One folder, writable.
    Writable(PathBuf),
    /// Layers, the lowest first, read-only; with an upper folder that takes what is written.
    Layers {
        /// Layer trees, the lowest first.
        lower: Vec<PathBuf>,
        /// Takes what is written. An overlay's work folder goes beside it, named `work`.
        upper: Option<PathBuf>,
    },
}

/// A file or folder of the host inside the walls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Where it is on the host.
    pub host: PathBuf,
    /// Where it appears.
    pub inside: PathBuf,
    /// Whether the step may write it.
    pub writable: bool,
}

/// The user and group that a build runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildUser {
    /// User id on the host.
    pub uid: u32,
    /// Group id on the host.
    pub gid: u32,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepEnd {
    /// It ended by itself with this status.
    Exited(i32),
    /// A signal ended it.
    Signalled(i32),
    /// It was killed because it printed faster than anyone can read.
    TooLoud,
    /// It was killed after this time.
    TimedOut(Duration),
    /// It was killed because the build was cancelled.
    Cancelled,
}

impl fmt::Display for StepEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "ended with status {status}"),
            Self::Signalled(signal) => write!(f, "was ended by signal {signal}"),
            Self::TooLoud => f.write_str("was stopped: it printed more than can be kept"),
            Self::TimedOut(limit) => write!(f, "was stopped after {} s", limit.as_secs()),
            Self::Cancelled => f.write_str("was cancelled"),
        }
    }
}

/// The listener of one running step: takes its lines, says when to stop.
pub struct StepWatch<'a> {
    /// Called for each line of standard output and standard error, without its newline.
    pub line: &'a mut dyn FnMut(&[u8]),
    /// Set when the build is to stop.
    pub cancel: &'a AtomicBool,
}

impl StepWatch<'_> {
    /// Whether the step is to be killed now.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

/// Runs steps inside walls, also several at once. Nothing that a step started is alive when `run`
/// returns.
pub trait StepRunner: Sync {
    /// Runs one step to its end. A bad exit status is an end, not an error.
    fn run(&self, step: &WalledStep, watch: &mut StepWatch<'_>) -> Result<StepEnd, BuildError>;
}
