//! Reads a tar stream strictly, one entry at a time.
//!
//! The `tar` crate finds the headers; the extensions (GNU long names, pax records) are read here,
//! because their size comes from the stream and must be bounded before anything is allocated.

use std::io::Read;

use tar::{Archive, EntryType};

use super::tree_writer::TreeWriter;
use crate::error::{BuildError, shown};

/// The largest extension record that is read.
const LARGEST_RECORD: u64 = 64 << 10;

/// What becomes of hard links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HardLinks {
    /// They are refused: our own stream has none.
    Refuse,
    /// A link to an earlier file of the stream becomes a copy of it.
    Copy,
}

/// Names that an extension announced for the next entry.
#[derive(Default)]
struct Announced {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

/// Writes all entries of a stream.
pub(super) fn write_entries(
    stream: impl Read,
    writer: &mut TreeWriter,
    hard_links: HardLinks,
) -> Result<(), BuildError> {
    let damaged = |source| BuildError::BadArchive { source };
    let mut archive = Archive::new(stream);
    let mut announced = Announced::default();
    let mut headers = 0;
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let header = entry.header();
        let (kind, size) = (header.entry_type(), entry.size());
        // Most entries have one of their own. A stream of nothing else would never end.
        headers += u64::from(is_extension(kind));
        writer.expect_entries(headers)?;
        match kind {
            EntryType::GNULongName => announced.path = Some(long_name(&mut entry, size)?),
            EntryType::GNULongLink => announced.target = Some(long_name(&mut entry, size)?),
            EntryType::XHeader => read_pax(&record(&mut entry, size)?, &mut announced)?,
            // Says something about all entries, such as the commit; nothing that is used here.
            EntryType::XGlobalHeader => drop(record(&mut entry, size)?),
            _ => {
                let names = std::mem::take(&mut announced);
                let path = names.path.unwrap_or_else(|| entry.path_bytes().into_owned());
                let target = names.target.or_else(|| entry.link_name_bytes().map(|name| name.into_owned()));
                let executable = entry.header().mode().map_err(damaged)? & 0o111 != 0;
                let path = without_dot(&path);
                match kind {
                    EntryType::Directory if path.is_empty() => {}
                    EntryType::Directory => writer.folder(path)?,
                    EntryType::Regular | EntryType::Continuous => {
                        writer.file(path, executable, &mut entry)?
                    }
                    EntryType::Symlink => writer.link(path, &target.unwrap_or_default())?,
                    EntryType::Link if hard_links == HardLinks::Copy => {
                        copy_earlier(writer, path, &target.unwrap_or_default())?;
                    }
                    _ => return Err(refused_kind(path)),
                }
            }
        }
    }
    Ok(())
}

/// Whether it only says something about other entries.
fn is_extension(kind: EntryType) -> bool {
    use EntryType::{GNULongLink, GNULongName, XGlobalHeader, XHeader};
    matches!(kind, GNULongName | GNULongLink | XHeader | XGlobalHeader)
}

fn refused_kind(path: &[u8]) -> BuildError {
    BuildError::EntryRefused { path: shown(path), rule: "only files, folders and links are allowed" }
}

/// `./a` is `a`: what `tar -C folder .` writes.
fn without_dot(path: &[u8]) -> &[u8] {
    let path = path.strip_prefix(b"./").unwrap_or(path);
    if path == b"." { b"" } else { path }
}

fn copy_earlier(writer: &mut TreeWriter, path: &[u8], target: &[u8]) -> Result<(), BuildError> {
    use std::os::{fd::AsFd, unix::ffi::OsStrExt};
    let target = without_dot(target);
    let outside =
        |_| BuildError::EntryRefused { path: shown(path), rule: "its hard link points out of the tree" };
    super::safe_parts(target).map_err(outside)?;
    let name = std::path::Path::new(std::ffi::OsStr::from_bytes(target));
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    let rule = "its hard link points at no earlier file";
    let missing = |_| BuildError::EntryRefused { path: shown(path), rule };
    let source = crate::tree::open_below(writer.root().as_fd(), name, flags).map_err(missing)?;
    let stat = rustix::fs::fstat(&source).map_err(missing)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
        return Err(BuildError::EntryRefused { path: shown(path), rule });
    }
    writer.file(path, stat.st_mode & 0o111 != 0, &mut std::fs::File::from(source))
}

fn record(entry: &mut impl Read, size: u64) -> Result<Vec<u8>, BuildError> {
    if size > LARGEST_RECORD {
        return Err(BuildError::TooBig { what: "archive's header", limit: "64 KiB".into() });
    }
    let mut bytes = Vec::new();
    entry.take(size).read_to_end(&mut bytes).map_err(|source| BuildError::BadArchive { source })?;
    Ok(bytes)
}

fn long_name(entry: &mut impl Read, size: u64) -> Result<Vec<u8>, BuildError> {
    let mut name = record(entry, size)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    Ok(name)
}

/// Reads pax records, each `LENGTH KEY=VALUE\n`.
fn read_pax(mut records: &[u8], announced: &mut Announced) -> Result<(), BuildError> {
    let damaged = || BuildError::BadArchive { source: std::io::ErrorKind::InvalidData.into() };
    while !records.is_empty() {
        let space = records.iter().position(|byte| *byte == b' ').ok_or_else(damaged)?;
        let length = std::str::from_utf8(&records[..space]).ok().and_then(|text| text.parse::<usize>().ok());
        let length = length.filter(|n| *n > space + 1 && *n <= records.len()).ok_or_else(damaged)?;
        let line = records[space + 1..length].strip_suffix(b"\n").ok_or_else(damaged)?;
        let equals = line.iter().position(|byte| *byte == b'=').ok_or_else(damaged)?;
        let (key, value) = (&line[..equals], line[equals + 1..].to_vec());
        match key {
            b"path" => announced.path = Some(value),
            b"linkpath" => announced.target = Some(value),
            // A size that differs from the header's, or a sparse file: two readers would disagree
            // about what the archive holds.
            b"size" => return Err(damaged()),
            sparse if sparse.starts_with(b"GNU.sparse") => return Err(damaged()),
            _ => {}
        }
        records = &records[length..];
    }
    Ok(())
}
