//! The two folders that the router writes in, below one that is ours.
//!
//! ```text
//! router/          root's, 0711 as root: the router cannot put a link in the place of what is in it
//!   table/         the router's, 0700: the last route table
//!   access/        the router's, 0700: access lines, by app
//! ```
//!
//! The router is reachable from outside and has no rights but these. A server that runs as root
//! gives them at each start, by the handle of a folder that was opened and is no link: whatever a
//! router has made of its folders, nothing else of the host becomes its own.
//!
//! Start reading at [`RouterFolders::prepare`].

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Gid, Mode, OFlags, Uid, fchmod, fchown, mkdirat, openat, renameat},
    io::Errno,
};

use crate::error::ControlError;

const TABLE: &str = "table";
const ACCESS: &str = "access";

/// The folders of one home's router.
#[derive(Debug)]
pub(crate) struct RouterFolders {
    above: PathBuf,
    /// Whose they are; `None` when everything here is ours.
    owner: Option<u32>,
}

impl RouterFolders {
    pub(crate) fn new(above: PathBuf, owner: Option<u32>) -> Self {
        Self { above, owner }
    }

    /// Where the router stores its table.
    pub(crate) fn table(&self) -> PathBuf {
        self.above.join(TABLE)
    }

    /// Where the router writes access lines.
    pub(crate) fn access(&self) -> PathBuf {
        self.above.join(ACCESS)
    }

    /// Makes the folders, or gives those that are there their owner and mode again.
    ///
    /// # Errors
    /// [`ControlError::Folder`] with the path of what is a link or no folder.
    pub(crate) fn prepare(&self) -> Result<(), ControlError> {
        let at = |path: &Path, done: io::Result<OwnedFd>| {
            done.map_err(|source| ControlError::Folder { path: path.to_owned(), source })
        };
        // What is in `router/` is ours alone before anything in it is opened.
        let (mode, ours) = if self.owner.is_some() { (0o711, Some(0)) } else { (0o700, None) };
        let above = at(&self.above, folder(CWD, &self.above, ours, mode))?;
        let made = |name: &str| {
            at(&self.above.join(name), folder(above.as_fd(), Path::new(name), self.owner, 0o700))
        };
        made(ACCESS)?;
        let table = made(TABLE)?;
        // Where an earlier version had it; only the router reads it.
        let _ = renameat(&above, "table.json", &table, "table.json");
        Ok(())
    }
}

/// Makes a folder, or opens the one that is there; a link is refused and what it points at stays.
fn folder(below: BorrowedFd<'_>, name: &Path, owner: Option<u32>, mode: u32) -> io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(mode);
    match mkdirat(below, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(below, name, flags, Mode::empty())?;
    if let Some(owner) = owner {
        fchown(&opened, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))?;
    }
    fchmod(&opened, mode)?;
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    };

    use super::*;

    #[test]
    fn a_link_in_the_place_of_a_folder_is_refused_and_what_it_names_stays_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let (router, victim) = (home.path().join("router"), home.path().join("victim"));
        fs::create_dir(&victim).unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o755)).unwrap();
        let before = fs::metadata(&victim).unwrap();
        let owner = rustix::process::geteuid().is_root().then_some(199_999);
        let folders = RouterFolders::new(router.clone(), owner);
        folders.prepare().unwrap();
        for name in [TABLE, ACCESS] {
            fs::remove_dir(router.join(name)).unwrap();
            symlink(&victim, router.join(name)).unwrap();
            let refused = folders.prepare().unwrap_err();
            assert!(matches!(&refused, ControlError::Folder { path, .. } if *path == router.join(name)));
            fs::remove_file(router.join(name)).unwrap();
        }
        let after = fs::metadata(&victim).unwrap();
        assert_eq!((after.uid(), after.gid(), after.mode()), (before.uid(), before.gid(), before.mode()));
    }

    #[test]
    fn the_router_owns_its_folders_and_not_the_one_above() {
        // Only root gives folders away.
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let router = home.path().join("router");
        // As an earlier version left it.
        fs::create_dir(&router).unwrap();
        fs::write(router.join("table.json"), "a table").unwrap();
        std::os::unix::fs::chown(&router, Some(199_999), Some(199_999)).unwrap();
        RouterFolders::new(router.clone(), Some(199_999)).prepare().unwrap();
        let of = |path: &Path| {
            let file = fs::metadata(path).unwrap();
            (file.uid(), file.mode() & 0o777)
        };
        assert_eq!(of(&router), (0, 0o711));
        assert_eq!(of(&router.join(TABLE)), (199_999, 0o700));
        assert_eq!(of(&router.join(ACCESS)), (199_999, 0o700));
        assert_eq!(fs::read(router.join("table/table.json")).unwrap(), b"a table");
    }
}
