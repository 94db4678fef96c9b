//! The app's process: from init's fork to the app's program.

use std::{
    ffi::{CString, OsStr},
    fs,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    pipe::{PipeFlags, pipe_with},
    process::{Resource, ioctl_tiocsctty, setsid},
};

use crate::{
    spec::{ByteString, CommandSpec, LaunchSpec, Limits},
    state::NOT_FOUND,
    streams::AppEnds,
    sys::{descriptors, exec, fork, resource_limits, signals},
    walls::{Naming as _, Step, WallError},
};

const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// The app's main process.
pub(super) struct Main {
    /// Its pid inside.
    pub(super) pid: u32,
    /// Means it from anywhere.
    pub(super) pidfd: OwnedFd,
}

/// Forks and execs the app's program; returns when it runs, or with the reason why it does not.
pub(super) fn start(spec: &LaunchSpec, ends: AppEnds, has_terminal: bool) -> Step<Main> {
    let naming = || "start the app's process".to_owned();
    let (reasons, report) = pipe_with(PipeFlags::CLOEXEC).step(naming)?;
    match fork::fork_app().step(naming)? {
        fork::Forked::Child => {
            let reason = match become_app(spec, ends, has_terminal) {
                Err(reason) => reason.to_string(),
                Ok(never) => match never {},
            };
            // If init does not hear it, there is nobody else to tell.
            let _ = fs::File::from(report).write_all(reason.as_bytes());
            fork::exit_now(127)
        }
        fork::Forked::Parent(pid, pidfd) => {
            drop((report, ends));
            let mut reason = String::new();
            // Exec closes the other end: its end without a word is the app's beginning.
            fs::File::from(reasons).read_to_string(&mut reason).step(naming)?;
            if reason.is_empty() { Ok(Main { pid, pidfd }) } else { Err(WallError::InWords(reason)) }
        }
    }
}

enum Never {}

fn become_app(spec: &LaunchSpec, ends: AppEnds, has_terminal: bool) -> Step<Never> {
    signals::reset_all().step(|| "reset signals".into())?;
    setsid().step(|| "begin a session".into())?;
    place_streams(ends, has_terminal).step(|| "place the standard streams".into())?;
    limit(spec.limits).step(|| "set resource limits".into())?;
    let cwd = &spec.command.cwd;
    rustix::process::chdir(cwd).step(|| format!("enter the working directory `{}`", cwd.display()))?;
    descriptors::close_all_on_exec().step(|| "close descriptors".into())?;
    exec_program(&spec.command)
}

fn place_streams(ends: AppEnds, has_terminal: bool) -> io::Result<()> {
    let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let or_null = |end: &Option<OwnedFd>| end.as_ref().unwrap_or(&null).as_fd().try_clone_to_owned();
    let (input, output, error) = (or_null(&ends.input)?, or_null(&ends.output)?, or_null(&ends.error)?);
    if has_terminal {
        ioctl_tiocsctty(&input)?;
    }
    rustix::stdio::dup2_stdin(&input)?;
    rustix::stdio::dup2_stdout(&output)?;
    rustix::stdio::dup2_stderr(&error)?;
    Ok(())
}

fn limit(limits: Limits) -> io::Result<()> {
    let wanted = [
        (Resource::Nofile, limits.open_files),
        (Resource::Nproc, limits.processes),
        (Resource::As, limits.address_space),
        // A core dump holds the config, and the machine's handler would run outside the walls.
        (Resource::Core, Some(0)),
    ];
    let given = wanted.into_iter().filter_map(|(resource, limit)| Some((resource, limit?)));
    given.into_iter().try_for_each(|(resource, limit)| resource_limits::lower(resource, limit))
}

fn exec_program(command: &CommandSpec) -> Step<Never> {
    let program = command.argv.first().map(ByteString::as_bytes).unwrap_or_default();
    let name = Path::new(OsStr::from_bytes(program)).display().to_string();
    let name: String = name.escape_debug().take(200).collect();
    let c_string = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
    let assignment = |(name, value): &(ByteString, ByteString)| {
        c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let argv: io::Result<Vec<_>> = command.argv.iter().map(|word| c_string(word.as_bytes())).collect();
    let env: io::Result<Vec<_>> = command.env.iter().map(assignment).collect();
    let (argv, env) = (argv.step(|| "read the command".into())?, env.step(|| "read the config".into())?);
    let mut refusal = None;
    for candidate in candidates(program, command) {
        let path = c_string(candidate.as_os_str().as_bytes()).step(|| "read `PATH`".into())?;
        let reason = exec::exec(&path, &argv, &env);
        match reason.raw_os_error() {
            // A script whose interpreter is missing gives ENOENT as well.
            Some(libc::ENOENT) if candidate.exists() => {
                let what = || format!("execute `{name}`, whose interpreter is not inside the walls");
                return Err(reason).step(what);
            }
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            Some(libc::EACCES) => refusal = Some(reason),
            _ => return Err(reason).step(|| format!("execute `{name}`")),
        }
    }
    match refusal {
        Some(reason) => Err(reason).step(|| format!("execute `{name}`")),
        None => {
            let place = if program.contains(&b'/') { "" } else { " in `PATH`" };
            Err(WallError::InWords(format!("{NOT_FOUND} `{name}`{place}")))
        }
    }
}

/// The paths that a program's name may mean, in order.
fn candidates(program: &[u8], command: &CommandSpec) -> Vec<PathBuf> {
    let as_path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    if program.contains(&b'/') {
        return vec![as_path(program)];
    }
    let path = command.env.iter().find(|(name, _)| name.as_bytes() == b"PATH");
    let path = path.map_or(DEFAULT_PATH, |(_, value)| value.as_bytes());
    // An empty part would mean the working directory, and an app does not want to mean that.
    path.split(|&byte| byte == b':')
        .filter(|part| !part.is_empty())
        .map(|part| as_path(part).join(as_path(program)))
        .collect()
}
