//! A file that is read in blocks, while another process still appends to it.

use std::{fs::File, io, os::unix::fs::FileExt};

use crate::files::Extent;

const BLOCK_BYTES: usize = 64 << 10;

/// A file and the block of it that was read last. The end of the file is never remembered:
/// bytes that were missing are asked for again.
#[derive(Debug)]
pub(crate) struct Window {
    file: File,
    start: u64,
    block: Vec<u8>,
}

impl Window {
    pub(crate) fn new(file: File) -> Self {
        Self { file, start: 0, block: Vec::new() }
    }

    /// Its length and last change at this moment.
    pub(crate) fn extent(&self) -> io::Result<Extent> {
        let data = self.file.metadata()?;
        Ok(Extent { bytes: data.len(), changed: data.modified()? })
    }

    /// The bytes from `offset` on, at least `wanted` (at most a block) unless the file ends.
    pub(crate) fn bytes(&mut self, offset: u64, wanted: usize) -> io::Result<&[u8]> {
        let held_from = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let held = held_from.filter(|skip| self.block.len().saturating_sub(*skip) >= wanted.max(1));
        let skip = if let Some(skip) = held {
            skip
        } else {
            self.fill(offset)?;
            0
        };
        Ok(&self.block[skip..])
    }

    fn fill(&mut self, offset: u64) -> io::Result<()> {
        self.start = offset;
        self.block.resize(BLOCK_BYTES, 0);
        let mut filled = 0;
        while filled < BLOCK_BYTES {
            match self.file.read_at(&mut self.block[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.block.clear();
                    return Err(error);
                }
            }
        }
        self.block.truncate(filled);
        Ok(())
    }
}
