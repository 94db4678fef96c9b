//! What is known about an instance: written by its shim, read by control and people.
//!
//! `state.json` in the instance's directory is replaced as a whole before the shim acts on it, so
//! a shim that adopts continues where the dead one was. It holds no secret.

use std::{path::PathBuf, time::SystemTime};

use dozen_model::segment;
use serde::{Deserialize, Serialize};

use crate::{
    process_identity::ProcessIdentity,
    spec::{Attach, LaunchSpec, StopPolicy},
};

/// Now, as every time in these words is written: nanoseconds since 1970.
pub(crate) fn unix_nanos() -> u64 {
    segment::unix_nanos(SystemTime::now())
}

/// The state of one instance, over all its incarnations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceState {
    /// The boot this is about; in another one, everything named here is gone.
    pub boot_id: String,
    /// The instance's name.
    pub instance: String,
    /// The shim that wrote this.
    pub shim: ProcessIdentity,
    /// Pid 1 of the current incarnation, as seen from outside.
    pub init: Option<ProcessIdentity>,
    /// The app's main process, as seen from outside.
    pub main: Option<ProcessIdentity>,
    /// Counts starts, from 1.
    pub incarnation: u32,
    /// Where it stands.
    pub phase: Phase,
    /// How often it was started again.
    pub restarts: u32,
    /// Short lives in a row; decides the next back-off.
    pub failures: u32,
    /// When the current incarnation began, in nanoseconds since 1970.
    pub started_at: u64,
    /// How the last incarnation that ended did so.
    pub last_exit: Option<Exit>,
    /// Why the incarnation of `last_exit` never ran, if it did not; it stays while the next one starts.
    pub launch_error: Option<String>,
    /// A stop was asked for.
    pub stop: Option<StopState>,
    /// The walls that stand, for `dozen ps`.
    pub walls: Vec<String>,
    /// The size of the output pipe; 65,536 where the kernel's limit for an ordinary user is reached.
    pub pipe_bytes: u64,
    /// Output that could not be kept.
    pub dropped: Dropped,
    /// Of that, what is not marked in the log yet.
    #[serde(default)]
    pub unannounced: Dropped,
    /// Why the log cannot be written at the moment.
    pub log_trouble: Option<String>,
    /// What of its launch spec brings it to an end.
    pub upkeep: Upkeep,
}

/// What a shim needs to see an instance to its end when nobody can give it the launch spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upkeep {
    /// Where its output goes.
    pub log: LogPlan,
    /// How it is asked to end.
    pub stop: StopPolicy,
    /// Given for a one-off process; the size of its terminal is the last one.
    pub attach: Option<Attach>,
}

/// The log of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPlan {
    /// The folder of its segments.
    pub dir: PathBuf,
    /// A segment ends after about this many bytes.
    pub segment_bytes: u64,
    /// The oldest segments go when all of them together have more bytes.
    pub max_bytes: u64,
}

impl Upkeep {
    pub(crate) fn of(spec: &LaunchSpec) -> Self {
        let LaunchSpec { log_dir: dir, segment_bytes, log_bytes: max_bytes, stop, attach, .. } = spec;
        let log = LogPlan { dir: dir.clone(), segment_bytes: *segment_bytes, max_bytes: *max_bytes };
        Self { log, stop: *stop, attach: *attach }
    }
}

/// Where an instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Phase {
    /// The walls are being built.
    Starting,
    /// The app's program runs.
    Running,
    /// A stop was asked for and is under way.
    Stopping,
    /// It ended and will be started again.
    Backoff {
        /// When, in nanoseconds since 1970.
        until: u64,
    },
    /// It ended and stays so.
    Exited,
}

/// How and when an incarnation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How.
    pub status: ExitStatus,
    /// When, in nanoseconds since 1970.
    pub at: u64,
}

/// How an incarnation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// The main process exited with this status.
    Code(i32),
    /// This signal ended the main process.
    Signal(i32),
    /// The app's program never ran; [`InstanceState::launch_error`] says why.
    LaunchFailed,
    /// Init died without a word: somebody killed it, or the machine went down.
    Unknown,
}

/// How the reason begins when a program is not there.
pub(crate) const NOT_FOUND: &str = "could not find the program";
/// How the reason begins when a program is there and cannot be run.
const NOT_EXECUTABLE: &str = "could not execute";

/// The exit status that a shell reports for a program that never ran: 127 when it is not there, 126
/// when it cannot be executed. `None` when the launch came to nothing before it got that far.
pub fn shell_status(launch_error: &str) -> Option<u8> {
    match launch_error {
        reason if reason.starts_with(NOT_FOUND) => Some(127),
        reason if reason.starts_with(NOT_EXECUTABLE) => Some(126),
        _ => None,
    }
}

/// A stop under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopState {
    /// When the grace period ends, in nanoseconds since 1970.
    pub kill_at: u64,
}

/// Output that could not be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Line ends among them.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Dropped {
    pub(crate) fn plus(self, more: Self) -> Self {
        Self { lines: self.lines.saturating_add(more.lines), bytes: self.bytes.saturating_add(more.bytes) }
    }
}

impl InstanceState {
    /// Whether the instance ended and its shim will not start it again.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Exited)
    }
}
