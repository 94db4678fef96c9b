//! Following: each line as it comes.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use dozen_logs::{Follower, LogQuery};
use rustix::time::{ClockId, clock_gettime};

use crate::stage::{SECOND, Stage, TEN, next_lines, texts};

/// Both ways of waiting have to pass.
fn each_way(claim: impl Fn(Stage)) {
    claim(Stage::new());
    claim(Stage::new().polling());
}

fn follow(stage: &Stage) -> Follower {
    stage.store.follow(stage.query()).unwrap()
}

#[test]
fn the_last_lines_come_first_and_new_ones_as_they_are_written() {
    each_way(|stage| {
        let mut web = stage.shim("web.1~a");
        web.write(TEN, "one\ntwo\n");
        let mut follower = stage.store.follow(LogQuery { lines: Some(1), ..stage.query() }).unwrap();
        web.write(TEN + 1, "three\n");

        assert_eq!(texts(&next_lines(&mut follower, 2)), ["two", "three"]);
        web.write(TEN + 2, "four\n");
        assert_eq!(texts(&next_lines(&mut follower, 1)), ["four"]);
    });
}

#[test]
fn a_stage_can_be_followed_before_it_exists() {
    each_way(|stage| {
        let mut follower = follow(&stage);
        assert!(follower.next_batch(Duration::ZERO).unwrap().is_empty());
        stage.shim("web.1~a").write(TEN, "first\n");
        assert_eq!(texts(&next_lines(&mut follower, 1)), ["first"]);
        stage.router_line(TEN + 1, "GET /");
        assert_eq!(texts(&next_lines(&mut follower, 1)), ["GET /"]);
    });
}

#[test]
fn new_instances_and_new_segments_are_followed() {
    each_way(|stage| {
        let mut first = stage.shim("web.1~a");
        let mut follower = follow(&stage);
        first.write(TEN, "begun in one seg");
        first.rotate();
        first.write(TEN + 1, "ment, ended in another\n");
        assert_eq!(texts(&next_lines(&mut follower, 1)), ["begun in one segment, ended in another"]);

        stage.shim("web.1~b").write(TEN + 2, "I am new\n");
        assert_eq!(texts(&next_lines(&mut follower, 1)), ["I am new"]);
        fs::remove_dir_all(&first.folder).unwrap();
        stage.shim("web.2~c").write(TEN + 3, "so am I\n");
        assert_eq!(texts(&next_lines(&mut follower, 1)), ["so am I"]);
        assert_eq!(follower.cursor().position(&first_id(&stage)), None);
    });
}

/// The id of stream `web.1~a`, as a line would carry it.
fn first_id(_stage: &Stage) -> dozen_logs::StreamId {
    serde_json::from_str("\"web.1~a\"").unwrap()
}

#[test]
fn a_line_without_an_end_comes_after_a_second_of_silence() {
    each_way(|stage| {
        let mut web = stage.shim("web.1~a");
        // With all its folders there, the follower has no other reason to wake.
        stage.router_line(TEN, "GET /");
        let mut follower = follow(&stage);
        next_lines(&mut follower, 1);
        let written = Instant::now();
        web.write(TEN, "Name: ");
        // One long wait: the follower has to wake by itself.
        let prompt = follower.next_batch(Duration::from_secs(30)).unwrap();

        assert_eq!(texts(&prompt), ["Name: "]);
        assert!(written.elapsed() < Duration::from_secs(15), "{:?}", written.elapsed());
        assert!(prompt[0].unfinished);
        assert!(written.elapsed() >= Duration::from_millis(900), "{:?}", written.elapsed());
        web.write(TEN + SECOND, "Ada\n");
        let rest = next_lines(&mut follower, 1);
        assert!(rest[0].continued && rest[0].text == b"Ada");
    });
}

#[test]
fn nothing_is_lost_or_doubled_while_several_instances_write_fast() {
    each_way(|stage| {
        let shims: Vec<_> = (1..=3).map(|n| stage.shim(&format!("web.{n}~a"))).collect();
        let mut follower = follow(&stage);
        let lines = thread::scope(|scope| {
            for mut shim in shims {
                scope.spawn(move || {
                    for n in 0..2_000_u64 {
                        shim.write(TEN + n, format!("{n} half "));
                        if n % 300 == 299 {
                            shim.rotate();
                        }
                        shim.write(TEN + n, "and half\n");
                    }
                });
            }
            next_lines(&mut follower, 6_000)
        });

        for process in ["web.1", "web.2", "web.3"] {
            let own: Vec<String> =
                texts(&lines.iter().filter(|line| line.process == process).cloned().collect::<Vec<_>>());
            let expected: Vec<String> = (0..2_000).map(|n| format!("{n} half and half")).collect();
            assert!(own == expected, "{process}: {} lines", own.len());
        }
        assert!(follower.next_batch(Duration::ZERO).unwrap().is_empty());
    });
}

#[test]
fn a_follower_goes_on_from_a_stored_cursor() {
    let stage = Stage::new();
    let mut web = stage.shim("web.1~a");
    let mut follower = follow(&stage);
    web.write(TEN, "one\ntwo");
    next_lines(&mut follower, 1);
    let stored = serde_json::to_string(follower.cursor()).unwrap();
    drop(follower);
    web.write(TEN + 1, " and a half\n");

    let from = Some(serde_json::from_str(&stored).unwrap());
    let mut follower = stage.store.follow(LogQuery { from, ..stage.query() }).unwrap();
    assert_eq!(texts(&next_lines(&mut follower, 1)), ["two and a half"]);
}

#[test]
fn an_idle_follower_costs_next_to_nothing() {
    let stage = Stage::new();
    stage.shim("web.1~a").write(TEN, "one\n");
    stage.router_line(TEN, "GET /");
    let mut follower = follow(&stage);
    next_lines(&mut follower, 2);
    follower.next_batch(Duration::ZERO).unwrap();

    let before = clock_gettime(ClockId::ThreadCPUTime);
    assert!(follower.next_batch(Duration::from_secs(2)).unwrap().is_empty());
    let after = clock_gettime(ClockId::ThreadCPUTime);

    let nanos = (after.tv_sec - before.tv_sec) * 1_000_000_000 + (after.tv_nsec - before.tv_nsec);
    assert!(nanos < 2_000_000, "{nanos} ns of CPU in 2 s");
}

#[test]
fn a_stream_that_cannot_be_read_takes_no_line_of_another_with_it() {
    let stage = Stage::new();
    stage.shim("web.1~a").write(TEN, "one\n");
    let bad = stage.shim("web.2~b");
    // To open a socket is refused, which neither a missing nor a strange file is.
    let index = bad.segment().with_extension("idx");
    fs::remove_file(&index).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(&index).unwrap();
    let query = LogQuery { from: Some(dozen_logs::Cursor::default()), ..stage.query() };
    let mut follower = stage.store.follow(query).unwrap();

    assert_eq!(texts(&follower.next_batch(Duration::from_secs(5)).unwrap()), ["one"]);
    assert!(follower.next_batch(Duration::from_secs(5)).is_err());
}
