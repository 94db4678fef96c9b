//! Reads a hostile tree: every open stays below the root and follows no symbolic link.
//!
//! The kernel keeps the promise (`openat2` with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`), not a
//! check before the open. A link where a file was expected is an error that names the link and
//! quotes nothing.

use std::{
    fs::File,
    io::Read,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use crate::error::{BuildError, shown, shown_path};

/// The largest file that decides about a build (a lock file of a large app has a few MiB).
const LARGEST_READ: u64 = 32 << 20;

/// A directory tree that somebody else wrote.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    path: PathBuf,
}

impl Tree {
    /// Opens the root; a root that is itself a symbolic link is refused.
    pub fn open(path: &Path) -> Result<Self, BuildError> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let root = rustix::fs::open(path, flags, Mode::empty())
            .map_err(BuildError::os(format!("open `{}`", shown_path(path))))?;
        Ok(Self { root, path: path.to_owned() })
    }

    /// Where the root is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The root's descriptor.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// What `name` is, a symbolic link as such; `None` when it is not there.
    pub fn kind(&self, name: &str) -> Option<FileType> {
        let opened = open_below(self.root(), Path::new(name), OFlags::PATH | OFlags::NOFOLLOW);
        match opened {
            Ok(fd) => rustix::fs::fstat(&fd).ok().map(|stat| FileType::from_raw_mode(stat.st_mode)),
            // With NO_SYMLINKS a link as the last part is refused even for O_PATH.
            Err(Errno::LOOP) => Some(FileType::Symlink),
            Err(_) => None,
        }
    }

    /// Whether `name` is a regular file.
    pub fn is_file(&self, name: &str) -> bool {
        self.kind(name) == Some(FileType::RegularFile)
    }

    /// The content of a file, or `None` when it is not there. A link, a file of another kind, and
    /// one that is too large are errors.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, BuildError> {
        let bad =
            |reason: &str| BuildError::BadFile { path: shown(name.as_bytes()), reason: reason.to_owned() };
        let fd = match open_below(self.root(), Path::new(name), OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(Errno::LOOP) => return Err(BuildError::LinkedFile { path: shown(name.as_bytes()) }),
            Err(Errno::XDEV) => return Err(bad("it leads out of the tree")),
            Err(errno) => return Err(BuildError::os(format!("open `{}`", shown(name.as_bytes())))(errno)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(BuildError::os("read a file's size"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(bad("it is not a regular file"));
        }
        let mut content = Vec::new();
        File::from(fd)
            .take(LARGEST_READ + 1)
            .read_to_end(&mut content)
            .map_err(BuildError::io(format!("read `{}`", shown(name.as_bytes()))))?;
        if content.len() as u64 > LARGEST_READ {
            Err(bad("it is larger than 32 MiB"))
        } else {
            Ok(Some(content))
        }
    }

    /// The content of a text file.
    pub fn text(&self, name: &str) -> Result<Option<String>, BuildError> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(|_| BuildError::BadFile {
            path: shown(name.as_bytes()),
            reason: "it is not UTF-8 text".into(),
        })
    }

    /// The names in a folder with what they are, sorted; empty when there is no such folder.
    pub fn list(&self, folder: &str) -> Vec<(String, FileType)> {
        let Ok(fd) = open_below(self.root(), Path::new(folder), OFlags::RDONLY | OFlags::DIRECTORY) else {
            return Vec::new();
        };
        let entries = entries_of(fd.as_fd()).unwrap_or_default();
        entries.into_iter().filter_map(|(name, kind)| Some((String::from_utf8(name).ok()?, kind))).collect()
    }
}

/// Opens a path below `root` without following any symbolic link.
pub(crate) fn open_below(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// The names in an open folder with what they are, sorted by bytes.
pub(crate) fn entries_of(folder: BorrowedFd<'_>) -> Result<Vec<(Vec<u8>, FileType)>, Errno> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            known => known,
        };
        entries.push((name.to_vec(), kind));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linked_file_is_an_error_and_its_target_stays_unread() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("Procfile")).unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("etc")).unwrap();
        let tree = Tree::open(folder.path()).unwrap();

        for name in ["Procfile", "etc/passwd"] {
            let error = tree.read(name).unwrap_err();
            assert!(matches!(error, BuildError::LinkedFile { .. }), "{error}");
            assert!(!error.to_string().contains("root:"));
        }
        assert_eq!(tree.kind("Procfile"), Some(FileType::Symlink));
        assert!(matches!(tree.read("../x").unwrap_err(), BuildError::BadFile { .. }));
    }

    #[test]
    fn a_fifo_does_not_hold_the_build_up() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("Procfile");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let error = Tree::open(folder.path()).unwrap().read("Procfile").unwrap_err();
        assert!(matches!(error, BuildError::BadFile { .. }), "{error}");
    }

    #[test]
    fn what_is_not_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::open(folder.path()).unwrap();
        assert!(tree.read("nothing").unwrap().is_none());
        assert!(tree.read("nothing/below").unwrap().is_none());
        assert!(!tree.is_file("nothing") && tree.list("nothing").is_empty());
    }
}
