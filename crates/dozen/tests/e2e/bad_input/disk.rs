//! A disk that is full: a small file system below a server's home. Only root can mount one.

use std::{io::Write, path::PathBuf, process::Command, time::Duration};

use super::{Page, line_with};
use crate::{
    host::{TestHost, only_root, wait_for},
    project::Project,
};

/// A file system of some megabytes, unmounted when dropped: declare it before the host.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mounted(megabytes: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("dz").tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mut command = Command::new("mount");
        let done = command.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).status().unwrap();
        assert!(done.success(), "mount");
        Self { folder }
    }

    fn host(&self) -> TestHost {
        let home = self.folder.path().join("home").display().to_string();
        TestHost::start_with(&[("DOZEN_HOME", &home), ("LC_ALL", "C.UTF-8")])
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.filler()).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

#[test]
fn a_deploy_that_fills_the_disk_is_refused_with_advice_and_leaves_nothing() {
    if !only_root("can mount") {
        return;
    }
    let disk = SmallDisk::mounted(24);
    let host = disk.host();
    let project = Project::small("shop");
    host.up(&project);
    let mut page = Page::of(&host);
    let mut noise = 1_u32;
    for (case, bytes) in [("in the upload", 30 << 20), ("in the tree", 13 << 20), ("in the layer", 9 << 20)] {
        let fill = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        });
        std::fs::write(project.folder().join("film.bin"), fill.take(bytes).collect::<Vec<u8>>()).unwrap();
        project.commit("large");
        page.add_up(&host, case, &project);
    }
    insta::assert_snapshot!(page.text);
    assert!(host.get("shop", "/").body.starts_with("hello v1 "), "what served before serves on");

    project.git(&["rm", "-q", "film.bin"]);
    project.commit("small again");
    host.up(&project);
    assert!(host.get("shop", "/").body.starts_with("hello v2 "), "the room was given back");
}

#[test]
fn a_full_disk_stops_neither_app_nor_server_and_lost_lines_are_counted() {
    if !only_root("can mount") {
        return;
    }
    let disk = SmallDisk::mounted(24);
    let host = disk.host();
    host.up(&Project::small("shop"));
    disk.fill();
    for _ in 0..200 {
        assert_eq!(host.get("shop", "/").status, 200, "the app answers with nowhere to log to");
    }
    let mut page = Page::of(&host);
    page.add("config set", &host.dozen(["config", "set", "-a", "shop", "A=b"]));
    insta::assert_snapshot!(page.text);

    std::fs::remove_file(disk.filler()).unwrap();
    let logs = wait_for("the count of lost lines", Duration::from_secs(30), || {
        assert_eq!(host.get("shop", "/").status, 200);
        let logs = host.dozen(["logs", "-a", "shop", "-n", "1000"]).succeeds().stdout;
        logs.contains("were dropped").then_some(logs)
    });
    let lost = line_with(&logs, "were dropped");
    assert!(lost.contains("dozen[web.1]: ") && lost.contains("the log could not be written"), "{lost}");
    host.dozen(["config", "set", "-a", "shop", "A=b"]).succeeds();
}
