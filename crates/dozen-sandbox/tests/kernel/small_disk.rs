//! A small file system in memory, to be full. Only root can mount one.

use std::{fs, io::Write as _, path::PathBuf, process::Command};

use crate::host::{Host, User, users};

const PAGE: usize = 4096;

pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Says on the runner's error output where it cannot.
    pub(crate) fn can_be_made() -> bool {
        let can = users().contains(&User::Root);
        if !can {
            let mut said = std::io::stderr();
            writeln!(said, "skipped: only root can mount a small file system").unwrap();
        }
        can
    }

    pub(crate) fn under(host: &Host, folder: &str, size: &str) -> Self {
        let path = host.path(folder);
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"])
            .arg(&path)
            .status();
        assert!(done.unwrap().success());
        Self(path)
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
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
