//! The log: complete, timed, and never in the app's way.

use std::{fs, time::Duration};

use dozen_model::segment::IndexRecord;
use dozen_sandbox::{
    client,
    protocol::Request,
    state::{Dropped, ExitStatus},
};

use crate::{
    host::{Host, User, users, wait_for},
    small_disk::SmallDisk,
};

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
    let program = "import sys, time\nfor i in range(20):\n print('line', i, flush=True)\n time.sleep(0.05)";
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

#[test]
fn a_full_disk_drops_and_counts_but_never_stops_the_app() {
    if !SmallDisk::can_be_made() {
        return;
    }
    let host = Host::new(User::Root);
    let disk = SmallDisk::under(&host, "logs", "256k");
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

/// What the index says is missing, all in all.
fn marked(host: &Host) -> Dropped {
    let mut sum = Dropped::default();
    for record in host.segments().iter().flat_map(|segment| host.index(segment)) {
        match record {
            IndexRecord::LinesDropped { lines, .. } => sum.lines += lines,
            IndexRecord::BytesDropped { bytes, .. } => sum.bytes += bytes,
            IndexRecord::Chunk { .. } | IndexRecord::Break { .. } => {}
        }
    }
    sum
}

#[test]
fn a_gap_at_the_end_of_a_life_is_marked_and_so_is_one_whose_shim_dies() {
    if !SmallDisk::can_be_made() {
        return;
    }
    for with_kill in [false, true] {
        let host = Host::new(User::Root);
        let disk = SmallDisk::under(&host, "logs", "2m");
        let program = "import os, signal, sys, time\n\
             def more(*_):\n sys.stdout.write('lost line\\n' * 60000)\n sys.stdout.flush()\n time.sleep(3)\n sys.exit(3)\n\
             signal.signal(10, more)\nprint('ready', flush=True)\ntime.sleep(60)";
        let spec = host.python(program);
        let mut kept = host.start(&spec);
        kept.until_running();
        wait_for("ready", || host.log_text().contains("ready").then_some(()));
        disk.fill();
        client::request(&host.instance(), &Request::Signal { number: 10, all: false }).unwrap();
        if with_kill {
            kept.until("a gap in the state", |state| state.unannounced.bytes > 0);
            kept.kill_shim();
            kept = host.adopt(&spec);
            disk.make_room();
        }
        let state = kept.until_over();
        assert_eq!(state.last_exit.unwrap().status, ExitStatus::Code(3));
        assert!(state.dropped.lines > 1000, "{state:?}");
        assert_eq!((state.unannounced, marked(&host)), (Dropped::default(), state.dropped), "{with_kill}");
    }
}

#[test]
fn a_log_that_reaches_its_limit_loses_its_oldest_segments_and_says_so() {
    let host = Host::new(users()[0]);
    let mut spec = host.python("for i in range(2000000): print('%09d' % i)");
    (spec.segment_bytes, spec.log_bytes) = (1 << 20, 4 << 20);
    let (state, _) = host.run(&spec);
    let kept = host.log();
    // A segment ends after what one turn brought.
    assert!(kept.len() <= 6 << 20, "{} bytes are kept", kept.len());
    assert!(kept.ends_with(b"001999999\n"));
    assert_eq!(state.dropped.bytes + kept.len() as u64, 20_000_000);
    assert!(marked(&host).bytes > 0);
}

#[test]
fn an_index_that_is_larger_than_its_segment_ends_it() {
    let host = Host::new(users()[0]);
    let program = "import os, time\nfor i in range(1000):\n os.write(1, b'x')\n time.sleep(0.003)";
    let mut spec = host.python(program);
    spec.segment_bytes = 4096;
    host.output_of(&spec);
    assert_eq!(host.log(), vec![b'x'; 1000]);
    assert!(host.segments().len() > 1, "1000 bytes with an index of {} records", {
        host.segments().iter().map(|segment| host.index(segment).len()).sum::<usize>()
    });
}

#[test]
fn an_app_may_open_its_output_by_name_but_not_read_its_log_away() {
    for user in users() {
        let host = Host::new(user);
        let program = "import sys\nfor name in ('stdout', 'stderr'):\n \
             with open('/dev/' + name, 'w') as it: print('to', name, file=it)\n\
             try: open('/dev/stdout', 'rb')\nexcept PermissionError: print('refused', flush=True)";
        let output = host.output_of(&host.python(program));
        assert!(output.starts_with("to stdout\nto stderr\n"), "{user:?}: {output}");
        // An ordinary user's pipe is the app's own.
        assert_eq!(output.contains("refused"), user == User::Root, "{output}");
    }
}
