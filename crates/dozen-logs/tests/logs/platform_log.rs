//! The platform stream.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use dozen_logs::{LogDirs, LogQuery, LogStore, PlatformLog};
use dozen_model::segment::stream_name;

use crate::stage::{Stage, append, skip, texts};

fn open(stage: &Stage) -> PlatformLog {
    stage.store.platform_log(&stage.query().app, &stage.query().stage).unwrap()
}

#[test]
fn what_is_written_is_read_back_whatever_it_says() {
    let stage = Stage::new();
    let log = open(&stage);
    log.write("web.1", "crashed: exit status 1");
    log.write("control", "two\nlines, \u{1b}[2J and 1 fake line");

    let lines = stage.store.read(&stage.query()).unwrap().lines;
    assert_eq!(texts(&lines), ["crashed: exit status 1", "two", "lines, \u{1b}[2J and 1 fake line"]);
    assert_eq!(lines[0].process, "web.1");
    let mode = fs::metadata(stage.path().join("dozen").join(stream_name(1))).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_line_cut_by_a_crash_is_closed_and_writing_goes_on() {
    let stage = Stage::new();
    open(&stage).write("control", "one");
    append(&stage.path().join("dozen").join(stream_name(1)), b"12345 control cut of");
    open(&stage).write("control", "two");

    assert_eq!(stage.texts(&LogQuery { lines: Some(1), ..stage.query() }), ["two"]);
    let all = stage.texts(&stage.all());
    assert!(all.contains(&"one".to_owned()) && all.contains(&"cut of".to_owned()), "{all:?}");
}

#[test]
fn a_full_file_is_followed_by_the_next_number() {
    let stage = Stage::new();
    open(&stage).write("control", "first");
    let file = stage.path().join("dozen").join(stream_name(1));
    append(&file, format!("1 control {}\n", "x".repeat(8 << 20)).as_bytes());
    let log = open(&stage);
    log.write("control", "in the second");
    log.write("control", "also");

    let second = fs::read_to_string(stage.path().join("dozen").join(stream_name(2))).unwrap();
    assert!(second.contains("in the second") && second.contains("also"), "{second}");
    drop(log);
    open(&stage).write("control", "and after a restart");
    assert_eq!(stage.texts(&LogQuery { lines: Some(2), ..stage.query() }), ["also", "and after a restart"]);
}

#[test]
fn a_line_that_is_cut_inside_a_character_stops_nobody() {
    for shift in 0..2 {
        let Some(disk) = SmallDisk::mount() else {
            return skip("a small disk needs root");
        };
        let store = LogStore::new(LogDirs { apps: disk.path().join("logs"), router: None });
        let query = LogQuery::new("blango".parse().unwrap(), "production".parse().unwrap());
        let log = store.platform_log(&query.app, &query.stage).unwrap();
        log.write("control", "before");
        let ballast = disk.path().join("ballast");
        let _ = fs::write(&ballast, vec![0; 4 << 20]);
        // What is left of the file's last page ends in an even and in an odd place.
        log.write("control", &("x".repeat(shift) + &"\u{e9}".repeat(4000)));
        fs::remove_file(&ballast).unwrap();
        log.write("control", "after");
        let lines = store.read(&query).unwrap().lines;
        assert_eq!(texts(&lines).last().unwrap(), "after");
    }
}

#[test]
fn a_full_disk_stops_nobody_and_is_announced_when_there_is_room_again() {
    let Some(disk) = SmallDisk::mount() else {
        return skip("a small disk needs root");
    };
    let store = LogStore::new(LogDirs { apps: disk.path().join("logs"), router: None });
    let query = LogQuery::new("blango".parse().unwrap(), "production".parse().unwrap());
    let log = store.platform_log(&query.app, &query.stage).unwrap();
    log.write("control", "before");
    let ballast = disk.path().join("ballast");
    let _ = fs::write(&ballast, vec![0; 4 << 20]);
    for _ in 0..40 {
        log.write("control", &"does not fit ".repeat(100));
    }
    fs::remove_file(&ballast).unwrap();
    log.write("control", "after");

    let last = texts(&store.read(&query).unwrap().lines);
    let announced =
        last.iter().filter(|text| text.ends_with("lines were dropped: the log could not be written"));
    assert_eq!(announced.count(), 1, "{last:?}");
    assert_eq!((last.first().unwrap().as_str(), last.last().unwrap().as_str()), ("before", "after"));
}

/// A file system of 256 KiB, gone when dropped.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "dozen-test"])
            .arg(dir.path())
            .output()
            .unwrap();
        mount.status.success().then_some(Self { dir })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}
