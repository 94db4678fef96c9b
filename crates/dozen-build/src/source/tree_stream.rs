//! Writes the canonical tar stream of a tree: sorted paths, no times, no owners, two modes.
//!
//! Equal trees give equal streams. Folders are not written: a file's path implies them.

use std::io::{Read, Write};

use tar::{Builder, EntryType, Header};

use crate::error::{BuildError, shown};

/// Writes entries, which must come in the order of their paths.
pub(super) struct TreeStream<W: Write> {
    tar: Builder<W>,
    last: Vec<u8>,
}

impl<W: Write> TreeStream<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { tar: Builder::new(writer), last: Vec::new() }
    }

    /// Writes a file of exactly `size` bytes.
    pub(super) fn file(
        &mut self,
        path: &[u8],
        executable: bool,
        size: u64,
        content: impl Read,
    ) -> Result<(), BuildError> {
        self.follow_order(path);
        let mut header = blank(EntryType::Regular, if executable { 0o755 } else { 0o644 });
        header.set_size(size);
        self.tar.append_data(&mut header, as_path(path), content.take(size)).map_err(writing(path))
    }

    /// Writes a symbolic link.
    pub(super) fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), BuildError> {
        self.follow_order(path);
        let mut header = blank(EntryType::Symlink, 0o777);
        header.set_size(0);
        self.tar.append_link(&mut header, as_path(path), as_path(target)).map_err(writing(path))
    }

    /// Ends the stream.
    pub(super) fn finish(self) -> Result<W, BuildError> {
        let mut writer = self.tar.into_inner().map_err(BuildError::io("end the source stream"))?;
        writer.flush().map_err(BuildError::io("end the source stream"))?;
        Ok(writer)
    }

    fn follow_order(&mut self, path: &[u8]) {
        debug_assert!(self.last.as_slice() < path, "entries come sorted");
        self.last = path.to_vec();
    }
}

fn blank(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn as_path(bytes: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(bytes))
}

fn writing(path: &[u8]) -> impl FnOnce(std::io::Error) -> BuildError {
    BuildError::io(format!("write `{}` to the source stream", shown(path)))
}
