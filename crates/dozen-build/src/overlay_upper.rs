//! The upper folder of an asset step: made so that the build's user can write, tidied afterwards.
//!
//! In an overlay a folder that exists in both takes its owner and mode from the upper one. Layers
//! belong to the store's owner, so every folder of the app that a step may write to is made in the
//! upper folder first. Afterwards those that nothing was written to are removed, and an opaque
//! folder (one that was removed and made anew) is spelled out as whiteouts, since the mark itself
//! is an attribute that a copy loses.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
};

use crate::{
    error::{BuildError, shown_path},
    tree::{Tree, entries_of},
    tree_copy::{DEEPEST, too_deep},
};

/// Folders of packages: far too many to make, and nothing writes there but what is listed.
const PACKAGE_FOLDERS: [&[u8]; 2] = [b".venv", b"node_modules"];

/// The attributes that mark an opaque folder, for root and for an ordinary user.
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];

/// Makes the folders of `lower` in `upper`, and `extra` ones, which are relative paths.
pub(crate) fn prepare(upper: &Path, lower: &Path, extra: &[PathBuf]) -> Result<(), BuildError> {
    let doing = "make the folders of the asset step";
    let (upper_tree, lower_tree) = (Tree::open(upper)?, Tree::open(lower)?);
    make_folders(upper_tree.root(), lower_tree.root(), true).map_err(BuildError::os(doing))?;
    for path in extra {
        std::fs::create_dir_all(upper.join(path)).map_err(BuildError::io(doing))?;
    }
    Ok(())
}

fn make_folders(upper: BorrowedFd<'_>, lower: BorrowedFd<'_>, is_top: bool) -> Result<(), Errno> {
    for (name, kind) in entries_of(lower)? {
        if kind != FileType::Directory || (is_top && PACKAGE_FOLDERS.contains(&name.as_slice())) {
            continue;
        }
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::mkdirat(upper, name.as_slice(), mode)?;
        make_folders(open(upper, &name)?.as_fd(), open(lower, &name)?.as_fd(), false)?;
    }
    Ok(())
}

fn open(folder: BorrowedFd<'_>, name: &[u8]) -> Result<std::os::fd::OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// Tidies `upper` after the step: see the module's text.
pub(crate) fn settle(upper: &Path, lowers: &[PathBuf]) -> Result<(), BuildError> {
    let root = Tree::open(upper)?;
    let lowers = lowers.iter().map(|path| Tree::open(path)).collect::<Result<Vec<_>, _>>()?;
    let lowers: Vec<BorrowedFd<'_>> = lowers.iter().map(Tree::root).collect();
    let settled = settle_folder(root.root(), &lowers, 0);
    match settled.map_err(BuildError::os("tidy up after the asset step"))? {
        Settled::TooDeep => Err(too_deep(shown_path(upper))),
        Settled::Empty | Settled::Full => Ok(()),
    }
}

/// What a folder is when it was tidied.
enum Settled {
    Empty,
    Full,
    TooDeep,
}

fn settle_folder(upper: BorrowedFd<'_>, lowers: &[BorrowedFd<'_>], depth: usize) -> Result<Settled, Errno> {
    if depth > DEEPEST {
        return Ok(Settled::TooDeep);
    }
    let mut left = 0;
    let entries = entries_of(upper)?;
    for (name, kind) in &entries {
        left += 1;
        if *kind != FileType::Directory {
            continue;
        }
        let inner = open(upper, name)?;
        let below: Vec<_> = lowers.iter().filter_map(|lower| open(*lower, name).ok()).collect();
        let below: Vec<BorrowedFd<'_>> = below.iter().map(AsFd::as_fd).collect();
        if is_opaque(inner.as_fd()) {
            white_out(inner.as_fd(), &below)?;
        }
        match settle_folder(inner.as_fd(), &below, depth + 1)? {
            Settled::TooDeep => return Ok(Settled::TooDeep),
            Settled::Empty if !below.is_empty() => {
                rustix::fs::unlinkat(upper, name.as_slice(), rustix::fs::AtFlags::REMOVEDIR)?;
                left -= 1;
            }
            Settled::Empty | Settled::Full => {}
        }
    }
    Ok(if left == 0 { Settled::Empty } else { Settled::Full })
}

fn is_opaque(folder: BorrowedFd<'_>) -> bool {
    let mut value = [0_u8; 4];
    OPAQUE.iter().any(|name| {
        rustix::fs::fgetxattr(folder, *name, &mut value[..]).is_ok_and(|n| n == 1) && value[0] == b'y'
    })
}

/// Marks as removed what the layers below have in a folder and the upper one has not.
fn white_out(upper: BorrowedFd<'_>, below: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let present: BTreeSet<Vec<u8>> = entries_of(upper)?.into_iter().map(|(name, _)| name).collect();
    let mut gone = BTreeSet::new();
    for lower in below {
        gone.extend(
            entries_of(*lower)?.into_iter().map(|(name, _)| name).filter(|name| !present.contains(name)),
        );
    }
    for name in gone {
        rustix::fs::mknodat(upper, name.as_slice(), FileType::CharacterDevice, Mode::empty(), 0)?;
    }
    Ok(())
}
