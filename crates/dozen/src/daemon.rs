//! The detached server: started by `dozen up` when none answers, kept alive by a tiny watcher.
//!
//! ```text
//! dozen up --spawns--> dozen server watch (own session) --spawns--> dozen server start
//!                        flock on DOZEN_RUN/watch.lock                 control, as its child
//! ```
//!
//! The watcher starts control again when something killed it, with growing pauses, and ends when
//! control ends by itself: `server stop` makes it exit with 0, a wrong setting with 1 or 2. Where
//! systemd runs the server nobody starts a watcher. The watcher's own death costs nothing but
//! the watching: control goes on.
//!
//! Start reading at [`start_detached`] and [`watch`].

use std::{
    ffi::OsString,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use dozen_model::hint::Hint;
use rustix::fs::FlockOperation;

use crate::{client::ControlClient, settings::Settings};

/// How long a server may take until it answers.
const ANSWERS: Duration = Duration::from_secs(30);
/// A server that ran this long is started again without a pause.
const STEADY: Duration = Duration::from_secs(60);
/// The longest pause before a restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Size at which the server's log is set aside.
const LOG_LIMIT: u64 = 16 << 20;
/// How much of the log an error shows.
const TAIL_LINES: usize = 10;

/// Why no detached server is there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    /// A folder or file it needs cannot be made.
    #[error("`{}` cannot be made", path.display())]
    Folder {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The process cannot be started.
    #[error("the server cannot be started")]
    Spawn(#[source] io::Error),
    /// It ended instead of answering.
    #[error("the server ended at once, with {status}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// What it wrote.
        log_tail: Vec<String>,
    },
    /// It neither answers nor ends.
    #[error("the server does not answer after {} seconds", ANSWERS.as_secs())]
    Silent {
        /// Where to read more.
        log: PathBuf,
    },
}

impl DaemonError {
    /// What the server wrote before it ended.
    pub(crate) fn log_tail(&self) -> &[String] {
        match self {
            Self::Ended { log_tail, .. } => log_tail,
            _ => &[],
        }
    }
}

impl Hint for DaemonError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Folder { .. } => Some("choose other folders with `DOZEN_HOME` and `DOZEN_RUN`".to_owned()),
            Self::Ended { .. } => {
                Some("run `dozen doctor`, or see more with `dozen server start`".to_owned())
            }
            Self::Silent { log } => Some(format!("read `{}`", log.display())),
            Self::Spawn(_) => None,
        }
    }
}

/// Starts a server in a session of its own and waits until it answers.
///
/// `variables` are settings of the server that were given as flags.
pub(crate) async fn start_detached(
    settings: &Settings,
    variables: &[(&str, OsString)],
) -> Result<ControlClient, DaemonError> {
    make_folder(&settings.home)?;
    make_folder(&settings.run)?;
    make_folder(&settings.home.join("logs"))?;
    let log_path = settings.server_log();
    let log = open_log(&log_path).map_err(|source| DaemonError::Folder { path: log_path.clone(), source })?;
    let from = log.metadata().map_or(0, |about| about.len());
    let mut watcher = spawn_watcher(settings, &log, variables).map_err(DaemonError::Spawn)?;
    let deadline = Instant::now() + ANSWERS;
    while Instant::now() < deadline {
        if let Ok(client) = ControlClient::connect(settings).await {
            return Ok(client);
        }
        match watcher.try_wait() {
            Ok(Some(status)) if !status.success() => {
                return Err(DaemonError::Ended { status, log_tail: tail(&log_path, from) });
            }
            // Another watcher was at work: its server is the one to wait for, unless that one was
            // just stopped and its watcher is about to go.
            Ok(Some(_)) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                watcher = spawn_watcher(settings, &log, variables).map_err(DaemonError::Spawn)?;
            }
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    Err(DaemonError::Silent { log: log_path })
}

fn spawn_watcher(settings: &Settings, log: &File, variables: &[(&str, OsString)]) -> io::Result<Child> {
    dozen_sandbox::close_all_on_exec()?;
    Command::new(&settings.binary)
        .args(["server", "watch"])
        // Both folders are told, so that no difference in how they are found can part the two.
        .env("DOZEN_HOME", &settings.home)
        .env("DOZEN_RUN", &settings.run)
        .env_remove("DOZEN_SERVER")
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()
}

/// Makes a folder for this user alone, when it is not there.
fn make_folder(path: &Path) -> Result<(), DaemonError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| DaemonError::Folder { path: path.to_owned(), source })
}

/// Opens the log to append to; one that has grown large is set aside first.
fn open_log(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|about| about.len() > LOG_LIMIT) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// The last lines that were written since `from`.
fn tail(path: &Path, from: u64) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(1 << 20).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec()
}

/// `dozen server watch`: runs a server and starts it again when it is killed.
///
/// Returns when the server ended by itself, with its status, or at once when another watcher is
/// at work.
pub(crate) fn watch(settings: &Settings) -> Result<u8, DaemonError> {
    let path = settings.run.join("watch.lock");
    let folder = |source| DaemonError::Folder { path: path.clone(), source };
    // Fails only where it is a session's leader already, which is just as well.
    let _ = rustix::process::setsid();
    let mut lock = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(folder)?;
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(0);
    }
    lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(folder)?;
    let mut pause = Duration::ZERO;
    let mut first = true;
    loop {
        let since = Instant::now();
        let status = Command::new(&settings.binary)
            .args(["server", "start"])
            .stdin(Stdio::null())
            .status()
            .map_err(DaemonError::Spawn)?;
        if let Some(code) = last_word(status, first) {
            return Ok(code);
        }
        first = false;
        pause = next_pause(pause, since.elapsed());
        tracing::warn!(%status, ?pause, "the server ended and is started again");
        std::thread::sleep(pause);
    }
}

/// The status to end with, when the server is not to be started again: it was stopped, or it did
/// not even start. A signal, a panic or a fault of ours later on is what the watcher is for.
fn last_word(status: ExitStatus, first: bool) -> Option<u8> {
    let code = u8::try_from(status.code()?).unwrap_or(1);
    (matches!(code, 0..=2) || first).then_some(code)
}

/// The pause before the next start: 0, 1, 2, 4 … 60 seconds, from 0 again after a steady run.
fn next_pause(last: Duration, ran: Duration) -> Duration {
    match last {
        _ if ran >= STEADY => Duration::ZERO,
        Duration::ZERO if ran >= Duration::from_secs(1) => Duration::ZERO,
        Duration::ZERO => Duration::from_secs(1),
        last => (last * 2).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_killed_server_is_started_again_and_a_stopped_one_is_not() {
        let exit = |code: i32| ExitStatus::from_raw(code << 8);
        assert_eq!(last_word(ExitStatus::from_raw(9), true), None);
        assert_eq!(last_word(ExitStatus::from_raw(9), false), None);
        assert_eq!(last_word(exit(0), false), Some(0));
        assert_eq!(last_word(exit(1), false), Some(1));
        assert_eq!(last_word(exit(3), true), Some(3));
        assert_eq!(last_word(exit(3), false), None);
        assert_eq!(last_word(exit(101), false), None);
    }

    #[test]
    fn pauses_grow_to_a_minute_and_start_over_after_a_steady_run() {
        let short = Duration::from_millis(10);
        let mut pause = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..9 {
            pause = next_pause(pause, short);
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(next_pause(pause, STEADY), Duration::ZERO);
    }

    #[test]
    fn the_tail_of_a_log_holds_only_what_was_written_since() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        std::fs::write(&path, "old\nnew 1\n\nnew 2\n").unwrap();
        assert_eq!(tail(&path, 4), ["new 1", "new 2"]);
        assert_eq!(tail(&folder.path().join("none"), 0), Vec::<String>::new());
    }
}
