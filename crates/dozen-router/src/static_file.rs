//! Files of a static site: found without leaving the site, read in parts.
//!
//! The kernel resolves a path below its layer and follows no symbolic link (`openat2`), so neither
//! a clever path nor a hostile layer leads outside.

use std::{
    fs::File,
    future::Future as _,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2},
    io::Errno,
};
use tokio::task::{JoinHandle, spawn_blocking};

/// What is read at once; smaller files are read whole before the answer's head.
const PART: usize = 64 << 10;

/// What a path of a site is.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A file, and the layer it is in.
    File(File, PathBuf),
    Folder,
    Missing,
}

/// Looks `path` up in the layers, from the top.
pub(crate) fn find(layers: &[PathBuf], path: &Path) -> io::Result<Entry> {
    let mut entry = Entry::Missing;
    for layer in layers.iter().rev() {
        let root = openat(CWD, layer, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        match open_below(&root, path) {
            Ok(file) => {
                let kind = file.metadata()?.file_type();
                if kind.is_file() && matches!(entry, Entry::Missing) {
                    return Ok(Entry::File(file, layer.clone()));
                } else if kind.is_dir() {
                    entry = Entry::Folder;
                } else {
                    // A file below a folder, or a pipe: it hides what is below and is no part of the site.
                    return Ok(entry);
                }
            }
            Err(Errno::NOENT) => {}
            // A file in place of a folder hides what is below; a link leads nowhere.
            Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG) => return Ok(entry),
            Err(_) if is_special(&root, path) => return Ok(entry),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(entry)
}

/// Whether a path that cannot be opened is neither a file nor a folder. An overlay's mark for a
/// removed file is such a device: what lies below it is no part of the site.
fn is_special(root: &OwnedFd, path: &Path) -> bool {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let opened = openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
    opened.and_then(fstat).is_ok_and(|about| {
        !matches!(FileType::from_raw_mode(about.st_mode), FileType::RegularFile | FileType::Directory)
    })
}

fn open_below(root: &OwnedFd, path: &Path) -> Result<File, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // NONBLOCK: opening a named pipe must not wait for its writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    openat2(root, path, flags, Mode::empty(), resolve).map(File::from)
}

/// A file on its way to a client.
#[derive(Debug)]
pub(crate) struct FileBody {
    file: Arc<File>,
    at: u64,
    left: u64,
    /// The first part, read already.
    first: Option<Bytes>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileBody {
    /// A whole file.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let first = if length <= PART as u64 { Some(read_part(&file, 0, length)?) } else { None };
        Ok(Self {
            file: Arc::new(file),
            at: 0,
            left: length,
            first: first.filter(|part| !part.is_empty()),
            reading: None,
        })
    }

    /// Bytes still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The next part.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let part = match self.first.take() {
            Some(part) => Ok(part),
            None => {
                let reading = self.reading.get_or_insert_with(|| {
                    let (file, at, left) = (Arc::clone(&self.file), self.at, self.left);
                    spawn_blocking(move || read_part(&file, at, left))
                });
                let read = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                read.unwrap_or_else(|error| Err(io::Error::other(error)))
            }
        };
        if let Ok(part) = &part {
            self.at += part.len() as u64;
            self.left -= part.len() as u64;
        }
        Poll::Ready(Some(part))
    }
}

fn read_part(file: &File, at: u64, left: u64) -> io::Result<Bytes> {
    // It fits: it is at most `PART`.
    let mut part = vec![0; left.min(PART as u64) as usize];
    file.read_exact_at(&mut part, at)?;
    Ok(part.into())
}
