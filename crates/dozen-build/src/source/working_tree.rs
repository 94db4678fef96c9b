//! The working tree with its uncommitted changes: which files differ, and what they hold.
//!
//! Tracked files and untracked ones that are not ignored are taken. Files are opened below the
//! top folder without following links: a link is exported as a link, whatever it points at.

use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FileType, OFlags},
    io::Errno,
};

use super::{Tally, git::Git, lfs_pointer::is_lfs_pointer, safe_parts, tree_stream::TreeStream};
use crate::{
    error::{BuildError, shown},
    tree::{Tree, open_below},
};

/// The files that differ from the commit, relative to the top; empty where there is no working tree.
pub(super) fn changes(git: &Git, folder: Option<&str>) -> Result<Vec<Vec<u8>>, BuildError> {
    let Some(top) = top_of(git)? else { return Ok(Vec::new()) };
    // Submodules are refused later on; `git status` in each would follow its own configuration.
    let mut arguments = vec!["status", "--porcelain=v1", "-z", "--untracked-files=normal", "--no-renames"];
    arguments.push("--ignore-submodules=all");
    // The pathspec is literal: a folder may be called `*`.
    let pathspec = folder.map(|folder| format!(":(top,literal){folder}"));
    if let Some(pathspec) = &pathspec {
        arguments.extend(["--", pathspec]);
    }
    let listing = Git::read_from(Git::at(&top).unfiltered()?, &arguments)?;
    let lines = listing.split(|byte| *byte == 0).filter(|line| line.len() > 3);
    Ok(lines.map(|line| line[3..].to_vec()).collect())
}

/// Writes the working tree's files, sorted.
pub(super) fn write<W: Write>(
    git: &Git,
    folder: Option<&str>,
    stream: &mut TreeStream<W>,
    tally: &mut Tally,
) -> Result<(), BuildError> {
    let Some(top) = top_of(git)? else { return Err(BuildError::NoCommit) };
    let base = folder.map_or_else(|| top.clone(), |folder| top.join(folder));
    let missing = |_| BuildError::NoSuchFolder {
        folder: shown(folder.unwrap_or(".").as_bytes()),
        reference: "the working tree".into(),
    };
    let root = match folder {
        None => Tree::open(&top)?,
        // Every part of the sub-folder must be a folder, not a link.
        Some(folder) => {
            let opened = Tree::open(&top)?;
            open_below(opened.root(), Path::new(folder), OFlags::DIRECTORY).map_err(missing)?;
            Tree::open(&base)?
        }
    };
    for path in paths(&Git::at(&base))? {
        write_path(root.root(), &path, stream, tally)?;
    }
    Ok(())
}

fn top_of(git: &Git) -> Result<Option<PathBuf>, BuildError> {
    let Some(answer) = git.line(&["rev-parse", "--is-inside-work-tree"])? else { return Ok(None) };
    if answer != "true" {
        return Ok(None);
    }
    let mut top = git.read(&["rev-parse", "--show-toplevel"])?;
    if top.last() == Some(&b'\n') {
        top.pop();
    }
    Ok(Some(PathBuf::from(std::ffi::OsStr::from_bytes(&top))))
}

fn paths(git: &Git) -> Result<Vec<Vec<u8>>, BuildError> {
    let staged = git.read(&["ls-files", "-s", "-z"])?;
    if let Some(line) = staged.split(|byte| *byte == 0).find(|line| line.starts_with(b"160000 ")) {
        let path = line.splitn(2, |byte| *byte == b'\t').nth(1).unwrap_or_default();
        return Err(BuildError::Submodule { path: shown(path) });
    }
    let listing = git.read(&["ls-files", "-z", "-c", "-o", "--exclude-standard"])?;
    let mut paths: Vec<Vec<u8>> =
        listing.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(<[u8]>::to_vec).collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn write_path<W: Write>(
    root: BorrowedFd<'_>,
    path: &[u8],
    stream: &mut TreeStream<W>,
    tally: &mut Tally,
) -> Result<(), BuildError> {
    safe_parts(path)?;
    if path.ends_with(b"/") {
        return Err(BuildError::EntryRefused { path: shown(path), rule: "it is another Git repository" });
    }
    let name = Path::new(std::ffi::OsStr::from_bytes(path));
    let reading = || format!("read `{}`", shown(path));
    let opened = match open_below(root, name, OFlags::RDONLY | OFlags::NONBLOCK) {
        Ok(opened) => opened,
        // Tracked and removed: part of the change.
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(Errno::LOOP) => return write_link(root, name, stream, tally),
        Err(errno) => return Err(BuildError::os(reading())(errno)),
    };
    tally.count_entry()?;
    let stat = rustix::fs::fstat(&opened).map_err(BuildError::os(reading()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(BuildError::EntryRefused { path: shown(path), rule: "it is not a file, folder or link" });
    }
    let size = stat.st_size as u64;
    tally.count_bytes(size)?;
    let mut file = File::from(opened);
    let mut start = Vec::new();
    (&mut file).take(1024).read_to_end(&mut start).map_err(BuildError::io(reading()))?;
    if is_lfs_pointer(&start, size) {
        return Err(BuildError::LfsPointer { path: shown(path) });
    }
    let content = start.as_slice().chain(file);
    // A file that shrinks while it is read is filled up: the stream's sizes stay true.
    stream.file(path, stat.st_mode & 0o111 != 0, size, content.chain(std::io::repeat(0)))
}

fn write_link<W: Write>(
    root: BorrowedFd<'_>,
    name: &Path,
    stream: &mut TreeStream<W>,
    tally: &mut Tally,
) -> Result<(), BuildError> {
    let path = name.as_os_str().as_bytes();
    let reading = || BuildError::os(format!("read the link `{}`", shown(path)));
    let parent: OwnedFd = match name.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        None => root.try_clone_to_owned().map_err(BuildError::io("open the tree"))?,
        // A file below a linked folder is none of the tree's: Git would not list it either.
        Some(parent) => match open_below(root, parent, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(parent) => parent,
            Err(Errno::LOOP | Errno::NOTDIR) => return Ok(()),
            Err(errno) => return Err(reading()(errno)),
        },
    };
    let Some(last) = name.file_name() else { return Ok(()) };
    let target = rustix::fs::readlinkat(parent.as_fd(), last, Vec::new()).map_err(reading())?;
    tally.count_entry()?;
    stream.link(path, target.as_bytes())
}
