//! Imports an archive that a user gave: `.tar.gz`, `.tar` or `.zip`.
//!
//! Links must stay inside the tree here: an archive has no commit that explains them. When all
//! entries share one top folder and no Procfile stands beside it, that folder is the tree.
//!
//! Start reading at [`import_archive`].

use std::{
    fs::File,
    io::{BufReader, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use flate2::read::MultiGzDecoder;
use rustix::fs::{FileType, OFlags, RenameFlags};

use super::{
    SourceLimits, stays_inside,
    tar_entry::{HardLinks, write_entries},
    tree_writer::{TreeWriter, Unpacked},
    zip_directory,
};
use crate::{
    error::{BuildError, shown, shown_path},
    tree::{Tree, entries_of, open_below},
};

/// The kinds of archive that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// `.tar.gz` or `.tgz`.
    TarGz,
    /// `.tar`.
    Tar,
    /// `.zip`.
    Zip,
}

/// What an archive brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedArchive {
    /// How much was unpacked.
    pub unpacked: Unpacked,
    /// The top folder that was left out, escaped for printing.
    pub stripped: Option<String>,
}

/// Unpacks `archive` into `into`, which must not exist yet; its parent must.
pub fn import_archive(
    archive: File,
    format: ArchiveFormat,
    into: &Path,
    limits: SourceLimits,
) -> Result<ImportedArchive, BuildError> {
    let parent = into.parent().unwrap_or(Path::new("/"));
    let staging = tempfile::Builder::new()
        .prefix("archive-")
        .tempdir_in(parent)
        .map_err(BuildError::io(format!("make a folder in `{}`", shown_path(parent))))?;
    let mut writer = TreeWriter::new(staging.path(), limits)?;
    match format {
        ArchiveFormat::TarGz => {
            write_entries(MultiGzDecoder::new(BufReader::new(archive)), &mut writer, HardLinks::Copy)?;
        }
        ArchiveFormat::Tar => write_entries(BufReader::new(archive), &mut writer, HardLinks::Copy)?,
        ArchiveFormat::Zip => write_zip(archive, &mut writer)?,
    }
    let top = single_folder(staging.path())?;
    let root = top.as_deref().map_or_else(
        || staging.path().to_owned(),
        |top| staging.path().join(std::ffi::OsStr::from_bytes(top)),
    );
    check_links(Tree::open(&root)?.root(), &mut Vec::new())?;
    let here = rustix::fs::CWD;
    rustix::fs::renameat_with(here, &root, here, into, RenameFlags::NOREPLACE)
        .map_err(BuildError::os(format!("move the archive to `{}`", shown_path(into))))?;
    Ok(ImportedArchive { unpacked: writer.unpacked(), stripped: top.map(|name| shown(&name)) })
}

/// The one folder at the top, when there is nothing else.
fn single_folder(staging: &Path) -> Result<Option<Vec<u8>>, BuildError> {
    let tree = Tree::open(staging)?;
    let mut entries = entries_of(tree.root()).map_err(BuildError::os("list the archive"))?;
    match (entries.pop(), entries.is_empty()) {
        (Some((name, FileType::Directory)), true) => Ok(Some(name)),
        _ => Ok(None),
    }
}

/// Refuses links that point out of the tree.
fn check_links(folder: BorrowedFd<'_>, path: &mut Vec<Vec<u8>>) -> Result<(), BuildError> {
    let listing = entries_of(folder).map_err(BuildError::os("list the archive"))?;
    for (name, kind) in listing {
        path.push(name.clone());
        let relative = Path::new(std::ffi::OsStr::from_bytes(&name));
        if kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let below = open_below(folder, relative, flags).map_err(BuildError::os("open a folder"))?;
            check_links(below.as_fd(), path)?;
        } else if kind == FileType::Symlink {
            let target = rustix::fs::readlinkat(folder, relative, Vec::new());
            let target = target.map_err(BuildError::os("read a link"))?;
            let parts: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
            if !stays_inside(&parts, target.as_bytes()) {
                let rule = "the link points out of the tree";
                return Err(BuildError::EntryRefused { path: shown(&path.join(&b'/')), rule });
            }
        }
        path.pop();
    }
    Ok(())
}

fn write_zip(archive: File, writer: &mut TreeWriter) -> Result<(), BuildError> {
    let damaged =
        |error: zip::result::ZipError| BuildError::BadArchive { source: std::io::Error::other(error) };
    let declared = zip_directory::declared_entries(&archive)
        .map_err(BuildError::io("read the archive"))?
        .ok_or_else(|| damaged(zip::result::ZipError::InvalidArchive("no end record".into())))?;
    // Before the reader keeps all of them in memory.
    writer.expect_entries(declared)?;
    let mut archive = zip::ZipArchive::new(BufReader::new(archive)).map_err(damaged)?;
    // The reader keeps the last of several entries with one name; another reader keeps the first.
    if declared != archive.len() as u64 {
        let rule = "a path comes twice, or entries are hidden";
        return Err(BuildError::EntryRefused { path: "the archive".into(), rule });
    }
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let path = entry.name_raw().to_vec();
        if path.contains(&b'\\') {
            return Err(BuildError::EntryRefused {
                path: shown(&path),
                rule: "`\\` in a path is not allowed",
            });
        }
        // Archives made on other systems carry no mode.
        let mode = entry.unix_mode().unwrap_or(if entry.is_dir() { 0o040_755 } else { 0o100_644 });
        let executable = mode & 0o111 != 0;
        match FileType::from_raw_mode(mode) {
            _ if entry.is_dir() => writer.folder(&path)?,
            FileType::RegularFile | FileType::Unknown => writer.file(&path, executable, &mut entry)?,
            FileType::Symlink => {
                let mut target = Vec::new();
                entry.by_ref().take(4001).read_to_end(&mut target).map_err(BuildError::io("read a link"))?;
                writer.link(&path, &target)?;
            }
            _ => {
                let rule = "only files, folders and links are allowed";
                return Err(BuildError::EntryRefused { path: shown(&path), rule });
            }
        }
    }
    Ok(())
}
