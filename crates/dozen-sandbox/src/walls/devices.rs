//! A small `/dev`: six devices that every program expects, shared memory, and a terminal if asked for.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Gid, Mode, OFlags, Uid, fchown, openat},
    pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use super::{
    Naming as _, Step, mounts,
    place::{self, Kind},
};
use crate::spec::{TerminalSize, WallsUser};

const NODES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];
const LINKS: [(&str, &str); 4] =
    [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")];

/// Builds `/dev` below `root`.
pub(super) fn build(root: &OwnedFd, shared_memory_bytes: u64, terminals: bool) -> Step<()> {
    let dev = place::make(root, Path::new("/dev"), Kind::Directory).step(|| "make `/dev`".into())?;
    for name in NODES {
        bind_node(&dev, name).step(|| format!("show the device `/dev/{name}`"))?;
    }
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, &dev, name).step(|| format!("make the link `/dev/{name}`"))?;
    }
    let memory = mounts::memory(shared_memory_bytes, "1777").step(|| "make an own `/dev/shm`".into())?;
    attach(dev.as_fd(), "shm", &memory)?;
    if terminals {
        let terminals = mounts::terminals().step(|| "make an own `/dev/pts`".into())?;
        attach(dev.as_fd(), "pts", &terminals)?;
        rustix::fs::symlinkat("pts/ptmx", &dev, "ptmx").step(|| "make the link `/dev/ptmx`".into())?;
    }
    Ok(())
}

fn attach(dev: BorrowedFd<'_>, name: &str, mount: &OwnedFd) -> Step<()> {
    let place = place::make(dev, Path::new(name), Kind::Directory).step(|| format!("make `/dev/{name}`"))?;
    mounts::attach(mount, &place).step(|| format!("mount `/dev/{name}`"))
}

/// A device can't be made in a user namespace, so the host's is shown.
fn bind_node(dev: &OwnedFd, name: &str) -> io::Result<()> {
    let (node, _) = mounts::copy_of_tree(&Path::new("/dev").join(name))?;
    let place = place::make(dev, Path::new(name), Kind::File)?;
    mounts::attach(&node, &place)
}

/// Both ends of a terminal.
pub(crate) struct Terminal {
    /// Held by init and the shim.
    pub(crate) keyboard_and_screen: OwnedFd,
    /// The app's standard input, output and error output.
    pub(crate) line: OwnedFd,
}

/// Opens a terminal of the instance's own `/dev/pts`; called inside the new root.
pub(super) fn open_terminal(size: TerminalSize, user: WallsUser) -> Step<Terminal> {
    let open = || -> io::Result<Terminal> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let keyboard_and_screen = openat(CWD, "/dev/pts/ptmx", flags, Mode::empty())?;
        unlockpt(&keyboard_and_screen)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let line = ioctl_tiocgptpeer(&keyboard_and_screen, flags)?;
        set_size(&line, size)?;
        fchown(&line, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))?;
        Ok(Terminal { keyboard_and_screen, line })
    };
    open().step(|| "open a terminal".into())
}

/// Tells a terminal its size; the programs on it get SIGWINCH.
pub(crate) fn set_size(terminal: impl AsFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, size)?)
}
