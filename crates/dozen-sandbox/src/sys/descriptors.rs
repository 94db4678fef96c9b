//! Inherited descriptors: what must not reach a shim, init, an app or a server, and what shall.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
};

use super::checked;

/// Closes every descriptor above standard error but those in `keep`.
///
/// The caller must never touch an owned descriptor that is not in `keep` again, not even to drop it:
/// its number may by then be another file's. A shim owns none yet when it calls this; init, a fork of
/// the shim, has all of the shim's and ends by `_exit`.
pub(crate) fn close_all_but(keep: &mut [RawFd]) -> io::Result<()> {
    keep.sort_unstable();
    let mut first: RawFd = 3;
    for &kept in keep.iter().filter(|&&fd| fd > 2) {
        if kept > first {
            close_range(first, kept.cast_unsigned() - 1, 0)?;
        }
        first = first.max(kept + 1);
    }
    close_range(first, u32::MAX, 0)
}

/// Marks every descriptor above standard error to be closed by exec: an app starts with stdio and
/// nothing else, and a server that is left behind keeps no lock or pipe of who called it.
pub fn close_all_on_exec() -> io::Result<()> {
    close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: RawFd, last: u32, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: close_range takes no pointers. Owned descriptors that it closes are never used again:
    // that is `close_all_but`'s condition, and with the exec flag nothing is closed now.
    let status = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    checked(status).map(drop)
}

/// Takes a descriptor that was inherited by number, as `--lifeline FD` names one.
pub(crate) fn take_inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_SETFD takes no pointer; on a number that is not open it answers EBADF.
    let status = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    checked(status.into())?;
    // SAFETY: it is open, as the call above proved, and above stdio, as the arguments' reader made
    // sure; the shim calls this once, when it has closed all others and before it owns any, so
    // nobody else closes this number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets exec inherit a descriptor. For a child between fork and exec: it only makes a system call.
pub(crate) fn keep_over_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFD takes no pointer; on a number that is not open it answers EBADF.
    let status = unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
    checked(status.into()).map(drop)
}
