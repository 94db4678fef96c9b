//! Reading what is there.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use dozen_logs::{Cursor, LogQuery, MAX_LINE_BYTES, Source};
use dozen_model::segment::{IndexRecord, segment_name, stream_name};
use proptest::prelude::*;

use crate::stage::{SECOND, Stage, TEN, append, make_older, texts};

#[test]
fn a_stage_that_never_ran_has_no_lines() {
    let stage = Stage::new();
    assert!(stage.texts(&stage.query()).is_empty());
}

#[test]
fn lines_of_all_streams_merge_by_time() {
    let stage = Stage::new();
    stage.shim("web.1~a").write(TEN + 2, "two\n");
    stage.shim("worker.1~b").write(TEN + 4, "four\n");
    stage.router_line(TEN + 3, "three");
    stage.platform_line(TEN + 1, "control", "one");

    let page = stage.store.read(&stage.query()).unwrap();

    let shown = page.lines.iter().map(|line| {
        let text = String::from_utf8_lossy(&line.text);
        format!("{} {}[{}]: {text}", line.time_ns - TEN, line.source.as_str(), line.process)
    });
    assert_eq!(
        shown.collect::<Vec<_>>(),
        ["1 dozen[control]: one", "2 app[web.1]: two", "3 dozen[router]: three", "4 app[worker.1]: four",]
    );
}

#[test]
fn filters_leave_out_other_processes_and_sources() {
    let stage = Stage::new();
    stage.shim("web.1~a").write(TEN + 1, "web.1 speaks\n");
    stage.shim("web.2~b").write(TEN + 2, "web.2 speaks\n");
    stage.shim("worker.1~c").write(TEN + 3, "worker.1 speaks\n");
    stage.platform_line(TEN + 4, "web.1", "web.1 is up");
    stage.platform_line(TEN + 5, "control", "deployed");

    let of = |process: &str| LogQuery { process: Some(process.parse().unwrap()), ..stage.query() };
    let by = |source| LogQuery { source: Some(source), ..stage.query() };

    assert_eq!(stage.texts(&of("web")), ["web.1 speaks", "web.2 speaks", "web.1 is up"]);
    assert_eq!(stage.texts(&of("web.1")), ["web.1 speaks", "web.1 is up"]);
    assert_eq!(stage.texts(&by(Source::App)), ["web.1 speaks", "web.2 speaks", "worker.1 speaks"]);
    assert_eq!(stage.texts(&by(Source::Dozen)), ["web.1 is up", "deployed"]);
}

#[test]
fn the_last_lines_of_a_process_are_found_among_many_of_another() {
    let stage = Stage::new();
    stage.platform_line(TEN, "control", "deployed");
    let noise: String = (1..3_000).map(|n| format!("{} router GET /{n}\n", TEN + n)).collect();
    append(&stage.path().join("dozen").join(stream_name(1)), noise.as_bytes());

    let of_control = LogQuery { process: Some("control".parse().unwrap()), lines: Some(5), ..stage.query() };
    assert_eq!(stage.texts(&of_control), ["deployed"]);
}

#[test]
fn only_the_last_lines_are_given_and_of_all_streams_together() {
    let stage = Stage::new();
    let (mut web, mut old) = (stage.shim("web.1~a"), stage.shim("web.1~z"));
    old.write(TEN, "old\n");
    make_older(&old.segment(), Duration::from_secs(3600));
    for n in 0..500 {
        web.write(TEN + SECOND + n, format!("line {n}\n"));
        if n == 490 {
            web.rotate();
        }
    }

    let last = stage.texts(&stage.query());
    assert_eq!(last.len(), 100);
    assert_eq!((last[0].as_str(), last[99].as_str()), ("line 400", "line 499"));
    assert_eq!(stage.texts(&LogQuery { lines: Some(1), ..stage.query() }), ["line 499"]);
    assert_eq!(stage.texts(&LogQuery { lines: Some(501), ..stage.query() }).len(), 501);
    assert!(stage.texts(&LogQuery { lines: Some(0), ..stage.query() }).is_empty());
}

#[test]
fn since_gives_all_lines_that_began_then_or_later() {
    let stage = Stage::new();
    let mut web = stage.shim("web.1~a");
    web.write(TEN, "before\nbegan before");
    web.write(TEN + SECOND, " and went on\nafter\n");
    web.rotate();
    web.write(TEN + 2 * SECOND, "later\n");
    stage.router_line(TEN, "early");
    stage.router_line(TEN + SECOND, "late");

    let since = |since_ns| stage.texts(&LogQuery { since_ns: Some(since_ns), ..stage.query() });
    assert_eq!(since(TEN + SECOND), ["late", "after", "later"]);
    assert_eq!(since(TEN + SECOND + 1), ["later"]);
    assert_eq!(since(TEN).len(), 6);
    let last = LogQuery { since_ns: Some(TEN), lines: Some(2), ..stage.query() };
    assert_eq!(stage.texts(&last), ["after", "later"]);
}

#[test]
fn the_end_of_a_huge_stream_is_read_and_not_the_whole() {
    let stage = Stage::new();
    let web = stage.shim("web.1~a");
    let huge = 1 << 40;
    OpenOptions::new().write(true).open(web.segment()).unwrap().set_len(huge).unwrap();
    append(&web.segment(), b"\none\ntwo\n");
    web.record(IndexRecord::Chunk { end: huge, at: TEN });
    web.record(IndexRecord::Chunk { end: huge + 9, at: TEN + 1 });

    let started = Instant::now();
    assert_eq!(stage.texts(&LogQuery { lines: Some(2), ..stage.query() }), ["one", "two"]);
    assert_eq!(stage.texts(&LogQuery { since_ns: Some(TEN + 1), ..stage.query() }).last().unwrap(), "two");
    // A terabyte takes minutes even as a hole.
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_line_without_an_end_is_held_back_for_a_second_and_goes_on_as_continued() {
    let stage = Stage::new();
    let mut web = stage.shim("web.1~a");
    web.write(TEN, "Password: ");
    let first = stage.store.read(&stage.query()).unwrap();
    assert!(first.lines.is_empty());

    make_older(&web.segment(), Duration::from_secs(2));
    let second = stage.store.read(&LogQuery { from: Some(first.cursor), ..stage.query() }).unwrap();
    assert_eq!(texts(&second.lines), ["Password: "]);
    assert!(second.lines[0].unfinished);

    web.write(TEN + 1, "thanks\nnext\n");
    let third = stage.store.read(&LogQuery { from: Some(second.cursor), ..stage.query() }).unwrap();
    assert_eq!(texts(&third.lines), ["thanks", "next"]);
    assert!(third.lines[0].continued && !third.lines[1].continued);
}

#[test]
fn what_was_dropped_is_announced_once_and_in_its_place() {
    let stage = Stage::new();
    let mut web = stage.shim("web.1~a");
    web.write(TEN, "before\ncut");
    web.record(IndexRecord::LinesDropped { lines: 3, at: TEN + 1 });
    web.record(IndexRecord::BytesDropped { bytes: 99, at: TEN + 1 });
    let first = stage.store.read(&stage.query()).unwrap();
    web.write(TEN + 2, "after\n");
    let second = stage.store.read(&LogQuery { from: Some(first.cursor), ..stage.query() }).unwrap();

    let notice = "3 line ends, 99 bytes of output were dropped: the log could not be written";
    assert_eq!(texts(&first.lines), ["before", "cut", notice]);
    assert!(first.lines[1].unfinished);
    let dropped = first.lines[2].dropped.unwrap();
    assert_eq!((dropped.lines, dropped.bytes, first.lines[2].source), (3, 99, Source::Dozen));
    assert_eq!(texts(&second.lines), ["after"]);
}

#[test]
fn a_gap_is_announced_before_the_bytes_behind_it_although_its_record_comes_after_them() {
    let stage = Stage::new();
    let mut web = stage.shim("web.1~a");
    web.write(TEN, "before\n");
    web.write_unindexed("after\n");
    let first = stage.store.read(&stage.query()).unwrap();
    web.record(IndexRecord::BytesDropped { bytes: 5, at: TEN + 1 });
    web.record(IndexRecord::Chunk { end: 13, at: TEN + 1 });
    let second = stage.store.read(&LogQuery { from: Some(first.cursor), ..stage.query() }).unwrap();

    assert_eq!(texts(&first.lines), ["before"]);
    assert!(second.lines[0].dropped.is_some(), "{:?}", texts(&second.lines));
    assert_eq!(second.lines[1].text, b"after");
}

#[test]
fn a_restarted_process_begins_a_new_line() {
    let stage = Stage::new();
    let mut web = stage.shim("web.1~a");
    web.write(TEN, "killed in mid");
    web.record(IndexRecord::Break { incarnation: 2, at: TEN + 1 });
    web.write(TEN + 2, "hello\n");

    assert_eq!(stage.texts(&stage.query()), ["killed in mid", "hello"]);
}

#[test]
fn bytes_without_a_record_are_read_too() {
    let stage = Stage::new();
    let mut web = stage.shim("web.1~a");
    web.write(TEN, "one\n");
    web.write_unindexed("two\nthr");
    web.rotate();
    web.write_unindexed("ee\n");
    web.rotate();

    let lines = stage.store.read(&stage.query()).unwrap().lines;
    assert_eq!(texts(&lines), ["one", "two", "three"]);
    // In a segment that has a successor, the last known time is theirs.
    assert_eq!((lines[1].time_ns, lines[2].time_ns), (TEN, TEN));
}

#[test]
fn removed_segments_are_announced_to_a_reader_that_missed_them() {
    let stage = Stage::new();
    let mut web = stage.shim("web.1~a");
    web.write(TEN, "one\n");
    let cursor = stage.store.read(&stage.query()).unwrap().cursor;
    web.write(TEN + 1, "lost\n");
    fs::remove_file(web.segment()).unwrap();
    web.rotate();
    web.write(TEN + 2, "three\n");

    let page = stage.store.read(&LogQuery { from: Some(cursor), ..stage.query() }).unwrap();
    let dropped: Vec<bool> = page.lines.iter().map(|line| line.dropped.is_some()).collect();
    assert!(page.lines.iter().any(|line| line.text == b"three"));
    assert_eq!(dropped.iter().filter(|is| **is).count(), 1, "{:?}", texts(&page.lines));
}

#[test]
fn nothing_outside_the_logs_is_read() {
    let stage = Stage::new();
    stage.shim("web.1~a").write(TEN, "own\n");
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join(segment_name(1)), "secret\n").unwrap();
    fs::write(elsewhere.path().join(stream_name(1)), format!("{TEN} router secret\n")).unwrap();

    // Old enough to be given out without an index.
    make_older(&elsewhere.path().join(segment_name(1)), Duration::from_secs(60));
    // A folder, a file and the router's folder that are symbolic links, and a fifo.
    symlink(elsewhere.path(), stage.path().join("web.2~b")).unwrap();
    fs::create_dir(stage.path().join("web.3~c")).unwrap();
    symlink(elsewhere.path().join(segment_name(1)), stage.path().join("web.3~c").join(segment_name(1)))
        .unwrap();
    fs::create_dir_all(stage.router_path().parent().unwrap()).unwrap();
    symlink(elsewhere.path(), stage.router_path()).unwrap();
    fs::create_dir(stage.path().join("web.4~d")).unwrap();
    let fifo = stage.path().join("web.4~d").join(segment_name(1));
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();

    assert_eq!(stage.texts(&stage.all()), ["own"]);
    let from_the_beginning = LogQuery { from: Some(Cursor::default()), ..stage.query() };
    assert_eq!(stage.texts(&from_the_beginning), ["own"]);
}

#[test]
fn a_damaged_platform_line_is_shown_as_it_is() {
    let stage = Stage::new();
    stage.platform_line(TEN, "control", "two\nlines");
    append(&stage.path().join("dozen").join(stream_name(1)), b"no number here\n");

    assert_eq!(stage.texts(&stage.all()), ["two", "lines", "no number here"]);
}

/// What a shim may do next.
#[derive(Debug, Clone)]
enum Step {
    Write(Vec<u8>),
    WriteUnindexed(Vec<u8>),
    Rotate,
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![
        "[a-z]{0,6}\n?".prop_map(String::into_bytes),
        "(\n|[a-z]){0,20}".prop_map(String::into_bytes),
        (9_000..25_000usize).prop_map(|length| vec![b'x'; length]),
    ];
    prop_oneof![
        6 => bytes.clone().prop_map(Step::Write),
        1 => bytes.prop_map(Step::WriteUnindexed),
        1 => Just(Step::Rotate),
        2 => Just(Step::Read),
    ]
}

/// Reads on from a cursor that was stored in between, as a drain would after a kill.
fn read_on(stage: &Stage, cursor: &mut String, out: &mut Vec<u8>) -> bool {
    let from: Cursor = serde_json::from_str(cursor).unwrap();
    let page = stage.store.read(&LogQuery { from: Some(from), ..stage.query() }).unwrap();
    for line in &page.lines {
        out.extend_from_slice(&line.text);
        if !line.unfinished {
            out.push(b'\n');
        }
        assert!(line.text.len() <= MAX_LINE_BYTES + 3);
    }
    *cursor = serde_json::to_string(&page.cursor).unwrap();
    !page.lines.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_line_is_given_once_and_in_order_over_chunks_segments_and_restarts(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let stage = Stage::new();
        let mut web = stage.shim("web.1~a");
        let (mut written, mut read) = (Vec::new(), Vec::new());
        let mut cursor = "{}".to_owned();
        for (at, step) in (TEN..).zip(&steps) {
            match step {
                Step::Write(bytes) => { web.write(at, bytes); written.extend_from_slice(bytes); }
                Step::WriteUnindexed(bytes) => { web.write_unindexed(bytes); written.extend_from_slice(bytes); }
                Step::Rotate => web.rotate(),
                Step::Read => { read_on(&stage, &mut cursor, &mut read); }
            }
        }
        web.write(TEN + SECOND, "\n");
        written.push(b'\n');
        while read_on(&stage, &mut cursor, &mut read) {}

        // The end of a line that was cut right before it has no piece of its own.
        let cut = |bytes: &[u8]| bytes.iter().filter(|byte| **byte != b'\n').copied().collect::<Vec<u8>>();
        prop_assert_eq!(cut(&read), cut(&written));
        if written.split(|byte| *byte == b'\n').all(|line| line.len() <= MAX_LINE_BYTES) {
            prop_assert_eq!(String::from_utf8(read), String::from_utf8(written));
        }
    }

    #[test]
    fn the_last_lines_are_the_end_of_all_lines(
        chunks in prop::collection::vec(("(\n|[a-z]){0,30}", any::<bool>()), 1..40),
        lines in 0..20usize,
    ) {
        let stage = Stage::new();
        let mut web = stage.shim("web.1~a");
        for (at, (chunk, rotate)) in (TEN..).zip(&chunks) {
            web.write(at, chunk);
            if *rotate { web.rotate(); }
        }
        web.write(TEN + SECOND, "\n");

        let all = stage.store.read(&stage.all()).unwrap();
        let last = stage.store.read(&LogQuery { lines: Some(lines), ..stage.query() }).unwrap();
        let from = all.lines.len().saturating_sub(lines);
        prop_assert_eq!(&last.lines, &all.lines[from..]);
        let on = |cursor| stage.texts(&LogQuery { from: Some(cursor), ..stage.query() });
        prop_assert!(on(all.cursor).is_empty() && on(last.cursor).is_empty());
    }
}

#[test]
fn bytes_wait_for_their_record_a_second_and_are_given_out_once() {
    let stage = Stage::new();
    let mut web = stage.shim("web.1~a");
    web.write(TEN, "one\n");
    web.write_unindexed("two\n");
    let first = stage.store.read(&stage.query()).unwrap();
    make_older(&web.segment(), Duration::from_secs(2));
    let second = stage.store.read(&LogQuery { from: Some(first.cursor), ..stage.query() }).unwrap();
    web.record(IndexRecord::Chunk { end: 8, at: TEN + 1 });
    web.write(TEN + 2, "three\n");
    let third = stage.store.read(&LogQuery { from: Some(second.cursor), ..stage.query() }).unwrap();

    assert_eq!(
        [texts(&first.lines), texts(&second.lines), texts(&third.lines)],
        [["one"], ["two"], ["three"]]
    );
    assert_eq!(third.lines[0].time_ns, TEN + 2);
}

#[test]
fn a_page_of_nothing_but_line_ends_is_bounded() {
    let stage = Stage::new();
    stage.shim("web.1~a").write(TEN, "\n".repeat(100_000));
    let (mut cursor, mut lines) = (dozen_logs::Cursor::default(), 0);
    loop {
        let page = stage.store.read(&LogQuery { from: Some(cursor), ..stage.query() }).unwrap();
        if page.lines.is_empty() {
            break;
        }
        assert!(page.lines.len() <= 10_000, "{} lines in a page", page.lines.len());
        lines += page.lines.len();
        cursor = page.cursor;
    }
    assert_eq!(lines, 100_000);
}
