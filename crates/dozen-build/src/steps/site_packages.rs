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
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

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
                packages.extend(package_of(stem));
                tidy_package(folder.as_fd(), &name)?;
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
    Some(Package { name: name.to_lowercase().replace(['_', '.'], "-"), version: version.to_owned() })
}

fn tidy_package(folder: BorrowedFd<'_>, name: &[u8]) -> Result<(), BuildError> {
    let doing = "tidy up an installed package";
    let path = Path::new(OsStr::from_bytes(name));
    let info = open_below(folder, path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(BuildError::os(doing))?;
    let mut gone = vec!["uv_cache.json"];
    remove(info.as_fd(), b"uv_cache.json")?;
    let origin = read(info.as_fd(), "direct_url.json")?.unwrap_or_default();
    if String::from_utf8_lossy(&origin).contains("file://") {
        gone.push("direct_url.json");
        remove(info.as_fd(), b"direct_url.json")?;
    }
    let Some(record) = read(info.as_fd(), "RECORD")? else { return Ok(()) };
    let folder_name = String::from_utf8_lossy(name);
    let is_gone = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        gone.iter().any(|file| line.starts_with(&format!("{folder_name}/{file},")))
    };
    let mut lines: Vec<&[u8]> =
        record.split_inclusive(|byte| *byte == b'\n').filter(|line| !is_gone(line)).collect();
    // A wheel that was built here lists its files in the order in which they were written.
    lines.sort();
    let kept = lines.concat();
    if kept == record {
        return Ok(());
    }
    remove(info.as_fd(), b"RECORD")?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    let file = rustix::fs::openat(&info, "RECORD", flags, mode).map_err(BuildError::os(doing))?;
    File::from(file).write_all(&kept).map_err(BuildError::io(doing))
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
