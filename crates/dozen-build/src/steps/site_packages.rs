//! Tidies a virtualenv that a build made: what differs between two equal builds goes.
//!
//! The installer notes for itself when and from where it took a package (`uv_cache.json`, a
//! `direct_url.json` that names a temporary path); those files and their lines in `RECORD` are
//! removed. The tree was written by the build's user, so nothing is followed.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

use super::build_paths;
use crate::{
    error::BuildError,
    tree::{Tree, entries_of, open_below},
};

/// The largest `RECORD` or `direct_url.json` that is looked into.
const LARGEST: u64 = 32 << 20;

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    /// Its normalised name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// Whether it was compiled on this machine. A wheel of an index has another tag.
    pub(crate) is_compiled_here: bool,
}

/// Tidies the virtualenv at `venv`; returns what is installed in it, sorted.
pub(crate) fn tidy(venv: &Path) -> Result<Vec<Package>, BuildError> {
    if !venv.is_dir() {
        return Ok(Vec::new());
    }
    let root = Tree::open(venv)?;
    for name in [".lock", ".gitignore", "CACHEDIR.TAG"] {
        remove(root.root(), name.as_bytes())?;
    }
    let mut packages = Vec::new();
    for (version, kind) in root.list("lib") {
        if kind != FileType::Directory || !version.starts_with("python") {
            continue;
        }
        let path = format!("lib/{version}/site-packages");
        let Ok(folder) = open_below(root.root(), Path::new(&path), OFlags::RDONLY | OFlags::DIRECTORY) else {
            continue;
        };
        for (name, kind) in entries_of(folder.as_fd()).map_err(BuildError::os("list the packages"))? {
            if kind == FileType::Directory
                && let Some(stem) = name.strip_suffix(b".dist-info")
            {
                let is_compiled_here = tidy_package(root.root(), (folder.as_fd(), &path), &name)?;
                packages.extend(package_of(stem).map(|package| Package { is_compiled_here, ..package }));
            }
        }
    }
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packages)
}

/// The version of a package in the virtualenv of an image's dependency layer.
pub fn installed_version(layer: &Path, name: &str) -> Option<String> {
    let tree = Tree::open(layer).ok()?;
    let folders = tree.list(".venv/lib").into_iter().filter(|(folder, _)| folder.starts_with("python"));
    let entries = folders.flat_map(|(folder, _)| tree.list(&format!(".venv/lib/{folder}/site-packages")));
    let mut packages =
        entries.filter_map(|(entry, _)| package_of(entry.strip_suffix(".dist-info")?.as_bytes()));
    packages.find(|package| package.name == name).map(|package| package.version)
}

/// `Django-5.2` as in `Django-5.2.dist-info`.
fn package_of(stem: &[u8]) -> Option<Package> {
    let (name, version) = std::str::from_utf8(stem).ok()?.rsplit_once('-')?;
    let (name, version) = (name.to_lowercase().replace(['_', '.'], "-"), version.to_owned());
    Some(Package { name, version, is_compiled_here: false })
}

/// Returns whether the package was compiled here.
fn tidy_package(
    venv: BorrowedFd<'_>,
    (folder, folder_path): (BorrowedFd<'_>, &str),
    name: &[u8],
) -> Result<bool, BuildError> {
    let doing = "tidy up an installed package";
    let path = Path::new(OsStr::from_bytes(name));
    let info = open_below(folder, path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(BuildError::os(doing))?;
    let wheel = read(info.as_fd(), "WHEEL")?.unwrap_or_default();
    let is_compiled_here = String::from_utf8_lossy(&wheel)
        .lines()
        .filter_map(|line| line.strip_prefix("Tag:"))
        .any(|tag| tag.trim().rsplit('-').next().is_some_and(|platform| platform.starts_with("linux_")));
    let mut gone = vec!["uv_cache.json"];
    remove(info.as_fd(), b"uv_cache.json")?;
    let origin = read(info.as_fd(), "direct_url.json")?.unwrap_or_default();
    if String::from_utf8_lossy(&origin).contains("file://") {
        gone.push("direct_url.json");
        remove(info.as_fd(), b"direct_url.json")?;
    }
    let Some(record) = read(info.as_fd(), "RECORD")? else { return Ok(is_compiled_here) };
    let folder_name = String::from_utf8_lossy(name);
    let is_gone = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        gone.iter().any(|file| line.starts_with(&format!("{folder_name}/{file},")))
    };
    let mut lines: Vec<Vec<u8>> = record
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| !is_gone(line))
        .map(<[u8]>::to_vec)
        .collect();
    if is_compiled_here {
        for line in &mut lines {
            let text = String::from_utf8_lossy(line).into_owned();
            let Some(file) = text.split(',').next() else { continue };
            let Some(path) = below(folder_path, file) else { continue };
            if build_paths::settle(venv, &path)? {
                // Its hash is another one now; none is allowed.
                *line = format!("{file},,\n").into_bytes();
            }
        }
    }
    // A wheel that was built here lists its files in the order in which they were written.
    lines.sort();
    let kept = lines.concat();
    if kept == record {
        return Ok(is_compiled_here);
    }
    remove(info.as_fd(), b"RECORD")?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    let file = rustix::fs::openat(&info, "RECORD", flags, mode).map_err(BuildError::os(doing))?;
    File::from(file).write_all(&kept).map_err(BuildError::io(doing))?;
    Ok(is_compiled_here)
}

/// The path in the virtualenv of a file that `RECORD` names relative to `folder`.
fn below(folder: &str, file: &str) -> Option<PathBuf> {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in file.split('/') {
        match part {
            ".." => drop(parts.pop()?),
            "" | "." => return None,
            part => parts.push(part),
        }
    }
    Some(parts.into_iter().collect())
}

fn read(folder: BorrowedFd<'_>, name: &str) -> Result<Option<Vec<u8>>, BuildError> {
    let opened: OwnedFd = match open_below(folder, Path::new(name), OFlags::RDONLY | OFlags::NONBLOCK) {
        Ok(opened) => opened,
        Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
        Err(errno) => return Err(BuildError::os("read a package's record")(errno)),
    };
    let mut bytes = Vec::new();
    File::from(opened)
        .take(LARGEST)
        .read_to_end(&mut bytes)
        .map_err(BuildError::io("read a package's record"))?;
    Ok(Some(bytes))
}

fn remove(folder: BorrowedFd<'_>, name: &[u8]) -> Result<(), BuildError> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
        Err(errno) => Err(BuildError::os("tidy up an installed package")(errno)),
    }
}
