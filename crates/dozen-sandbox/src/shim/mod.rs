//! The shim: the keeper of one instance, outside its walls.
//!
//! A re-exec of the binary with one thread, so that it may fork. It is given a launch spec on standard
//! input, forks init, moves the app's output to log segments, starts the app again when it ends, and answers on
//! `shim.sock`. It needs nobody: control may come and go.
//!
//! ```text
//!             Start                       init and app gone
//! (nothing) --------> Starting -> Running ------------------> Backoff -> Starting …
//!             Adopt      ^           |                    \-> Exited
//! (any state) -----------+-----------+
//! ```
//!
//! A shim started with `--end` takes over as well, brings the instance to its end and needs no spec.
//!
//! kill -9 of it costs nothing: each step is in `state.json` before it is taken, bytes are in the
//! pipe or in the log, init writes the exit record, and another shim started with `--adopt` goes on
//! from there. A lock makes sure that there is one at a time. When the directory is removed, a running app
//! runs on to its end; then the shim ends too.
//!
//! It does not read what the app writes, has no settings of its own, and never touches another instance.
//!
//! Start reading at [`shim_main`], then [`keep`].

mod arguments;
mod attached;
mod backoff;
mod client;
mod incarnation;
mod keep;
mod log_writer;
mod output;
mod requests;
mod stopping;

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    process::ExitCode,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, Mode as FileMode, OFlags, openat},
    process::{setsid, umask},
};

use crate::{
    instance_dir::InstanceDir,
    spec::{LaunchSpec, wipe},
    support,
    sys::{descriptors, fork, lock, signals},
};
use arguments::{Arguments, Mode, Task};

/// A spec is mostly the config, which has 64 KiB, in base64.
const MAX_SPEC_BYTES: u64 = 4 << 20;
/// A dead shim's lock goes with it; a dying one may need a moment.
const LOCK_WAIT: Duration = Duration::from_secs(3);
/// What the shim says on standard output when it has taken over.
pub(crate) const READY: &str = "ready";
/// What stands before the reason when it has not.
pub(crate) const REFUSED: &str = "refused: ";

/// The shim's `main`, with the arguments after the word `shim`.
///
/// Call it before any thread or runtime exists; it returns when the instance is over.
pub fn shim_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match take_over(arguments) {
        Ok(Some(shim)) => shim.keep(),
        Ok(None) => ExitCode::SUCCESS,
        Err(reason) => {
            let line = format!("{REFUSED}{}\n", reason.replace('\n', " "));
            // Whoever started us is gone if this does not reach them.
            let _ = io::stdout().write_all(line.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn take_over(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<keep::Shim>, String> {
    let Arguments { task, lifeline } = Arguments::parse(arguments)?;
    // Both tasks fork without exec.
    if !fork::is_single_threaded() {
        return Err("the shim was started with more than one thread".into());
    }
    let lifeline = prepare(lifeline).map_err(|reason| format!("could not prepare the shim: {reason}"))?;
    let (dir, mode) = match task {
        Task::ProbeWalls => {
            support::print_probe().map_err(|reason| reason.to_string())?;
            return Ok(None);
        }
        Task::Keep { dir, mode } => (dir, mode),
    };
    let spec = if matches!(mode, Mode::End { .. }) { None } else { Some(read_spec()?) };
    spec.iter().try_for_each(LaunchSpec::check).map_err(|reason| reason.to_string())?;
    let opened = if mode == Mode::Start { InstanceDir::create(&dir) } else { InstanceDir::open(&dir) };
    let dir = opened.and_then(InstanceDir::require_own);
    let dir = dir.map_err(|reason| format!("could not use the directory: {reason}"))?;
    let lock = take_lock(&dir)?;
    let shim = keep::Shim::new(dir, lock, spec, mode, lifeline)?;
    say_ready().map_err(|reason| format!("could not let go of standard streams: {reason}"))?;
    Ok(Some(shim))
}

/// A session of its own, no descriptor but the standard ones and the lifeline, no signal that ends it.
fn prepare(lifeline: Option<i32>) -> io::Result<Option<OwnedFd>> {
    descriptors::close_all_but(&mut lifeline.into_iter().collect::<Vec<_>>())?;
    let lifeline = lifeline.map(descriptors::take_inherited).transpose()?;
    signals::reset_all()?;
    signals::ignore_requests_to_end()?;
    // The leader of a session already has one.
    let _ = setsid();
    umask(FileMode::WGRP | FileMode::RWXO);
    rustix::thread::set_name(c"dozen shim")?;
    rustix::process::chdir("/")?;
    Ok(lifeline)
}

fn read_spec() -> Result<LaunchSpec, String> {
    let mut json = Vec::with_capacity(64 << 10);
    let read = io::stdin().lock().take(MAX_SPEC_BYTES).read_to_end(&mut json);
    read.map_err(|reason| format!("could not read the launch spec: {reason}"))?;
    // The position says where; the message of the reader could quote a value.
    let spec = serde_json::from_slice(&json).map_err(|bad| {
        format!("the launch spec is not valid (line {}, column {})", bad.line(), bad.column())
    });
    wipe(&mut json);
    spec
}

fn take_lock(dir: &InstanceDir) -> Result<File, String> {
    let lock = dir.open_lock().map_err(|reason| format!("could not open the lock: {reason}"))?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match lock::try_lock(&lock) {
            Ok(true) => return Ok(lock),
            Ok(false) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Ok(false) => return Err("another shim keeps this instance".into()),
            Err(reason) => return Err(format!("could not take the lock: {reason}")),
        }
    }
}

/// Tells whoever started us, and lets go of the three streams that connect us.
fn say_ready() -> io::Result<()> {
    io::stdout().write_all(format!("{READY}\n").as_bytes())?;
    io::stdout().flush()?;
    let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, FileMode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
