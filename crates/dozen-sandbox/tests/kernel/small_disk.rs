//! A small file system in memory, to be full. Only root can mount one.

use std::{fs, io::Write as _, path::PathBuf, process::Command};

use crate::host::{Host, User, end_instance, users};

const PAGE: usize = 4096;

pub(crate) struct SmallDisk {
    path: PathBuf,
    /// Ends an instance that is kept on it.
    binary: PathBuf,
}

impl SmallDisk {
    /// Only root can mount one; the same tests run as root, too.
    pub(crate) fn can_be_made() -> bool {
        users().contains(&User::Root)
    }

    pub(crate) fn under(host: &Host, folder: &str, size: &str) -> Self {
        let path = host.path(folder);
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"])
            .arg(&path)
            .status();
        assert!(done.unwrap().success());
        Self { path, binary: host.binary.clone() }
    }

    /// Leaves room for nothing.
    pub(crate) fn fill(&self) {
        let mut ballast = fs::File::options().create(true).append(true).open(self.ballast()).unwrap();
        while ballast.write_all(&[1; PAGE]).is_ok() {}
    }

    /// Leaves room for so many pages.
    pub(crate) fn fill_but(&self, pages: u64) {
        self.fill();
        let ballast = fs::File::options().write(true).open(self.ballast()).unwrap();
        let length = ballast.metadata().unwrap().len();
        ballast.set_len(length - pages * PAGE as u64).unwrap();
    }

    pub(crate) fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Behind the mount nobody finds it any more.
        let _ = fs::remove_file(self.ballast());
        end_instance(&self.binary, &self.path);
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
