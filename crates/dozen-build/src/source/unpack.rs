//! Unpacks the stream that [`super::export::export_git`] wrote.
//!
//! The stream came from another user's process, so it gets the same distrust as any archive. A
//! symbolic link of a commit is kept wherever it points: inside the walls it leads nowhere.

use std::{io::Read, path::Path};

use super::{
    SourceLimits,
    tar_entry::{HardLinks, write_entries},
    tree_writer::TreeWriter,
};
use crate::error::BuildError;

pub use super::tree_writer::Unpacked;

/// Unpacks `stream` into the empty folder `into`.
pub fn unpack(stream: impl Read, into: &Path, limits: SourceLimits) -> Result<Unpacked, BuildError> {
    let mut writer = TreeWriter::new(into, limits)?;
    write_entries(stream, &mut writer, HardLinks::Refuse)?;
    Ok(writer.unpacked())
}
