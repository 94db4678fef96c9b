//! Flags of a whole mount tree, set in one call before anybody can reach it.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

use super::checked;

/// What a mount may not do.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// No writes, no set-user-id programs, no devices.
    ReadOnly,
    /// Writes, but no set-user-id programs and no devices.
    Writable,
}

/// Restricts a mount and all mounts below it.
pub(crate) fn restrict_tree(mount: impl AsFd, access: Access) -> io::Result<()> {
    set(mount, access, libc::AT_RECURSIVE)
}

/// Restricts this mount alone.
pub(crate) fn restrict_one(mount: impl AsFd, access: Access) -> io::Result<()> {
    set(mount, access, 0)
}

fn set(mount: impl AsFd, access: Access, recursive: libc::c_int) -> io::Result<()> {
    let read_only = match access {
        Access::ReadOnly => libc::MOUNT_ATTR_RDONLY,
        Access::Writable => 0,
    };
    let attributes = libc::mount_attr {
        attr_set: read_only | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is an empty string with its NUL; `attributes` lives during the call and its
    // true size is passed, so the kernel reads no further.
    let status = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    checked(status).map(drop)
}
