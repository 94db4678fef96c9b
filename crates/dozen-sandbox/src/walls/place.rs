//! Where a mount goes: a descriptor of the target, made on the way, with no symbolic link followed.
//!
//! A layer or a volume is hostile: `/app/media` may be a link to `/etc`. Each part of a path is opened
//! on its own, and a link is refused wherever it stands.

use std::{
    io::{self, Write as _},
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path},
};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};

const NEW_DIRECTORY: Mode = Mode::from_raw_mode(0o755);
const NEW_FILE: Mode = Mode::from_raw_mode(0o644);

/// What a mount covers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A directory covers a directory.
    Directory,
    /// Anything else covers a file.
    File,
}

/// Opens `path` below `root`, making what is missing of it.
pub(super) fn make(root: impl AsFd, path: &Path, kind: Kind) -> io::Result<OwnedFd> {
    let mut parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let last = parts.next_back().ok_or(io::ErrorKind::InvalidInput)?;
    let mut parent = open_part(&root, Path::new("."), Kind::Directory)?;
    for name in parts {
        parent = make_part(&parent, Path::new(name), Kind::Directory)?;
    }
    make_part(&parent, Path::new(last), kind)
}

fn make_part(parent: &OwnedFd, name: &Path, kind: Kind) -> io::Result<OwnedFd> {
    match open_part(parent, name, kind) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    match kind {
        Kind::Directory => mkdirat(parent, name, NEW_DIRECTORY)?,
        Kind::File => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            drop(openat(parent, name, flags, NEW_FILE)?);
        }
    }
    open_part(parent, name, kind)
}

fn open_part(parent: impl AsFd, name: &Path, kind: Kind) -> io::Result<OwnedFd> {
    let directory = if kind == Kind::Directory { OFlags::DIRECTORY } else { OFlags::empty() };
    // Without O_NOFOLLOW: with it, the last part may be a link, and the descriptor would be the link itself.
    let flags = OFlags::PATH | OFlags::CLOEXEC | directory;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::BENEATH;
    Ok(openat2(parent, name, flags, Mode::empty(), resolve)?)
}

/// Writes a new file below `root`.
pub(super) fn write_file(root: impl AsFd, path: &str, content: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(root, path, flags, NEW_FILE)?;
    std::fs::File::from(file).write_all(content)
}
