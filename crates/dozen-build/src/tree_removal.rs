//! Removes trees that somebody else wrote, whatever their depth, width and modes.
//!
//! A process nests folders without limit in a second, each made in the one before. So nothing here
//! goes down further than [`DEEPEST`] levels: a folder below that is renamed up to the top of what
//! is removed, and taken from there. At most that many descriptors are open at once, the stack is
//! as deep, and names are read as they come, never as a whole list. What is half removed, because
//! the process was killed, is removed by the next call.
//!
//! No link on the way is followed. Start reading at [`remove_tree`].

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, RenameFlags},
    io::Errno,
};

use crate::{
    error::{BuildError, shown_path},
    tree::{Tree, open_below},
};

/// How far down one goes; each level holds one descriptor.
const DEEPEST: usize = 32;

/// Removes a file or a whole tree, read-only folders as well; nothing is done when it is gone.
///
/// The folders above it must be ours: links among them are followed.
pub fn remove_tree(path: &Path) -> Result<(), BuildError> {
    let doing = || format!("remove `{}`", shown_path(path));
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::open(parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened.map_err(BuildError::os(doing()))?,
    };
    remove_name(parent.as_fd(), name.as_encoded_bytes()).map_err(BuildError::os(doing()))
}

/// Removes what is in a folder and leaves the folder itself.
pub(crate) fn empty_folder(path: &Path) -> Result<(), BuildError> {
    let doing = || format!("empty `{}`", shown_path(path));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(path, flags, Mode::empty()).map_err(BuildError::os(doing()))?;
    Removal::run(folder.as_fd()).map_err(BuildError::os(doing()))
}

/// Removes `name` in `folder` below a tree that somebody else wrote; no link on the way is followed.
pub(crate) fn remove_below(tree: &Tree, folder: &str, name: &str) -> Result<(), BuildError> {
    let Ok(folder) = open_below(tree.root(), Path::new(folder), OFlags::RDONLY | OFlags::DIRECTORY) else {
        return Ok(());
    };
    remove_name(folder.as_fd(), name.as_bytes()).map_err(BuildError::os(format!("remove `{name}`")))
}

fn remove_name(folder: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match unlink(folder, name)? {
        Unlinked::Gone => return Ok(()),
        Unlinked::IsFull => {}
    }
    Removal::run(open_writable(folder, name)?.as_fd())?;
    rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR)
}

/// What became of a name.
enum Unlinked {
    Gone,
    /// It is a folder with something in it.
    IsFull,
}

/// Removes a file, a link or an empty folder.
fn unlink(folder: BorrowedFd<'_>, name: &[u8]) -> Result<Unlinked, Errno> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(Unlinked::Gone),
        Err(Errno::ISDIR) => {}
        Err(errno) => return Err(errno),
    }
    match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(Unlinked::Gone),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Unlinked::IsFull),
        Err(errno) => Err(errno),
    }
}

/// Opens a folder and gives its owner the rights that emptying and moving it take.
fn open_writable(folder: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(folder, name, flags, Mode::empty());
    let opened = match open() {
        Err(Errno::ACCESS) => {
            // Never for root, who is refused nothing: only here a name is trusted to be a folder.
            rustix::fs::chmodat(folder, name, Mode::RWXU, AtFlags::empty())?;
            open()?
        }
        opened => opened?,
    };
    // What it is for fails with the better error if this does.
    let _ = rustix::fs::fchmod(&opened, Mode::RWXU);
    Ok(opened)
}

/// The removal of all that is in one folder, the top.
struct Removal<'a> {
    top: BorrowedFd<'a>,
    /// The last number that a folder got which was moved to the top.
    moved: u64,
}

impl<'a> Removal<'a> {
    /// Goes over the top as often as something is there: folders are moved to it meanwhile.
    fn run(top: BorrowedFd<'a>) -> Result<(), Errno> {
        let mut removal = Self { top, moved: 0 };
        let mut entries = Dir::read_from(top)?;
        loop {
            let mut found = false;
            while let Some(name) = next_name(&mut entries)? {
                found = true;
                removal.remove(top, &name, 1)?;
            }
            if !found {
                return Ok(());
            }
            entries.rewind();
        }
    }

    fn remove(&mut self, folder: BorrowedFd<'_>, name: &[u8], depth: usize) -> Result<(), Errno> {
        if let Unlinked::Gone = unlink(folder, name)? {
            return Ok(());
        }
        let inner = open_writable(folder, name)?;
        if depth >= DEEPEST {
            return self.move_to_top(folder, name);
        }
        let mut entries = Dir::new(inner)?;
        while let Some(entry) = next_name(&mut entries)? {
            self.remove(entries.fd()?, &entry, depth + 1)?;
        }
        match unlink(folder, name)? {
            Unlinked::Gone => Ok(()),
            // Some file systems leave names out when others go while they are listed.
            Unlinked::IsFull => self.move_to_top(folder, name),
        }
    }

    fn move_to_top(&mut self, folder: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
        loop {
            self.moved += 1;
            let target = format!("removed-{}", self.moved);
            match rustix::fs::renameat_with(folder, name, self.top, target, RenameFlags::NOREPLACE) {
                // Whoever wrote the tree may have had that name too.
                Err(Errno::EXIST) => {}
                done => return done,
            }
        }
    }
}

fn next_name(entries: &mut Dir) -> Result<Option<Vec<u8>>, Errno> {
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            return Ok(Some(name.to_vec()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    /// Folders one in the other, as no path can name them.
    fn nest(path: &Path, levels: usize) {
        let mode = Mode::RWXU;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = rustix::fs::open(path, flags, Mode::empty()).unwrap();
        for _ in 0..levels {
            rustix::fs::mkdirat(&folder, "d", mode).unwrap();
            folder = rustix::fs::openat(&folder, "d", flags, Mode::empty()).unwrap();
        }
        rustix::fs::mkdirat(&folder, "removed-1", mode).unwrap();
        rustix::fs::openat(&folder, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
    }

    #[test]
    fn a_tree_without_end_is_removed_by_a_small_stack() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        for name in ["tree", "tree/removed-1", "tree/removed-1/x"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        nest(&tree, 5_000);
        nest(&tree.join("removed-1"), 3_000);
        // Removed by a thread with little room: deep frames end it.
        let doomed = tree.clone();
        let thread = std::thread::Builder::new().stack_size(128 << 10).spawn(move || remove_tree(&doomed));
        thread.unwrap().join().unwrap().unwrap();
        assert!(!tree.exists());
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn folders_without_rights_are_removed_and_links_stay_unfollowed() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, tree) = (folder.path().join("kept"), folder.path().join("tree"));
        fs::create_dir_all(kept.join("inner")).unwrap();
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink(&kept, tree.join("a/link")).unwrap();
        for name in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o000)).unwrap();
        }
        empty_folder(&tree).unwrap();
        assert_eq!(fs::read_dir(&tree).unwrap().count(), 0);
        assert!(kept.join("inner").is_dir());
    }
}
