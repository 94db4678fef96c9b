//! Writes a tree entry by entry, never through a symbolic link and never twice to one path.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::{SourceLimits, Tally, safe_parts};
use crate::error::{BuildError, shown, shown_path};

/// Fills one folder, which must be empty.
pub(super) struct TreeWriter {
    root: OwnedFd,
    tally: Tally,
    files: u64,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// Files and links; folders are none.
    pub files: u64,
}

impl TreeWriter {
    pub(super) fn new(folder: &Path, limits: SourceLimits) -> Result<Self, BuildError> {
        let doing = || BuildError::os(format!("open `{}`", shown_path(folder)));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(folder, flags, Mode::empty()).map_err(doing())?;
        if !crate::tree::entries_of(root.as_fd()).map_err(doing())?.is_empty() {
            return Err(doing()(Errno::NOTEMPTY));
        }
        Ok(Self { root, tally: Tally::new(limits), files: 0 })
    }

    pub(super) fn unpacked(&self) -> Unpacked {
        Unpacked { files: self.files }
    }

    /// Refuses a tree whose maker declares more entries than are allowed.
    pub(super) fn expect_entries(&self, declared: u64) -> Result<(), BuildError> {
        self.tally.allows(declared)
    }

    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Makes a folder; one that is there already stays.
    pub(super) fn folder(&mut self, path: &[u8]) -> Result<(), BuildError> {
        let parts = safe_parts(path)?;
        let before = self.tally.entries;
        self.open_folder(&parts, path)?;
        // One that was there already is an entry of the archive all the same.
        if self.tally.entries == before { self.tally.count_entry() } else { Ok(()) }
    }

    /// Writes a file from `content`, which is read to its end.
    pub(super) fn file(
        &mut self,
        path: &[u8],
        executable: bool,
        content: &mut dyn Read,
    ) -> Result<(), BuildError> {
        self.tally.count_entry()?;
        self.files += 1;
        let parts = safe_parts(path)?;
        let (name, above) = parts.split_last().ok_or_else(|| odd(path))?;
        let folder = self.open_folder(above, path)?;
        let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&folder, *name, flags, mode).map_err(creating(path))?;
        // The caller's umask must not decide.
        rustix::fs::fchmod(&file, mode).map_err(creating(path))?;
        let mut file = File::from(file);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = content.read(&mut buffer).map_err(|source| BuildError::BadArchive { source })?;
            if read == 0 {
                return Ok(());
            }
            self.tally.count_bytes(read as u64)?;
            file.write_all(&buffer[..read]).map_err(BuildError::io(format!("write `{}`", shown(path))))?;
        }
    }

    /// Makes a symbolic link; where it points is the caller's rule.
    pub(super) fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), BuildError> {
        self.tally.count_entry()?;
        self.files += 1;
        let parts = safe_parts(path)?;
        if target.is_empty() || target.len() > 4000 || target.contains(&0) {
            return Err(BuildError::EntryRefused {
                path: shown(path),
                rule: "its link target is not a path",
            });
        }
        let (name, above) = parts.split_last().ok_or_else(|| odd(path))?;
        let folder = self.open_folder(above, path)?;
        rustix::fs::symlinkat(target, &folder, *name).map_err(creating(path))
    }

    /// Opens a folder below the root, making what is missing; a link on the way is refused.
    /// Folders that only a path names count as well: they are made like others.
    fn open_folder(&mut self, parts: &[&[u8]], path: &[u8]) -> Result<OwnedFd, BuildError> {
        let mode = Mode::from_raw_mode(0o755);
        let mut folder = self.root.try_clone().map_err(BuildError::io("open a folder"))?;
        for part in parts {
            match rustix::fs::mkdirat(&folder, *part, mode) {
                Ok(()) => self.tally.count_entry()?,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(creating(path)(errno)),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = rustix::fs::openat(&folder, *part, flags, Mode::empty()).map_err(creating(path))?;
        }
        Ok(folder)
    }
}

fn odd(path: &[u8]) -> BuildError {
    BuildError::EntryRefused { path: shown(path), rule: "it has no name" }
}

fn creating(path: &[u8]) -> impl FnOnce(Errno) -> BuildError {
    let path = shown(path);
    move |errno| match errno {
        Errno::EXIST => BuildError::EntryRefused { path, rule: "the path comes twice" },
        Errno::LOOP | Errno::NOTDIR => {
            BuildError::EntryRefused { path, rule: "a part of the path is a file or a link" }
        }
        errno => BuildError::os(format!("write `{path}`"))(errno),
    }
}
