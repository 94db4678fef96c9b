//! The lock that says which process is the shim of an instance.
//!
//! A lock of the process kind (`F_SETLK`): init, a fork, does not inherit it, so it is free as soon
//! as the shim is dead, whatever else lives. Closing *any* descriptor of the file would drop it, so
//! the shim opens the file once.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

use super::checked;

fn whole_file() -> libc::flock {
    // SAFETY: flock is plain numbers, for which all zeros is a value: offset 0, length 0 (to the end).
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    // The constants are small; their type differs from the field's on some C libraries.
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

/// Takes the lock if nobody has it.
pub(crate) fn try_lock(file: impl AsFd) -> io::Result<bool> {
    let lock = whole_file();
    // SAFETY: F_SETLK reads one flock, which lives on this stack during the call.
    let status = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_SETLK, &raw const lock) };
    match checked(status.into()) {
        Ok(_) => Ok(true),
        Err(taken) if matches!(taken.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(other) => Err(other),
    }
}

/// Keeps every shim away as long as `file` is open, if none has the lock. A lock of the open file and not
/// of the process, whose other threads look at the same file and would drop it.
pub(crate) fn try_bar(file: impl AsFd) -> io::Result<bool> {
    let lock = whole_file();
    // SAFETY: F_OFD_SETLK reads one flock, whose pid is 0 as it wants, and which lives on this stack.
    let status = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    match checked(status.into()) {
        Ok(_) => Ok(true),
        Err(taken) if matches!(taken.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(other) => Err(other),
    }
}

/// The pid of the process that holds the lock.
pub(crate) fn holder(file: impl AsFd) -> io::Result<Option<u32>> {
    let mut lock = whole_file();
    // SAFETY: F_GETLK reads and writes one flock, which lives on this stack during the call.
    let status = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_GETLK, &raw mut lock) };
    checked(status.into())?;
    let is_free = lock.l_type == libc::F_UNLCK as libc::c_short;
    Ok(if is_free { None } else { u32::try_from(lock.l_pid).ok() })
}
