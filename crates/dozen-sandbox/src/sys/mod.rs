//! System calls that `rustix` does not have or cannot make safe, each named after its purpose.
//!
//! All of the project's `unsafe` is in this folder.

pub(crate) mod capabilities;
pub(crate) mod descriptors;
pub(crate) mod exec;
pub(crate) mod fork;
pub(crate) mod keyring;
pub(crate) mod lock;
pub(crate) mod loopback;
pub(crate) mod messages;
pub(crate) mod mount_attributes;
pub(crate) mod peer;
pub(crate) mod poll_set;
pub(crate) mod resource_limits;
pub(crate) mod signals;

use std::io;

/// A system call's result, where −1 means `errno`.
fn checked(status: libc::c_long) -> io::Result<libc::c_long> {
    if status == -1 { Err(io::Error::last_os_error()) } else { Ok(status) }
}
