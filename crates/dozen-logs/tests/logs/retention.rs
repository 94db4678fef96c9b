//! Retention.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, SystemTime},
};

use dozen_logs::{Limits, Report};
use dozen_model::segment::{index_name, segment_name};

use crate::stage::{Shim, Stage, TEN, make_older};

const HOUR: Duration = Duration::from_secs(3600);

fn limits(max_bytes: u64, max_age: Duration, live: &[&str]) -> Limits {
    Limits {
        max_bytes,
        max_age,
        live: live.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>(),
    }
}

fn enforce(stage: &Stage, limits: &Limits) -> Report {
    let (app, name) = (stage.query().app, stage.query().stage);
    let log = stage.store.platform_log(&app, &name).unwrap();
    stage.store.enforce(&app, &name, limits, &log).unwrap()
}

/// Writes `segments` segments of 1,000 bytes, the newest `age` old and each an hour older than the next.
fn fill(shim: &mut Shim, segments: u32, age: Duration) {
    for number in 1..=segments {
        if number > 1 {
            shim.rotate();
        }
        shim.write(TEN, format!("{}\n", "x".repeat(999)));
        make_older(&shim.segment(), age + HOUR * (segments - number));
    }
}

fn segments(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_oldest_files_go_first_with_their_indexes_and_it_is_announced() {
    let stage = Stage::new();
    let (mut web, mut old) = (stage.shim("web.1~a"), stage.shim("worker.1~b"));
    fill(&mut web, 4, HOUR);
    fill(&mut old, 2, HOUR * 3);

    let report = enforce(&stage, &limits(3_100, HOUR * 1000, &["web.1~a", "worker.1~b"]));

    // Oldest first: web 1 and worker 1 (4 h), web 2; the newest of each stays.
    assert_eq!(report, Report { bytes: 3 * 1_016, files: 3 });
    assert_eq!(segments(&web.folder), [index_name(3), segment_name(3), index_name(4), segment_name(4)]);
    assert_eq!(segments(&old.folder), [index_name(2), segment_name(2)]);
    let lines = stage.texts(&stage.all());
    assert!(lines.iter().any(|line| line == "3 old log files (3048 bytes) are removed by retention"));
}

#[test]
fn nothing_goes_while_the_limits_are_kept() {
    let stage = Stage::new();
    fill(&mut stage.shim("web.1~a"), 3, HOUR);

    assert_eq!(enforce(&stage, &limits(1 << 20, HOUR * 1000, &[])), Report::default());
    assert!(stage.texts(&stage.all()).iter().all(|line| !line.contains("retention")));
}

#[test]
fn the_newest_segment_of_a_live_or_fresh_instance_stays_whatever_its_age() {
    let stage = Stage::new();
    let (mut live, mut fresh) = (stage.shim("web.1~a"), stage.shim("web.2~b"));
    fill(&mut live, 2, HOUR * 50);
    fill(&mut fresh, 1, Duration::ZERO);

    enforce(&stage, &limits(0, HOUR, &["web.1~a"]));

    assert_eq!(segments(&live.folder), [index_name(2), segment_name(2)]);
    assert_eq!(segments(&fresh.folder), [index_name(1), segment_name(1)]);
}

#[test]
fn the_stream_of_a_dead_instance_goes_whole() {
    let stage = Stage::new();
    let mut dead = stage.shim("web.1~a");
    fill(&mut dead, 2, HOUR * 50);
    // The disk was full when the third segment was to be made.
    let orphan = dead.folder.join(index_name(3));
    fs::write(&orphan, "").unwrap();
    make_older(&orphan, HOUR * 49);

    assert_eq!(enforce(&stage, &limits(1 << 20, HOUR, &[])).files, 3);
    assert!(segments(&dead.folder).is_empty());
    File::open(&dead.folder).unwrap().set_modified(SystemTime::now() - HOUR).unwrap();
    enforce(&stage, &limits(1 << 20, HOUR, &[]));
    assert!(!dead.folder.exists());
}

#[test]
fn other_files_and_what_links_lead_to_are_not_touched() {
    let stage = Stage::new();
    let mut web = stage.shim("web.1~a");
    fill(&mut web, 1, HOUR * 50);
    let elsewhere = tempfile::tempdir().unwrap();
    let precious = elsewhere.path().join(segment_name(1));
    fs::write(&precious, "precious").unwrap();
    make_older(&precious, HOUR * 50);
    symlink(elsewhere.path(), stage.path().join("web.2~b")).unwrap();
    symlink(&precious, web.folder.join(segment_name(9))).unwrap();
    fs::write(web.folder.join("notes.txt"), "mine").unwrap();
    fs::create_dir(stage.path().join("backup")).unwrap();
    fs::write(stage.path().join("backup").join(segment_name(1)), "mine").unwrap();

    enforce(&stage, &limits(0, Duration::ZERO, &[]));

    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert_eq!(segments(&web.folder), [segment_name(9), "notes.txt".to_owned()]);
    assert!(stage.path().join("backup").join(segment_name(1)).exists());
    assert!(stage.path().join("web.2~b").is_symlink());
}
