//! The two births: init with namespaces of its own, and the app as init's child.
//!
//! Both copy the process without exec. That is sound because shim and init have one thread: no lock
//! can be held by a thread that does not exist in the copy. [`is_single_threaded`] is checked first.

use std::{
    fs, io,
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
};

use super::checked;

/// Which side of a fork this is.
pub(crate) enum Forked {
    /// The old process; the child's pid, and a descriptor that means it and no other.
    Parent(u32, OwnedFd),
    /// The new process.
    Child,
}

/// Whether this process has one thread and so may fork without exec.
pub(crate) fn is_single_threaded() -> bool {
    fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// The namespaces of init that depend on who starts it and what for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Namespaces {
    /// A user namespace, without which an ordinary user may make no other.
    pub(crate) user: bool,
    /// A network namespace; one that is owned by the user namespace beside it.
    pub(crate) network: bool,
}

/// Forks init as pid 1 of new mount, pid, ipc and uts namespaces, and of those that are asked for.
pub(crate) fn fork_init(namespaces: Namespaces) -> io::Result<Forked> {
    // Later: CLONE_NEWCGROUP with cgroup limits.
    let mut walls = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if namespaces.user {
        walls |= libc::CLONE_NEWUSER;
    }
    if namespaces.network {
        walls |= libc::CLONE_NEWNET;
    }
    fork(walls)
}

/// Forks the app's process to be.
pub(crate) fn fork_app() -> io::Result<Forked> {
    fork(0)
}

fn fork(namespaces: libc::c_int) -> io::Result<Forked> {
    let mut pidfd: RawFd = -1;
    let flags = libc::c_long::from(namespaces | libc::CLONE_PIDFD | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with no stack given, the child is a copy on its own copy of this
    // stack, as after fork; the process has one thread (see the top of the file). The kernel writes
    // the pidfd to `pidfd`, which outlives the call. The last two arguments, whose order depends on
    // the architecture, are unused and zero.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, &raw mut pidfd, 0_usize, 0_usize) };
    match checked(pid)? {
        0 => Ok(Forked::Child),
        pid => {
            // SAFETY: the call succeeded in the parent, so the kernel has just opened this descriptor for us.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = u32::try_from(pid).expect("a pid is positive and fits 22 bits");
            Ok(Forked::Parent(pid, pidfd))
        }
    }
}

/// Ends this process now, without running anything of the program it was copied from.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes a number and does not return; skipping destructors is its purpose, since
    // a copied process must not flush or delete what belongs to its parent.
    unsafe { libc::_exit(status) }
}
