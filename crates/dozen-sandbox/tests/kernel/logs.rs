//! The log: complete, timed, and never in the app's way.

use std::{fs, process::Command, time::Duration};

use dozen_model::segment::IndexRecord;
use dozen_sandbox::{client, protocol::Request, state::ExitStatus};

use crate::host::{Host, User, users, wait_for};

#[test]
fn output_and_error_output_keep_their_order() {
    let host = Host::new(users()[0]);
    let program = "import os\nfor i in range(200): os.write(1 + i % 2, b'%d\\n' % i)";
    let expected: String = (0..200).map(|number| format!("{number}\n")).collect();
    assert_eq!(host.output_of(&host.python(program)), expected);
}

#[test]
fn every_byte_is_covered_by_an_index_that_never_goes_back() {
    let host = Host::new(users()[0]);
    let program = "import sys, time\nfor i in range(20):\n print('line', i, flush=True)\n time.sleep(0.01)";
    host.output_of(&host.python(program));
    let segment = host.segments().pop().unwrap();
    let records = host.index(&segment);
    assert!(matches!(records[0], IndexRecord::Break { incarnation: 1, .. }), "{records:?}");
    let chunks: Vec<(u64, u64)> = records
        .iter()
        .filter_map(|record| match *record {
            IndexRecord::Chunk { end, at } => Some((end, at)),
            _ => None,
        })
        .collect();
    assert!(chunks.len() > 2 && chunks.is_sorted(), "{chunks:?}");
    assert_eq!(chunks.last().unwrap().0, fs::metadata(&segment).unwrap().len());
}

#[test]
fn a_segment_ends_at_its_size_and_the_next_goes_on() {
    let host = Host::new(users()[0]);
    let mut spec = host.python("for i in range(30000): print('%06d' % i)");
    spec.segment_bytes = 64 << 10;
    let expected: String = (0..30_000).map(|number| format!("{number:06}\n")).collect();
    assert_eq!(host.output_of(&spec), expected);
    let segments = host.segments();
    assert!(segments.len() >= 2, "{segments:?}");
    for segment in segments {
        let Some(IndexRecord::Chunk { end, .. }) = host.index(&segment).pop() else { panic!("no chunk") };
        assert_eq!(end, fs::metadata(&segment).unwrap().len());
    }
}

#[test]
fn an_app_that_says_a_hundred_megabytes_is_logged_whole() {
    let host = Host::new(users()[0]);
    let program = "import os\nfor _ in range(1600): os.write(1, (b'x' * 99 + b'\\n') * 655)";
    let (state, _) = host.run(&host.python(program));
    assert_eq!(state.last_exit.unwrap().status, ExitStatus::Code(0));
    assert_eq!(host.log().len(), 1600 * 655 * 100);
}

/// A small file system in memory for the logs. Only root can mount one.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn under(host: &Host, size: &str) -> Self {
        let path = host.path("logs");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&path)
            .status();
        assert!(done.unwrap().success());
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_drops_and_counts_but_never_stops_the_app() {
    if !users().contains(&User::Root) {
        // Said on the runner's error output: there is no small disk without root.
        use std::io::Write as _;
        writeln!(std::io::stderr(), "skipped: only root can mount a small file system").unwrap();
        return;
    }
    let host = Host::new(User::Root);
    let disk = SmallDisk::under(&host, "256k");
    let ballast = host.path("logs/ballast");
    fs::write(&ballast, vec![0; 160 << 10]).unwrap();
    let program = "import sys, time\nfor i in range(50000): sys.stdout.write('%09d\\n' % i)\n\
         sys.stdout.flush()\nopen('/tmp/said', 'w')\n\
         for i in range(600):\n print('after', i, flush=True)\n time.sleep(0.05)";
    let kept = host.start(&host.python(program));
    let state = kept.until("lines dropped", |state| state.dropped.lines > 0 && state.log_trouble.is_some());
    assert!(state.log_trouble.unwrap().contains("No space left"), "{:?}", state.dropped);
    // The app goes on: after the 500,000 bytes it says more, which only a drained pipe lets it.
    kept.until("more lines dropped", |now| now.dropped.bytes > state.dropped.bytes);
    fs::remove_file(&ballast).unwrap();
    let markers = wait_for("the marks of the gap", || {
        let records: Vec<IndexRecord> =
            host.segments().iter().flat_map(|segment| host.index(segment)).collect();
        let lines = records.iter().find_map(|it| {
            if let IndexRecord::LinesDropped { lines, .. } = it { Some(*lines) } else { None }
        });
        let bytes = records.iter().find_map(|it| {
            if let IndexRecord::BytesDropped { bytes, .. } = it { Some(*bytes) } else { None }
        });
        Some((lines?, bytes?, records))
    });
    assert!(markers.0 > 1000 && markers.1 > 10_000, "{markers:?}");
    let last = wait_for("a line after the gap", || {
        let text = host.log_text();
        text.contains("after").then_some(text)
    });
    assert!(last.starts_with("000000000\n000000001\n"));
    client::request(&host.instance(), &Request::Kill {}).unwrap();
    let state = kept.until_over();
    assert!(state.log_trouble.is_none() && state.dropped.lines >= markers.0, "{state:?}");
    drop(disk);
}

#[test]
fn a_log_folder_that_cannot_be_made_does_not_stop_the_app() {
    let host = Host::new(users()[0]);
    let file = host.write("not-a-folder", "");
    let mut spec = host.python("print('x\\n' * 100000); open('/tmp/done', 'w')");
    spec.log_dir = file.join("logs");
    let kept = host.start(&spec);
    let state = kept.until_over();
    assert_eq!(state.last_exit.unwrap().status, ExitStatus::Code(0));
    assert_eq!(state.dropped.lines, 100_001);
    assert!(state.log_trouble.unwrap().contains("Not a directory"));
}

#[test]
fn an_idle_shim_and_its_init_are_small() {
    let host = Host::new(users()[0]);
    let kept = host.start(&host.python("import time; time.sleep(60)"));
    let state = kept.until_running();
    std::thread::sleep(Duration::from_millis(50));
    let private = |pid: u32| {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let dirty = rollup.lines().find(|line| line.starts_with("Private_Dirty:")).unwrap_or("x 0 kB");
        dirty.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let (shim, init) = (private(state.shim.pid), private(state.init.unwrap().pid));
    assert!(shim < 600 && init < 600, "{shim} KiB and {init} KiB are dirty");
}
