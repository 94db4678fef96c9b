//! What the shim is given: everything that an instance needs, decided by control.
//!
//! A [`LaunchSpec`] travels as JSON over the shim's standard input and never as an argument, since
//! it holds the config. Neither `Debug` nor an error shows a value. The shim keeps it in memory to
//! start the next incarnation; control keeps its own copy for a shim that has to adopt.
//!
//! Start reading at [`LaunchSpec`].

mod byte_string;
mod rules;

use std::{path::PathBuf, time::Duration};

use dozen_model::segment::{DEFAULT_LOG_BYTES, DEFAULT_SEGMENT_BYTES};
use serde::{Deserialize, Serialize};

pub use byte_string::ByteString;
pub(crate) use byte_string::wipe;

/// One instance: its walls, its command, and what happens when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchSpec {
    /// The name shown in state and messages, for example `web.1`.
    pub instance: String,
    /// What surrounds it.
    pub walls: Walls,
    /// What it runs.
    pub command: CommandSpec,
    /// What follows its end.
    pub restart: Restart,
    /// How it is asked to end.
    pub stop: StopPolicy,
    /// The folder of its log segments. Give each instance its own: numbers are taken in order here.
    pub log_dir: PathBuf,
    /// A log segment ends after about this many bytes.
    #[serde(default = "default_segment_bytes")]
    pub segment_bytes: u64,
    /// The oldest segments are removed when all of them together have more bytes than this.
    #[serde(default = "default_log_bytes")]
    pub log_bytes: u64,
    /// Resource limits of each of its processes.
    #[serde(default)]
    pub limits: Limits,
    /// Given for a one-off process that somebody is attached to; see [`Attach`].
    #[serde(default)]
    pub attach: Option<Attach>,
    /// The instance ends when whoever started it does. The lifeline's descriptor is handed over
    /// by [`client::spawn_shim`](crate::client::spawn_shim).
    #[serde(default)]
    pub lifeline: bool,
}

fn default_segment_bytes() -> u64 {
    DEFAULT_SEGMENT_BYTES
}

fn default_log_bytes() -> u64 {
    DEFAULT_LOG_BYTES
}

/// A command, exec'd as it is: no shell reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSpec {
    /// Program and arguments. A program without a slash is looked up in the `PATH` of `env`, inside the walls.
    pub argv: Vec<ByteString>,
    /// The whole environment: nothing is inherited.
    pub env: Vec<(ByteString, ByteString)>,
    /// The working directory, inside the walls.
    pub cwd: PathBuf,
}

/// What follows the end of the main process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Nothing: a release phase, a build step, a one-off process.
    Never,
    /// A new incarnation: at once, then after 1, 2, 4 … 60 s. A life of 60 s starts the row anew.
    Always,
}

/// How an instance is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopPolicy {
    /// The signal to begin with, 1 to 31.
    pub signal: i32,
    /// How long it may take before everything inside is killed.
    pub grace: Duration,
    /// Whether every process inside gets the signal, or the main process only. For a line that
    /// a shell runs: a shell does not pass it on. The instance then ends with its last process.
    pub all: bool,
}

impl Default for StopPolicy {
    fn default() -> Self {
        Self { signal: 15, grace: Duration::from_secs(30), all: false }
    }
}

/// What surrounds an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Walls {
    /// The host name inside.
    pub hostname: String,
    /// Who it runs as. For an ordinary user this is that user.
    pub user: WallsUser,
    /// Layers of the image, lowest first, mounted at `/app` read-only.
    pub app: Vec<PathBuf>,
    /// Makes `/app` writable: what is written goes to `upper`. For the asset step of a build.
    #[serde(default)]
    pub app_upper: Option<OverlayUpper>,
    /// Mounted at `/app`, writable, instead of layers. For the dependency step of a build.
    #[serde(default)]
    pub app_dir: Option<PathBuf>,
    /// Runtime layers, volumes, database directories. A parent comes before what lies in it.
    #[serde(default)]
    pub binds: Vec<Bind>,
    /// The size of `/tmp`; `/dev/shm` has the same.
    pub tmp_bytes: u64,
    /// Which network it sees.
    pub network: Network,
}

/// A user of the host, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WallsUser {
    /// Never 0.
    pub uid: u32,
    /// Never 0.
    pub gid: u32,
}

/// Where an overlay puts what is written to it. Both on one file system, owned by the instance's user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlayUpper {
    /// Receives files.
    pub upper: PathBuf,
    /// The kernel's own, empty at the start.
    pub work: PathBuf,
}

/// A file or directory of the host that is visible inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// On the host. Not a symbolic link itself.
    pub source: PathBuf,
    /// Inside. Missing directories are made; no symbolic link on the way is followed.
    pub target: PathBuf,
    /// Whether it may be written to.
    pub writable: bool,
}

/// Which network an instance sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The host's.
    Host,
    /// One of its own with nothing in it but a loopback device: nothing outside can be reached, by
    /// address or by an abstract socket's name. For the asset step of a build.
    Empty,
}

/// Limits of each process inside; `None` leaves the host's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open descriptors.
    pub open_files: Option<u64>,
    /// Processes of the user.
    pub processes: Option<u64>,
    /// Bytes of address space.
    pub address_space: Option<u64>,
}

/// Somebody will attach to standard input and output.
///
/// The process starts at once. Nothing of its output is read, so nothing is lost, until the first
/// connection attaches or 30 s have passed. When the attached connection ends before the process,
/// that is a hangup, as with a remote shell: end of input, SIGHUP, and after the grace period the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attach {
    /// A terminal of this size; without one, input, output and error output are three pipes.
    pub terminal: Option<TerminalSize>,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}
