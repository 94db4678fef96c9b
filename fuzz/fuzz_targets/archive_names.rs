//! Names and links of an archive's entries: whatever they are, nothing is written outside the tree,
//! and no link of the tree leads out of it.

#![no_main]

use std::{fs, path::Path};

use dozen_build::source::{
    SourceLimits,
    archive::{ArchiveFormat, import_archive},
};
use tar::{Builder, EntryType, Header};

libfuzzer_sys::fuzz_target!(|entries: Vec<(u8, Vec<u8>, Vec<u8>)>| {
    // In memory where there is room for it: a run makes and removes a folder.
    let memory = Path::new("/dev/shm");
    let above = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let above = above.expect("a folder");
    let (inside, file) = (above.path().join("inside"), above.path().join("archive.tar"));
    fs::create_dir(&inside).expect("a folder in it");
    fs::write(above.path().join("canary"), "as before").expect("a canary");
    fs::write(&file, archive_of(&entries)).expect("an archive");
    let archive = fs::File::open(&file).expect("the archive");
    let limits = SourceLimits { entries: 64, bytes: 1 << 16 };
    let tree = inside.join("tree");
    if import_archive(archive, ArchiveFormat::Tar, &tree, limits).is_ok() {
        check(&tree, &tree);
    }
    let names = |folder: &Path| {
        let listing = fs::read_dir(folder).expect("a listing");
        let mut names: Vec<_> = listing.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(above.path()), ["archive.tar", "canary", "inside"]);
    assert!(names(&inside).iter().all(|name| name == "tree"), "a staging folder stays");
    assert_eq!(fs::read(above.path().join("canary")).expect("the canary"), b"as before");
});

/// An archive of these entries, with names as they are: a writer of archives would refuse some.
fn archive_of(entries: &[(u8, Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (kind, name, target) in entries.iter().take(16) {
        let content: &[u8] = b"x";
        let (kind, content) = match kind % 5 {
            0 => (EntryType::Directory, &b""[..]),
            1 => (EntryType::Symlink, &b""[..]),
            2 => (EntryType::Link, &b""[..]),
            _ => (EntryType::Regular, content),
        };
        for (kind, long) in [(EntryType::GNULongName, name), (EntryType::GNULongLink, target)] {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(long.len() as u64);
            header.set_cksum();
            archive.append(&header, long.as_slice()).expect("in memory");
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content).expect("in memory");
    }
    archive.into_inner().expect("in memory")
}

/// No link below `folder` leads out of `tree`, and nothing but files, folders and links is there.
fn check(folder: &Path, tree: &Path) {
    for entry in fs::read_dir(folder).expect("a listing").flatten() {
        let (kind, path) = (entry.file_type().expect("a kind"), entry.path());
        if kind.is_symlink() {
            // One that leads nowhere is none that leads out.
            if let Ok(end) = path.canonicalize() {
                assert!(end.starts_with(tree), "{} leads to {}", path.display(), end.display());
            }
        } else if kind.is_dir() {
            check(&path, tree);
        } else {
            assert!(kind.is_file(), "{} is of another kind", path.display());
        }
    }
}
