//! Signals: what shim and init ignore, what an app starts with, and how init sends one.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd},
    ptr,
};

use super::checked;

fn set_of(signals: &[libc::c_int]) -> libc::sigset_t {
    // SAFETY: sigset_t is plain bits, for which all zeros is a value; the calls below write to it
    // and answer an error for a bad number, which the constants passed here are not.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

fn set_disposition(signal: libc::c_int, disposition: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: sigaction is plain numbers and a set; zero is "no flags, empty mask", and the
    // disposition is SIG_DFL or SIG_IGN: no code of ours ever runs in a handler.
    let status = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = disposition;
        libc::sigaction(signal, &raw const action, ptr::null_mut())
    };
    checked(status.into()).map(drop)
}

/// Ignores what a terminal sends: shim and init end when their instance does. What a shutdown sends
/// is ignored too, but the shim hears of it by [`requests_to_end`].
pub(crate) fn ignore_requests_to_end() -> io::Result<()> {
    let requests = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGPIPE];
    requests.into_iter().try_for_each(|signal| set_disposition(signal, libc::SIG_IGN))
}

/// Every signal back to its default, none blocked: what an app expects to start with.
pub(crate) fn reset_all() -> io::Result<()> {
    for signal in 1..=64 {
        // SIGKILL, SIGSTOP and two that the C library keeps cannot be set, and need not be.
        let _ = set_disposition(signal, libc::SIG_DFL);
    }
    let none = set_of(&[]);
    // SAFETY: reads one set from this stack; a null old set is allowed.
    let status = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()) };
    checked(status.into()).map(drop)
}

/// A descriptor that is readable when a child has ended.
pub(crate) fn child_ends() -> io::Result<OwnedFd> {
    descriptor_of(libc::SIGCHLD)
}

/// A descriptor that is readable when SIGTERM has come. A blocked signal is kept even where it is ignored.
pub(crate) fn requests_to_end() -> io::Result<OwnedFd> {
    descriptor_of(libc::SIGTERM)
}

fn descriptor_of(signal: libc::c_int) -> io::Result<OwnedFd> {
    let set = set_of(&[signal]);
    // SAFETY: both calls read one set from this stack and write nothing.
    let fd = unsafe {
        checked(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()).into())?;
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    checked(fd.into())?;
    // SAFETY: signalfd succeeded, so this descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to one process of this pid namespace.
pub(crate) fn signal_one(pid: u32, signal: i32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    // Zero and negative numbers mean groups.
    if pid < 1 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: kill takes numbers only.
    checked(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Sends a signal to every process of the pid namespace that this process is pid 1 of.
///
/// Anywhere else this would signal every process of the user, so anybody but pid 1 is refused.
pub(crate) fn signal_everyone_inside(signal: i32) -> io::Result<()> {
    if std::process::id() != 1 || std::os::unix::process::parent_id() != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    // SAFETY: kill takes numbers only; −1 reaches the processes of this pid namespace, of which
    // the check above shows that this one is the init with its parent outside.
    match checked(unsafe { libc::kill(-1, signal) }.into()) {
        // Nobody is left.
        Err(nobody) if nobody.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other.map(drop),
    }
}
