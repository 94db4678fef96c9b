//! Folders and numbered files of logs, opened step by step without following a symbolic link.
//!
//! The router's folders belong to another user, so nothing in them is trusted: a name is only
//! taken when it is one of ours, and only a regular file is read.
//!
//! Start reading at [`Folder::open_below`].

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, RawMode, Stat},
    io::Errno,
};

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

/// Size and last change of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) bytes: u64,
    pub(crate) changed: SystemTime,
}

impl Folder {
    /// Opens `base` (where links are the administrator's business) and below it one folder
    /// after the other. `None` where one of them does not exist or is no folder.
    pub(crate) fn open_below(base: &Path, steps: &[&str]) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = match rustix::fs::open(base, flags, Mode::empty()) {
            Ok(fd) => Self { fd, path: base.to_owned() },
            Err(error) => return absent(error),
        };
        for step in steps {
            let opened = rustix::fs::openat(&folder.fd, *step, flags | OFlags::NOFOLLOW, Mode::empty());
            folder = match opened {
                Ok(fd) => Self { fd, path: folder.path.join(step) },
                Err(error) => return absent(error),
            };
        }
        Ok(Some(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the very folder that is open, whatever its name leads to by now.
    pub(crate) fn handle_path(&self) -> String {
        format!("/proc/self/fd/{}", self.fd.as_fd().as_raw_fd())
    }

    /// When a name in it was last added or removed.
    pub(crate) fn changed(&self) -> io::Result<SystemTime> {
        Ok(extent_of(&rustix::fs::fstat(&self.fd)?).changed)
    }

    /// The names in it that are text; others are never ours.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Opens a regular file to read. `None` where it is gone or is something else.
    pub(crate) fn file(&self, name: &str) -> io::Result<Option<File>> {
        // NONBLOCK: a fifo of this name must not stop us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(error) => return absent(error),
        };
        Ok(file.metadata()?.is_file().then_some(file))
    }

    /// Size and last change of a regular file; `None` where it is gone or is something else.
    pub(crate) fn extent(&self, name: &str) -> io::Result<Option<Extent>> {
        let stat = match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(error) => return absent(error),
        };
        if FileType::from_raw_mode(RawMode::from(stat.st_mode)) != FileType::RegularFile {
            return Ok(None);
        }
        Ok(Some(extent_of(&stat)))
    }

    /// Removes a file; one that is gone already is removed.
    pub(crate) fn remove_file(&self, name: &str) -> io::Result<()> {
        removed(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()))
    }

    /// Removes a folder in this one if it is empty.
    pub(crate) fn remove_empty_folder(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY) => Ok(()),
            other => removed(other),
        }
    }
}

fn extent_of(stat: &Stat) -> Extent {
    let seconds = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
    let nanos = Duration::from_nanos(stat.st_mtime_nsec);
    let bytes = u64::try_from(stat.st_size).unwrap_or(0);
    Extent { bytes, changed: SystemTime::UNIX_EPOCH + seconds + nanos }
}

fn absent<T>(error: Errno) -> io::Result<Option<T>> {
    // LOOP and NOTDIR: a symbolic link or a file where a folder of ours would be.
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Ok(None),
        other => Err(other.into()),
    }
}

fn removed(result: Result<(), Errno>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
