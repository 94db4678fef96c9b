//! The end record of a zip archive: how many entries it declares, read before anything else is.
//!
//! A reader of zip archives takes the whole directory into memory; a small file can declare
//! millions of entries. Layout: PKWARE's APPNOTE, sections 4.3.14 to 4.3.16.

use std::{fs::File, io, os::unix::fs::FileExt};

/// An end record without its comment.
const RECORD: usize = 22;
/// The locator of a 64-bit end record, which stands right before the end record.
const LOCATOR: u64 = 20;
/// The part of a 64-bit end record that is read.
const RECORD_64: usize = 56;

/// The number of entries, or `None` when there is no end record.
pub(super) fn declared_entries(archive: &File) -> io::Result<Option<u64>> {
    let length = archive.metadata()?.len();
    let tail = length.min((RECORD + usize::from(u16::MAX)) as u64);
    let mut bytes = vec![0; usize::try_from(tail).unwrap_or_default()];
    archive.read_exact_at(&mut bytes, length - tail)?;
    let ends_here = |at: usize| at + RECORD + usize::from(u16_at(&bytes, at + 20)) == bytes.len();
    let mut starts = (0..bytes.len().saturating_sub(RECORD - 1)).rev();
    let found = starts.find(|at| bytes[*at..].starts_with(b"PK\x05\x06") && ends_here(*at));
    let Some(at) = found else { return Ok(None) };
    let count = u16_at(&bytes, at + 10);
    let is_64 = count == u16::MAX || bytes[at + 16..at + 20] == [u8::MAX; 4];
    if !is_64 {
        return Ok(Some(count.into()));
    }
    let counted = declared_64(archive, length - tail + at as u64)?;
    Ok(Some(counted.unwrap_or_else(|| count.into())))
}

/// The number of entries in the 64-bit record, when there is one for the end record at `end`.
fn declared_64(archive: &File, end: u64) -> io::Result<Option<u64>> {
    let Some(at) = end.checked_sub(LOCATOR) else { return Ok(None) };
    let mut locator = [0; LOCATOR as usize];
    archive.read_exact_at(&mut locator, at)?;
    if !locator.starts_with(b"PK\x06\x07") {
        return Ok(None);
    }
    let mut record = [0; RECORD_64];
    archive.read_exact_at(&mut record, u64_at(&locator, 8))?;
    Ok(record.starts_with(b"PK\x06\x06").then(|| u64_at(&record, 32)))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}
