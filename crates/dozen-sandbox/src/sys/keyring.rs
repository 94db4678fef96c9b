//! The session keyring: an app must not possess the keys of whoever started the server.

use std::io;

use super::checked;

/// Joins a new, empty session keyring. A kernel without keyrings has nothing to leak.
pub(crate) fn join_empty_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: with a null name the kernel reads no memory and makes an anonymous keyring.
    let status = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0_usize) };
    match checked(status) {
        // EDQUOT: the user's key quota is used up; EPERM: a container's seccomp forbids keyrings,
        // and then nobody in it has one.
        Err(other) if !matches!(other.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Err(other),
        _ => Ok(()),
    }
}
