//! Who is at the other end of a local connection, as the kernel tells.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

use super::checked;

/// The uid of whoever connected. Not the pid: seen from inside a pid namespace, that of an outsider is 0.
/// (For this reason `rustix` cannot be used here: its pid cannot be 0.)
pub(crate) fn uid_of_peer(socket: impl AsFd) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: libc::uid_t::MAX, gid: libc::gid_t::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, the true size of `peer`, which is plain numbers
    // and lives during the call.
    let status = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    checked(status.into())?;
    Ok(peer.uid)
}
