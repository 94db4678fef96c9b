//! The walls around an instance, and the two processes that keep it: shim and init.
//!
//! ```text
//! control --spawns--> shim (outside, single-threaded) --clone--> init (pid 1 inside) --fork--> the app
//!                      | splices the app's output to log segments     | reaps, signals, writes the exit record
//! ```
//!
//! **The promise**: kill -9 of control or of the shim at any moment loses no line that the app has
//! written, no exit status and no app. Bytes are either in the pipe, whose read end init holds too,
//! or in the file, because they are spliced; the exit status is written by init before it exits.
//! The death of init is the death of the instance.
//!
//! - [`spec`] says what to start, [`client`] starts it and talks to it: this is what control uses.
//! - [`shim_main`] is the entry of the shim; the binary calls it before any thread exists.
//! - [`state`], [`protocol`] are the words between the two, also on disk.
//! - [`support`] says which walls this machine can give, [`listeners`] where an app listens,
//!   [`descendants`] which processes are inside.
//!
//! This crate has all of the project's `unsafe`, in `sys`. It has no network, no store, no async runtime,
//! and knows nothing of apps, stages or releases.
//!
//! **The walls today**: mount, pid, ipc and uts namespaces, a root of our making, an own uid
//! (or a user namespace for an ordinary user), no capabilities, no new privileges, and for build steps
//! an empty network. Seccomp, landlock, cgroups and a private network for apps are not built yet;
//! their places are marked in `walls`.

pub mod client;
pub mod descendants;
mod error;
mod exit_record;
mod init;
mod instance_dir;
pub mod listeners;
mod process_identity;
pub mod protocol;
mod shim;
mod socket_path;
pub mod spec;
pub mod state;
mod streams;
pub mod support;
mod sys;
mod walls;

pub use error::SandboxError;
pub use process_identity::{ProcessIdentity, boot_id};
pub use shim::shim_main;
pub use socket_path::SocketPath;
pub use sys::descriptors::close_all_on_exec;

/// The supplementary groups of whoever connected to a unix socket, as they were at that moment.
///
/// # Errors
/// What the kernel says; before Linux 4.13 it does not know the question.
pub fn groups_of_peer(socket: impl std::os::fd::AsFd) -> std::io::Result<Vec<u32>> {
    sys::peer::groups_of_peer(socket)
}
