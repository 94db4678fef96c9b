//! Runs the steps of a build inside the walls of `dozen-sandbox`.
//!
//! Each step is an instance that is never restarted, with a folder and log segments of its own
//! that end with it. It hangs on a lifeline: when this process dies, so does the step, since
//! nobody would take its result. Lines are read from the segments while they are written.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use dozen_model::segment::segment_name;
use dozen_sandbox::{
    SandboxError,
    client::{self, LaunchMode, ShimHandle},
    protocol::{Reply, Request},
    spec::{
        self, ByteString, CommandSpec, LaunchSpec, Limits, Network, OverlayUpper, Restart, StopPolicy, Walls,
        WallsUser,
    },
    state::{ExitStatus, InstanceState, Phase},
};

use crate::{
    error::{BuildError, shown, shown_path},
    step::{AppMount, BuildUser, StepEnd, StepRunner, StepWatch, WalledStep},
    steps::APP,
};

/// How long a state is waited for before lines, the deadline and the cancel flag are looked at.
const BEAT: Duration = Duration::from_millis(20);
/// How long a killed step may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(20);
/// `/tmp` of a step; what is large goes to the build's own folder.
const TMP_BYTES: u64 = 512 << 20;
/// Bytes of a segment of a step's output.
const SEGMENT: u64 = 16 << 20;
/// Bytes of a step's output on disk; far more than may lie unread.
const LOG: u64 = 1 << 30;
/// Segments that may lie unread: a step that prints faster than it is heard would fill the disk.
const MOST_UNREAD: u64 = 16;
/// Bytes that are read of the last but one segment when a step has ended.
const LAST: u64 = 1 << 20;
/// Bytes of output between two looks at the state, the deadline and the cancel flag.
const ROUND: usize = 1 << 20;
/// The longest line; what is longer is passed on in parts.
const LONGEST_LINE: usize = 64 << 10;

/// Runs steps inside walls.
#[derive(Debug)]
pub struct WalledRunner {
    /// The program whose `shim` verb is the shim: dozen itself.
    pub binary: PathBuf,
    /// A folder of ours in which each step gets a folder while it runs.
    pub folder: PathBuf,
}

impl StepRunner for WalledRunner {
    fn run(&self, step: &WalledStep, watch: &mut StepWatch<'_>) -> Result<StepEnd, BuildError> {
        let making = || BuildError::io("make a folder for a step");
        let place = tempfile::Builder::new().prefix("step-").tempdir_in(&self.folder).map_err(making())?;
        let (dir, logs) = (place.path().join("instance"), place.path().join("log"));
        std::fs::create_dir(&logs).map_err(making())?;
        let spec = spec_of(step, logs.clone())?;
        let broken = |error: &SandboxError| walls_error(step, error);
        let (lifeline, held) = std::io::pipe().map_err(BuildError::io("make a pipe"))?;
        let shim = client::spawn_tied_shim(&self.binary, &dir, &spec, LaunchMode::Start, lifeline.as_fd())
            .map_err(|error| broken(&error))?;
        drop(lifeline);
        let mut lines = Lines::new(logs);
        let followed = follow(step, &dir, &mut lines, watch);
        // Whatever happened, nothing of the step lives on: first by word, then by the lifeline.
        if followed.is_err() {
            let _ = client::request(&dir, &Request::Kill {});
        }
        drop(held);
        if !is_gone(&shim) {
            // What it may still write to must not be touched.
            let kept = place.keep();
            let reason = format!("it could not be killed; its folder {} stays", shown_path(&kept));
            return Err(BuildError::Walls { step: step.name.clone(), reason });
        }
        lines.skip_to_the_last(watch);
        while lines.read(watch)? {}
        lines.end(watch);
        followed
    }
}

fn walls_error(step: &WalledStep, error: &SandboxError) -> BuildError {
    use std::error::Error;
    let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    BuildError::Walls { step: step.name.clone(), reason: shown(format!("{error}{cause}").as_bytes()) }
}

fn spec_of(step: &WalledStep, log_dir: PathBuf) -> Result<LaunchSpec, BuildError> {
    let own =
        || BuildUser { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    let user = step.build_user.unwrap_or_else(own);
    let (app, app_upper, app_dir) = match &step.app {
        AppMount::Writable(folder) => (Vec::new(), None, Some(folder.clone())),
        AppMount::Layers { lower, upper } => {
            let with_work =
                |upper: &PathBuf| OverlayUpper { upper: upper.clone(), work: upper.with_file_name("work") };
            (lower.clone(), upper.as_ref().map(with_work), None)
        }
    };
    let bind = |bind: &crate::step::Bind| -> Result<spec::Bind, BuildError> {
        // The walls refuse a source that is a link; ours are paths of the host that may be.
        let doing = format!("find `{}`", bind.host.display());
        let source = bind.host.canonicalize().map_err(BuildError::io(doing))?;
        Ok(spec::Bind { source, target: bind.inside.clone(), writable: bind.writable })
    };
    Ok(LaunchSpec {
        instance: "build.1".into(),
        walls: Walls {
            hostname: "build".into(),
            user: WallsUser { uid: user.uid, gid: user.gid },
            app,
            app_upper,
            app_dir,
            binds: step.binds.iter().map(bind).collect::<Result<_, _>>()?,
            tmp_bytes: TMP_BYTES,
            network: if step.network { Network::Host } else { Network::Empty },
        },
        command: CommandSpec {
            argv: step.argv.iter().map(|word| ByteString::from(word.as_str())).collect(),
            env: step.env.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect(),
            cwd: APP.into(),
        },
        restart: Restart::Never,
        stop: StopPolicy { grace: Duration::from_secs(1), all: true, ..StopPolicy::default() },
        log_dir,
        segment_bytes: SEGMENT,
        log_bytes: LOG,
        limits: Limits::default(),
        attach: None,
        lifeline: true,
    })
}

/// Follows a step to its end, or kills it.
fn follow(
    step: &WalledStep,
    dir: &Path,
    lines: &mut Lines,
    watch: &mut StepWatch<'_>,
) -> Result<StepEnd, BuildError> {
    let broken = |error: SandboxError| walls_error(step, &error);
    let lost = || BuildError::io("follow a step");
    let mut stream = client::connect(dir).map_err(broken)?;
    stream.set_read_timeout(Some(BEAT)).map_err(lost())?;
    let mut subscribe = serde_json::to_vec(&Request::Subscribe {}).map_err(|error| lost()(error.into()))?;
    subscribe.push(b'\n');
    stream.write_all(&subscribe).map_err(lost())?;
    let mut states = States { stream: BufReader::new(stream), line: Vec::new() };
    let started = Instant::now();
    let mut verdict: Option<(StepEnd, Instant)> = None;
    loop {
        let news = states.next().map_err(lost())?;
        lines.read(watch)?;
        let state = match news {
            News::State(state) => Some(state),
            News::Nothing => None,
            // The shim is gone; its last word is on disk.
            News::End => match client::read_state(dir).map_err(broken)? {
                Some(state) if state.has_ended() => Some(Box::new(state)),
                _ => {
                    return Err(BuildError::Walls {
                        step: step.name.clone(),
                        reason: "the shim died".into(),
                    });
                }
            },
        };
        if let Some(state) = state.filter(|state| state.phase == Phase::Exited) {
            return verdict.map_or_else(|| end_of(step, &state), |(end, _)| Ok(end));
        }
        match &verdict {
            None if watch.is_cancelled() => verdict = Some((StepEnd::Cancelled, Instant::now())),
            None if lines.is_flooded() => verdict = Some((StepEnd::TooLoud, Instant::now())),
            None if started.elapsed() >= step.timeout => {
                verdict = Some((StepEnd::TimedOut(step.timeout), Instant::now()));
            }
            Some((_, since)) if since.elapsed() > KILL_PATIENCE => {
                return Err(BuildError::Walls {
                    step: step.name.clone(),
                    reason: "it could not be killed".into(),
                });
            }
            _ => continue,
        }
        client::request(dir, &Request::Kill {}).map_err(broken)?;
    }
}

fn end_of(step: &WalledStep, state: &InstanceState) -> Result<StepEnd, BuildError> {
    let reason = || {
        let said = state.launch_error.as_deref().unwrap_or("it never ran");
        BuildError::Walls { step: step.name.clone(), reason: shown(said.as_bytes()) }
    };
    match state.last_exit.map(|exit| exit.status) {
        Some(ExitStatus::Code(code)) => Ok(StepEnd::Exited(code)),
        Some(ExitStatus::Signal(signal)) => Ok(StepEnd::Signalled(signal)),
        Some(ExitStatus::Unknown) => Ok(StepEnd::Signalled(9)),
        Some(ExitStatus::LaunchFailed) | None => Err(reason()),
    }
}

/// Waits until the shim is gone: then every line is in a segment. Says whether it is.
fn is_gone(shim: &ShimHandle) -> bool {
    let deadline = Instant::now() + KILL_PATIENCE;
    loop {
        if shim.reap() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        let mut poll = [rustix::event::PollFd::new(shim, rustix::event::PollFlags::IN)];
        let beat = rustix::time::Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        // An interrupted wait is only a shorter one.
        let _ = rustix::event::poll(&mut poll, Some(&beat));
    }
}

/// The states that a shim sends.
struct States {
    stream: BufReader<UnixStream>,
    line: Vec<u8>,
}

enum News {
    State(Box<InstanceState>),
    Nothing,
    End,
}

impl States {
    fn next(&mut self) -> std::io::Result<News> {
        use std::io::ErrorKind;
        match self.stream.read_until(b'\n', &mut self.line) {
            Ok(0) => Ok(News::End),
            Ok(_) if self.line.ends_with(b"\n") => {
                let reply = serde_json::from_slice(&std::mem::take(&mut self.line))?;
                match reply {
                    Reply::State(state) => Ok(News::State(state)),
                    Reply::Refused(reason) => Err(std::io::Error::other(reason)),
                }
            }
            Ok(_) => Ok(News::End),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(News::Nothing)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(News::End),
            Err(error) => Err(error),
        }
    }
}

/// Reads a step's segments as they grow and cuts them into lines.
struct Lines {
    folder: PathBuf,
    number: u64,
    file: Option<File>,
    open_line: Vec<u8>,
}

impl Lines {
    fn new(folder: PathBuf) -> Self {
        Self { folder, number: 1, file: None, open_line: Vec::new() }
    }

    /// Passes on lines that are complete now, of at most [`ROUND`] bytes: a step that never stops
    /// printing must not keep its deadline from being looked at. Says whether there may be more.
    fn read(&mut self, watch: &mut StepWatch<'_>) -> Result<bool, BuildError> {
        let mut buffer = [0; 32 << 10];
        let mut taken = 0;
        while taken < ROUND {
            let path = self.folder.join(segment_name(self.number));
            let opened = self.file.take().or_else(|| File::open(&path).ok());
            let Some(mut file) = opened else { return Ok(false) };
            // Looked for before the end of this one is: once there is a newer segment, it is complete.
            let is_complete = self.folder.join(segment_name(self.number + 1)).exists();
            let read = file.read(&mut buffer).map_err(BuildError::io("read a step's log"))?;
            self.take(&buffer[..read], watch);
            taken += read;
            match read {
                0 if is_complete => {
                    // Read to its end, and nobody else's to read.
                    let _ = std::fs::remove_file(path);
                    self.number += 1;
                }
                0 => {
                    self.file = Some(file);
                    return Ok(false);
                }
                _ => self.file = Some(file),
            }
        }
        Ok(true)
    }

    /// Of what lies unread at the end of a step the last [`LAST`] bytes will do.
    fn skip_to_the_last(&mut self, watch: &mut StepWatch<'_>) {
        let size = |number| std::fs::metadata(self.folder.join(segment_name(number))).map(|file| file.len());
        let newest = (self.number..).take_while(|number| size(*number).is_ok()).last();
        let Some(newest) = newest.filter(|newest| *newest > self.number) else { return };
        let before = (newest - 1, size(newest - 1).unwrap_or(0).saturating_sub(LAST));
        let opened = File::open(self.folder.join(segment_name(before.0)));
        let Ok(mut file) = opened else { return };
        if file.seek(SeekFrom::Start(before.1)).is_ok() {
            (self.number, self.file) = (before.0, Some(file));
            self.open_line = b"(a part of the output is left out)\n".to_vec();
            self.end(watch);
        }
    }

    /// Whether the step has written more than may lie unread.
    fn is_flooded(&self) -> bool {
        self.folder.join(segment_name(self.number + MOST_UNREAD)).exists()
    }

    fn take(&mut self, bytes: &[u8], watch: &mut StepWatch<'_>) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.open_line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.open_line.len() >= LONGEST_LINE {
                self.end(watch);
            }
        }
    }

    /// Passes on what has no newline at its end.
    fn end(&mut self, watch: &mut StepWatch<'_>) {
        let line = std::mem::take(&mut self.open_line);
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if !text.is_empty() || line.ends_with(b"\n") {
            (watch.line)(text);
        }
    }
}
