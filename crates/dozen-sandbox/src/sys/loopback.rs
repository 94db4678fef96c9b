//! The loopback device of a network namespace: there from the start, but down.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::checked;

/// Brings `lo` up in this process's network namespace, which gives it 127.0.0.1 and ::1.
pub(crate) fn bring_up_loopback() -> io::Result<()> {
    let socket: OwnedFd = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all of `ifreq` is plain numbers, for which zero bytes are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_UP).expect("the flag is bit 0, and the field has 16");
    // SAFETY: the kernel reads one `ifreq`, whose name ends with the NUL after its two letters;
    // `request` is of that type and lives during the call.
    let status = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    checked(libc::c_long::from(status)).map(drop)
}
