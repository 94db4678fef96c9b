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

/// The supplementary groups of whoever connected, as they were then.
pub(crate) fn groups_of_peer(socket: impl AsFd) -> io::Result<Vec<u32>> {
    // Nearly everyone has fewer; the kernel says how much room it takes for the others.
    let mut groups = vec![0_u32; 64];
    loop {
        let mut length = libc::socklen_t::try_from(size_of_val(groups.as_slice())).unwrap_or(0);
        // SAFETY: the kernel writes at most `length` bytes, the true size of `groups`, whose elements are
        // plain numbers and which lives during the call.
        let status = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = length as usize / size_of::<u32>();
        match checked(status.into()) {
            Ok(_) => {
                groups.truncate(count);
                return Ok(groups);
            }
            Err(error) if error.raw_os_error() == Some(libc::ERANGE) && count > groups.len() => {
                groups.resize(count, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, os::unix::net::UnixStream};

    use super::*;

    #[test]
    fn the_groups_of_a_peer_are_those_of_its_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let own: BTreeSet<u32> =
            rustix::process::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        assert_eq!(BTreeSet::from_iter(groups_of_peer(&one).unwrap()), own);
    }
}
