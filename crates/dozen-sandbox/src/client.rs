//! Control's side: start a shim, talk to it, and find out who is alive.
//!
//! Nothing here waits longer than a few seconds, nothing is async: a caller with a runtime puts it on
//! a blocking thread, or takes [`connect`]'s stream and the words of [`crate::protocol`].
//!
//! ```text
//! spawn_shim(Start)  -> ShimHandle    subscribe, stop, …
//! observe            -> Kept | Orphaned | Ended | Absent
//!     Orphaned: spawn_shim(Adopt) with the same spec, or spawn_ending_shim without one
//!     Ended:    spawn_shim(Adopt) takes the exit record and applies the restart policy
//! retire             from then on nobody can adopt it, and the directory may go
//! ```

use std::{
    ffi::OsString,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    net::RecvFlags,
    process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid},
};

use crate::{
    SandboxError, boot_id,
    instance_dir::InstanceDir,
    protocol::{MAX_LINE_BYTES, Reply, Request},
    shim::{READY, REFUSED},
    spec::LaunchSpec,
    state::{InstanceState, Phase},
    sys::poll_set::PollSet,
};

/// How long a shim may take to take over, and to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a shim is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchMode {
    /// A new instance; a directory with a living one is refused.
    Start,
    /// Go on with the instance of the directory, whose shim is dead.
    Adopt,
}

/// A shim that this process has started.
#[derive(Debug)]
pub struct ShimHandle {
    pid: u32,
    pidfd: OwnedFd,
}

impl ShimHandle {
    /// Its pid. For people: the descriptor is what means it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Takes the shim's exit status if it has ended, so that no zombie stays. Readable
    /// [`as_fd`](AsFd::as_fd) says when.
    pub fn reap(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(None) => false,
            // Somebody else has reaped it.
            Ok(Some(_)) | Err(_) => true,
        }
    }
}

impl AsFd for ShimHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Starts a shim with `binary` and waits until it has taken over `dir`.
///
/// For a start the directory is made if it is missing (its parent is not); an adoption without an
/// instance is refused. The app itself is started after this returns: its state says how that went. For
/// a spec with `lifeline`, use [`spawn_tied_shim`].
pub fn spawn_shim(
    binary: &Path,
    dir: &Path,
    spec: &LaunchSpec,
    mode: LaunchMode,
) -> Result<ShimHandle, SandboxError> {
    spawn(binary, dir, spec, mode, None)
}

/// Like [`spawn_shim`], for an instance that ends when the other end of `lifeline`, the read end of
/// a pipe, is closed: by its owner, or by the owner's death.
pub fn spawn_tied_shim(
    binary: &Path,
    dir: &Path,
    spec: &LaunchSpec,
    mode: LaunchMode,
    lifeline: BorrowedFd<'_>,
) -> Result<ShimHandle, SandboxError> {
    spawn(binary, dir, spec, mode, Some(lifeline))
}

/// Starts a shim that brings the instance of `dir`, whose shim is dead, to its end: by its stop policy,
/// or within another grace period. It takes the output and the exit record, starts nothing, and needs
/// no spec.
pub fn spawn_ending_shim(
    binary: &Path,
    dir: &Path,
    grace: Option<Duration>,
) -> Result<ShimHandle, SandboxError> {
    let mut arguments: Vec<OsString> = vec!["--end".into()];
    if let Some(grace) = grace {
        arguments.extend(["--grace".into(), grace.as_millis().min(u64::MAX.into()).to_string().into()]);
    }
    launch(command(binary, dir, arguments, None), &dir.display().to_string(), &[])
}

fn spawn(
    binary: &Path,
    dir: &Path,
    spec: &LaunchSpec,
    mode: LaunchMode,
    lifeline: Option<BorrowedFd<'_>>,
) -> Result<ShimHandle, SandboxError> {
    spec.check()?;
    let instance = || spec.instance.clone();
    if spec.lifeline != lifeline.is_some() {
        let reason = "a lifeline is given exactly when the spec has one".to_owned();
        return Err(SandboxError::BadSpec { instance: instance(), reason });
    }
    let opened = match mode {
        LaunchMode::Start => InstanceDir::create(dir),
        LaunchMode::Adopt => InstanceDir::open(dir),
    };
    opened.map_err(|source| SandboxError::Directory { path: dir.to_owned(), source })?;
    let adopt = (mode == LaunchMode::Adopt).then(|| "--adopt".into());
    let mut json = serde_json::to_vec(spec)
        .map_err(|bad| SandboxError::Spawn { instance: instance(), source: bad.into() })?;
    let launched = launch(command(binary, dir, adopt.into_iter().collect(), lifeline), &spec.instance, &json);
    crate::spec::wipe(&mut json);
    launched
}

fn launch(mut command: Command, instance: &str, spec: &[u8]) -> Result<ShimHandle, SandboxError> {
    let instance = || instance.to_owned();
    let failed = |source: io::Error| SandboxError::Spawn { instance: instance(), source };
    let mut child = command.spawn().map_err(failed)?;
    let shim = handle_of(&child).map_err(failed)?;
    let deadline = Instant::now() + PATIENCE;
    let given = give_spec(child.stdin.take(), spec, deadline);
    match given.and_then(|()| read_answer(child.stdout.take(), deadline)) {
        Ok(Some(line)) if line == READY => Ok(shim),
        Ok(Some(line)) => {
            end(&shim);
            let reason = line.strip_prefix(REFUSED).unwrap_or(&line).to_owned();
            Err(SandboxError::Refused { instance: instance(), reason })
        }
        Ok(None) => {
            end(&shim);
            Err(SandboxError::NotReady { instance: instance(), waited: PATIENCE })
        }
        Err(source) => {
            end(&shim);
            Err(failed(source))
        }
    }
}

fn command(binary: &Path, dir: &Path, task: Vec<OsString>, lifeline: Option<BorrowedFd<'_>>) -> Command {
    let mut arguments: Vec<OsString> = vec!["shim".into(), "--dir".into(), dir.into()];
    arguments.extend(task);
    let mut command = Command::new(binary);
    if let Some(lifeline) = lifeline.map(|lifeline| lifeline.as_raw_fd()) {
        arguments.extend(["--lifeline".into(), lifeline.to_string().into()]);
        // SAFETY: between fork and exec only fcntl is called, which is async-signal-safe, and nothing
        // is allocated. The number is open: `spawn` borrows it until the child was forked, and the
        // child's own table of descriptors is a copy, so this process's is not changed.
        unsafe { command.pre_exec(move || crate::sys::descriptors::keep_over_exec(lifeline)) };
    }
    command.args(arguments).env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn handle_of(child: &Child) -> io::Result<ShimHandle> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    // Our child that nobody has reaped: the number is still its own.
    Ok(ShimHandle { pid: child.id(), pidfd: pidfd_open(pid, PidfdFlags::empty())? })
}

/// Writes the spec as far as the shim reads; one that does not is not ready in time.
fn give_spec(input: Option<ChildStdin>, spec: &[u8], deadline: Instant) -> io::Result<()> {
    let input = input.ok_or(io::ErrorKind::BrokenPipe)?;
    rustix::io::ioctl_fionbio(&input, true)?;
    let mut left = spec;
    while !left.is_empty() && Instant::now() < deadline {
        match rustix::io::write(&input, left) {
            Ok(length) => left = &left[length..],
            Err(rustix::io::Errno::AGAIN) => {
                let mut set = PollSet::new();
                set.add(input.as_fd(), false, true);
                set.wait(Some(deadline.saturating_duration_since(Instant::now())))?;
            }
            Err(rustix::io::Errno::INTR) => {}
            // It did not want to read: its answer says why.
            Err(rustix::io::Errno::PIPE) => return Ok(()),
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}

/// The shim's one line; `None` when it did not come in time.
fn read_answer(output: Option<ChildStdout>, deadline: Instant) -> io::Result<Option<String>> {
    let output = output.ok_or(io::ErrorKind::BrokenPipe)?;
    let mut line = Vec::new();
    loop {
        let mut set = PollSet::new();
        let place = set.add(output.as_fd(), true, false);
        set.wait(Some(deadline.saturating_duration_since(Instant::now())))?;
        if !set.is_ready(place) {
            if Instant::now() >= deadline {
                return Ok(None);
            }
            continue;
        }
        let mut buffer = [0; 1024];
        let length = rustix::io::read(&output, &mut buffer)?;
        line.extend_from_slice(&buffer[..length]);
        let end = line.iter().position(|&byte| byte == b'\n');
        if end.is_some() || length == 0 || line.len() > MAX_LINE_BYTES {
            line.truncate(end.unwrap_or(line.len()));
            let text = String::from_utf8_lossy(&line).into_owned();
            let ended = "it ended without a word".to_owned();
            return Ok(Some(if text.is_empty() { ended } else { text }));
        }
    }
}

/// Ends a shim that has not taken over.
fn end(shim: &ShimHandle) {
    // It may be gone already.
    let _ = pidfd_send_signal(&shim.pidfd, Signal::KILL);
    let _ = waitid(WaitId::PidFd(shim.pidfd.as_fd()), WaitIdOptions::EXITED);
}

/// A connection to the shim of `dir`; see [`crate::protocol`].
pub fn connect(dir: &Path) -> Result<UnixStream, SandboxError> {
    open(dir)?.connect_shim().map_err(|source| unreachable(dir, source))
}

/// Asks the shim of `dir` for one thing, and returns the state after it.
pub fn request(dir: &Path, request: &Request) -> Result<InstanceState, SandboxError> {
    converse(dir, request).map(|(_, state)| state)
}

/// Asks the shim of `dir` for something that goes on after its first answer, a subscription or an
/// attachment: the connection, read up to that answer's end and not a byte further, and the state.
pub fn converse(dir: &Path, request: &Request) -> Result<(UnixStream, InstanceState), SandboxError> {
    let stream = connect(dir)?;
    match exchange(&stream, request).map_err(|source| unreachable(dir, source))? {
        Reply::State(state) => Ok((stream, *state)),
        Reply::Refused(reason) => Err(SandboxError::NotDone { path: dir.to_owned(), reason }),
    }
}

fn exchange(mut stream: &UnixStream, request: &Request) -> io::Result<Reply> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let answer = read_line(stream)?;
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Reads to the first line end: looks first, and takes only what belongs to the line.
fn read_line(mut stream: &UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    while line.len() <= 2 * MAX_LINE_BYTES {
        let mut buffer = [0; 4096];
        let (seen, _) = rustix::net::recv(stream, &mut buffer[..], RecvFlags::PEEK)?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = buffer[..seen].iter().position(|&byte| byte == b'\n');
        let length = end.map_or(seen, |end| end + 1);
        stream.read_exact(&mut buffer[..length])?;
        line.extend_from_slice(&buffer[..length]);
        if end.is_some() {
            return Ok(line);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// The last state that was written, whoever lives. `None` when there never was one.
pub fn read_state(dir: &Path) -> Result<Option<InstanceState>, SandboxError> {
    let damaged =
        |bad: io::Error| SandboxError::Damaged { path: dir.join("state.json"), reason: bad.to_string() };
    match open(dir) {
        Ok(dir) => dir.read_state().map_err(damaged),
        Err(SandboxError::Directory { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(other) => Err(other),
    }
}

/// Who lives of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// There is no instance in the directory.
    Absent,
    /// A shim keeps it.
    Kept(Box<InstanceState>),
    /// Its shim is dead, init is alive (it may be about to end): adopt it, or end it.
    Orphaned(Box<InstanceState>),
    /// Nobody of it lives, and no shim has said how it ended: a shim that adopts finds out.
    Ended(Box<InstanceState>),
    /// It is over, and its state says how.
    Over(Box<InstanceState>),
}

/// Finds out who lives of the instance in `dir`: by the shim's lock, and by init's pid and start time.
pub fn observe(dir: &Path) -> Result<Observation, SandboxError> {
    let Some(mut state) = read_state(dir)?.map(Box::new) else { return Ok(Observation::Absent) };
    let failed = |source| unreachable(dir, source);
    let opened = open(dir)?;
    if opened.shim_pid().map_err(failed)?.is_some() {
        return Ok(Observation::Kept(state));
    }
    // It may have written its last state after we read and before it let go of the lock.
    if let Some(newest) = read_state(dir)? {
        *state = newest;
    }
    if state.has_ended() {
        return Ok(Observation::Over(state));
    }
    let is_this_boot = boot_id().is_ok_and(|now| now == state.boot_id);
    let may_live = is_this_boot && !matches!(state.phase, Phase::Backoff { .. });
    let lives = may_live && init_lives(&opened, &state).map_err(failed)?;
    Ok(if lives { Observation::Orphaned(state) } else { Observation::Ended(state) })
}

/// Init's socket closes a moment before the kernel kills what is inside, and a frozen init accepts
/// nobody: so who it is decides, and the socket only where a shim died before it could write that down.
fn init_lives(dir: &InstanceDir, state: &InstanceState) -> io::Result<bool> {
    if let Some(init) = state.init {
        return init.is_alive();
    }
    match dir.connect_init() {
        Ok(connection) => Ok(connection.is_some()),
        Err(busy) if busy.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(other) => Err(other),
    }
}

/// Makes sure that no shim takes the instance over any more; `false` when something of it lives.
///
/// For a directory that is about to be removed: an adoption that has begun by then finds nothing.
pub fn retire(dir: &Path) -> Result<bool, SandboxError> {
    let failed = |source| unreachable(dir, source);
    let opened = match open(dir) {
        Err(SandboxError::Directory { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(true);
        }
        other => other?,
    };
    let Some(_bar) = opened.bar().map_err(failed)? else { return Ok(false) };
    if let Observation::Orphaned(_) = observe(dir)? {
        return Ok(false);
    }
    opened.remove_state().map_err(failed)?;
    Ok(true)
}

fn open(dir: &Path) -> Result<InstanceDir, SandboxError> {
    InstanceDir::open(dir).map_err(|source| SandboxError::Directory { path: PathBuf::from(dir), source })
}

fn unreachable(dir: &Path, source: io::Error) -> SandboxError {
    SandboxError::Unreachable { path: dir.to_owned(), source }
}
