//! Copies a hostile tree into the store, hashing it on the way, and gives trees away.
//!
//! Works on descriptors, name by name, and follows no link: what it reads may have been made by a
//! build. The digest is taken of sorted paths, kinds, whether a file is executable, contents and
//! link targets; owners, times and other modes are not in it and are made equal in the copy.

use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::Path,
};

use dozen_model::digest::Digest;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps},
    io::Errno,
};
use sha2::{Digest as _, Sha256};

use crate::{
    elf,
    error::{BuildError, shown, shown_path},
    store::LayerFacts,
    tree::entries_of,
};

/// The time of everything in a layer: the first day of 1980, the earliest that a zip can hold.
const LAYER_TIME: i64 = 315_532_800;

/// How deep a tree may be; each level keeps two descriptors open, and more where an overlay is tidied.
pub(crate) const DEEPEST: usize = 250;

/// Bytes of what is known of the programs and libraries of one layer: a file of some KiB can name
/// hundreds of libraries, and a tree can have it under 200,000 paths.
const MOST_ELF_FACTS: usize = 4 << 20;

/// The error for a tree that is deeper, which its name would be too long for.
pub(crate) fn too_deep(path: String) -> BuildError {
    BuildError::EntryRefused { path, rule: "it is nested too deeply" }
}

/// What may be in a tree that becomes a layer.
#[derive(Debug, Clone, Copy)]
pub struct Adoption {
    /// Keep an overlay's whiteouts (a removed file of a layer below).
    pub whiteouts: bool,
    /// The most entries.
    pub entries: u64,
    /// The most bytes.
    pub bytes: u64,
}

impl Default for Adoption {
    fn default() -> Self {
        Self { whiteouts: false, entries: 1_000_000, bytes: 16 << 30 }
    }
}

/// One walk over a tree.
pub(crate) struct TreeCopy {
    adoption: Adoption,
    hash: Sha256,
    facts: LayerFacts,
    elf_facts: usize,
    path: Vec<u8>,
    buffer: Vec<u8>,
}

/// A name in a folder that is read, and the folder it is copied to.
struct Place<'a> {
    from: BorrowedFd<'a>,
    to: Option<BorrowedFd<'a>>,
    name: &'a [u8],
}

impl TreeCopy {
    pub(crate) fn new(adoption: Adoption) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"dozen layer 1\n");
        let (facts, buffer) = (LayerFacts::default(), vec![0; 128 << 10]);
        Self { adoption, hash, facts, elf_facts: 0, path: Vec::new(), buffer }
    }

    /// Copies and hashes.
    pub(crate) fn copy(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), BuildError> {
        self.folder(from, Some(to), 0)?;
        rustix::fs::futimens(to, &layer_times()).map_err(BuildError::os("set a time"))
    }

    /// Hashes only.
    pub(crate) fn read(&mut self, from: BorrowedFd<'_>) -> Result<(), BuildError> {
        self.folder(from, None, 0)
    }

    pub(crate) fn finish(self) -> (Digest, LayerFacts) {
        (Digest::from_hash(&self.hash.finalize()), self.facts)
    }

    fn folder(
        &mut self,
        from: BorrowedFd<'_>,
        to: Option<BorrowedFd<'_>>,
        depth: usize,
    ) -> Result<(), BuildError> {
        if depth > DEEPEST {
            return Err(too_deep(shown(&self.path)));
        }
        for (name, kind) in entries_of(from).map_err(BuildError::os("list a folder"))? {
            let length = self.path.len();
            if length > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&name);
            self.entry(&Place { from, to, name: &name }, kind, depth)?;
            self.path.truncate(length);
        }
        Ok(())
    }

    fn entry(&mut self, place: &Place<'_>, kind: FileType, depth: usize) -> Result<(), BuildError> {
        self.facts.entries += 1;
        if self.facts.entries > self.adoption.entries {
            let limit = format!("{} files", self.adoption.entries);
            return Err(BuildError::TooBig { what: "layer", limit });
        }
        match kind {
            FileType::Directory => {
                self.record(b'd');
                let from = open(place.from, place.name, OFlags::DIRECTORY).map_err(self.reading())?;
                let Some(to) = place.to else { return self.folder(from.as_fd(), None, depth + 1) };
                rustix::fs::mkdirat(to, place.name, Mode::RWXU).map_err(self.reading())?;
                let to = open(to, place.name, OFlags::DIRECTORY).map_err(self.reading())?;
                self.folder(from.as_fd(), Some(to.as_fd()), depth + 1)?;
                seal(&to, 0o555).map_err(self.reading())
            }
            FileType::RegularFile => self.file(place),
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(place.from, place.name, Vec::new()).map_err(self.reading())?;
                self.record(b'l');
                self.field(target.as_bytes());
                let Some(to) = place.to else { return Ok(()) };
                rustix::fs::symlinkat(&target, to, place.name).map_err(self.reading())?;
                rustix::fs::utimensat(to, place.name, &layer_times(), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(self.reading())
            }
            FileType::CharacterDevice if self.adoption.whiteouts => self.whiteout(place),
            _ => Err(self.refused("only files, folders and links are allowed")),
        }
    }

    fn file(&mut self, place: &Place<'_>) -> Result<(), BuildError> {
        let opened = open(place.from, place.name, OFlags::NONBLOCK).map_err(self.reading())?;
        let stat = rustix::fs::fstat(&opened).map_err(self.reading())?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.refused("it changed while it was read"));
        }
        // The owner's bit decides; set-user-id and the rest are dropped.
        let executable = stat.st_mode & 0o100 != 0;
        let mut source = File::from(opened);
        let mut target = match place.to {
            None => None,
            Some(to) => {
                let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                Some(File::from(
                    rustix::fs::openat(to, place.name, flags, Mode::RUSR | Mode::WUSR)
                        .map_err(self.reading())?,
                ))
            }
        };
        let mut content = Sha256::new();
        let mut is_elf = false;
        let mut size = 0;
        loop {
            let read = source.read(&mut self.buffer).map_err(BuildError::io("read a file of a build"))?;
            if read == 0 {
                break;
            }
            let bytes = &self.buffer[..read];
            is_elf |= size == 0 && bytes.starts_with(elf::MAGIC);
            size += read as u64;
            content.update(bytes);
            if let Some(target) = &mut target {
                target.write_all(bytes).map_err(BuildError::io("write a file of a layer"))?;
            }
            self.facts.bytes += read as u64;
            if self.facts.bytes > self.adoption.bytes {
                let limit = format!("{} MiB", self.adoption.bytes >> 20);
                return Err(BuildError::TooBig { what: "layer", limit });
            }
        }
        self.record(if executable { b'x' } else { b'f' });
        self.hash.update(content.finalize());
        let Some(target) = target else { return Ok(()) };
        if is_elf {
            self.note_elf(&target, size);
        }
        seal(&target.into(), if executable { 0o555 } else { 0o444 }).map_err(self.reading())
    }

    /// Keeps what the loader would read, as far as there is room.
    fn note_elf(&mut self, file: &File, size: u64) {
        let Ok(path) = std::str::from_utf8(&self.path) else { return };
        if self.facts.has_more_elf_files {
            return;
        }
        let read_at = |at: u64, buffer: &mut [u8]| file.read_exact_at(buffer, at);
        let Some(found) = elf::read_elf(path, size, &read_at) else { return };
        self.elf_facts += found.weight();
        if self.elf_facts > MOST_ELF_FACTS {
            self.facts.has_more_elf_files = true;
        } else {
            self.facts.elf_files.push(found);
        }
    }

    /// A device 0:0 says that the file of the layer below is gone.
    fn whiteout(&mut self, place: &Place<'_>) -> Result<(), BuildError> {
        let stat =
            rustix::fs::statat(place.from, place.name, AtFlags::SYMLINK_NOFOLLOW).map_err(self.reading())?;
        if stat.st_rdev != 0 {
            return Err(self.refused("a device is not allowed"));
        }
        self.record(b'w');
        let Some(to) = place.to else { return Ok(()) };
        rustix::fs::mknodat(to, place.name, FileType::CharacterDevice, Mode::empty(), 0)
            .map_err(self.reading())
    }

    fn record(&mut self, kind: u8) {
        self.hash.update([kind]);
        self.hash.update((self.path.len() as u64).to_le_bytes());
        self.hash.update(&self.path);
    }

    fn field(&mut self, bytes: &[u8]) {
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }

    fn refused(&self, rule: &'static str) -> BuildError {
        BuildError::EntryRefused { path: shown(&self.path), rule }
    }

    fn reading(&self) -> impl FnOnce(Errno) -> BuildError + use<> {
        BuildError::os(format!("copy `{}`", shown(&self.path)))
    }
}

fn open(folder: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

fn seal(target: &OwnedFd, mode: u32) -> Result<(), Errno> {
    rustix::fs::fchmod(target, Mode::from_raw_mode(mode))?;
    rustix::fs::futimens(target, &layer_times())
}

fn layer_times() -> Timestamps {
    let time = Timespec { tv_sec: LAYER_TIME, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// Gives a tree to another user, links as such; one that is nested too deeply is refused.
pub(crate) fn give_tree(path: &Path, uid: u32, gid: u32) -> Result<(), BuildError> {
    let doing = || format!("give `{}` to the build's user", shown_path(path));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(BuildError::os(doing()))?;
    match give_folder(folder.as_fd(), (uid, gid), 0).map_err(BuildError::os(doing()))? {
        Given::Whole => Ok(()),
        Given::TooDeep => Err(too_deep(shown_path(path))),
    }
}

/// Whether all of a tree was given.
#[derive(PartialEq, Eq)]
enum Given {
    Whole,
    TooDeep,
}

fn give_folder(folder: BorrowedFd<'_>, owner: (u32, u32), depth: usize) -> Result<Given, Errno> {
    if depth > DEEPEST {
        return Ok(Given::TooDeep);
    }
    let (uid, gid) = (rustix::fs::Uid::from_raw(owner.0), rustix::fs::Gid::from_raw(owner.1));
    for (name, kind) in entries_of(folder)? {
        if kind == FileType::Directory {
            let inner = open(folder, &name, OFlags::DIRECTORY)?;
            if give_folder(inner.as_fd(), owner, depth + 1)? == Given::TooDeep {
                return Ok(Given::TooDeep);
            }
        } else {
            rustix::fs::chownat(folder, &name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    rustix::fs::fchown(folder, Some(uid), Some(gid))?;
    Ok(Given::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A library of 6 KiB that needs one name of 250 bytes 300 times.
    fn greedy_library() -> Vec<u8> {
        let (dynamic, strings) = (64 + 2 * 56_u64, 64 + 2 * 56 + 16 * 304_u64);
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32..40].copy_from_slice(&64_u64.to_le_bytes());
        file[54..58].copy_from_slice(&[56, 0, 2, 0]);
        for (kind, offset, length) in [(1_u64, 0, strings + 252), (2, dynamic, 16 * 304)] {
            file.extend(
                [kind, offset, offset, 0, length, length, 0].iter().flat_map(|word| word.to_le_bytes()),
            );
        }
        let needed = std::iter::repeat_n([1, 1_u64], 300);
        for pair in [[5, strings], [10, 252]].into_iter().chain(needed).chain([[0, 0], [0, 0]]) {
            file.extend(pair.iter().flat_map(|word| word.to_le_bytes()));
        }
        file.push(0);
        file.extend([b'l'; 250]);
        file.push(0);
        file
    }

    #[test]
    fn what_is_known_of_libraries_has_an_end() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for number in 0..200 {
            std::fs::write(from.path().join(number.to_string()), greedy_library()).unwrap();
        }
        let mut copy = TreeCopy::new(Adoption::default());
        let opened = |path| crate::tree::Tree::open(path).unwrap();
        copy.copy(opened(from.path()).root(), opened(to.path()).root()).unwrap();
        let (_, facts) = copy.finish();
        assert_eq!(facts.elf_files[0].needed.len(), 300);
        assert!(facts.has_more_elf_files && facts.elf_files.len() < 60, "{}", facts.elf_files.len());
        let kept: usize = facts.elf_files.iter().map(elf::ElfFile::weight).sum();
        assert!(kept <= MOST_ELF_FACTS, "{kept}");
    }

    #[test]
    fn a_tree_that_is_nested_too_deeply_is_given_to_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let give = || give_tree(folder.path(), uid.as_raw(), gid.as_raw());
        std::fs::create_dir_all(folder.path().join("d/".repeat(DEEPEST))).unwrap();
        give().unwrap();
        std::fs::create_dir_all(folder.path().join("d/".repeat(DEEPEST + 1))).unwrap();
        assert!(matches!(give(), Err(BuildError::EntryRefused { .. })));
    }
}
