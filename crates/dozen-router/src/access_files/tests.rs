//! The access files: their number, their size, and what is written to them.

use dozen_model::route_table::{Hold, RouteTable, StageRoute, Target};

use super::*;

/// A table with the production stages of these apps.
fn table(generation: u64, apps: &[&str]) -> RouteTable {
    let stage = |app: &&str| StageRoute {
        app: app.parse().unwrap(),
        stage: dozen_model::names::StageName::production(),
        release: None,
        domains: Vec::new(),
        target: Target::Endpoints(Vec::new()),
        waiting: false,
        hold: Hold::None,
        hold_limit: StageRoute::HOLD_LIMIT,
        policy: Default::default(),
    };
    RouteTable { generation, bare_hosts: Vec::new(), stages: apps.iter().map(stage).collect() }
}

fn files(dir: &Path) -> AccessFiles {
    files_of(dir, &["a"])
}

fn files_of(dir: &Path, apps: &[&str]) -> AccessFiles {
    let board = Arc::new(Board::empty());
    board.swap(table(1, apps));
    let pause = Duration::ZERO;
    AccessFiles { dir: dir.to_owned(), file_bytes: 10, kept: 2, pause, counters: Arc::default(), board }
}

fn send(files: AccessFiles, lines: &[&str]) {
    let (sender, writer) = start(files).unwrap();
    let key = Arc::new(LogKey { app: "a".into(), stage: "production".into() });
    for line in lines {
        sender.send(Batch { key: Arc::clone(&key), text: format!("{line}\n"), lines: 1 }).unwrap();
    }
    drop(sender);
    writer.join().unwrap();
}

fn left(stage: &Path) -> Vec<u64> {
    let mut left = numbers(stage).unwrap();
    left.sort_unstable();
    left
}

#[test]
fn files_follow_each_other_and_the_oldest_goes() {
    let dir = tempfile::tempdir().unwrap();
    send(files(dir.path()), &["12345", "123", "abcdef", "ghijkl"]);
    let stage = dir.path().join("a/production");
    assert_eq!(left(&stage), [2, 3]);
    assert_eq!(fs::read_to_string(stage.join(stream_name(2))).unwrap(), "abcdef\n");
}

#[test]
fn the_next_router_writes_on_and_ends_a_line_that_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let stage = dir.path().join("a/production");
    for line in ["a", "b", "c"] {
        send(files(dir.path()), &[line]);
    }
    let newest = stage.join(stream_name(1));
    assert_eq!(fs::read_to_string(&newest).unwrap(), "a\nb\nc\n");
    fs::write(&newest, "a\nb").unwrap();
    send(files(dir.path()), &["d"]);
    assert_eq!(fs::read_to_string(&newest).unwrap(), "a\nb\nd\n");
    assert_eq!(left(&stage), [1]);
}

#[test]
fn a_file_that_another_router_writes_is_left_to_it_and_the_number_stays_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let stage = dir.path().join("a/production");
    send(files(dir.path()), &["old"]);
    let mut theirs = Vec::new();
    for round in 1..5 {
        theirs.push(Open::existing(&stage, round).unwrap());
        send(files(dir.path()), &["new"]);
        assert_eq!(fs::read_to_string(stage.join(stream_name(round + 1))).unwrap(), "new\n");
    }
    assert_eq!(left(&stage), [4, 5]);
}

#[test]
fn many_stages_that_are_busy_in_turn_make_no_new_files() {
    let dir = tempfile::tempdir().unwrap();
    let apps: Vec<String> = (0..=MAX_OPEN).map(|app| format!("a{app}")).collect();
    let apps: Vec<&str> = apps.iter().map(String::as_str).collect();
    let files = AccessFiles { file_bytes: 1000, ..files_of(dir.path(), &apps) };
    let (sender, writer) = start(files).unwrap();
    for _ in 0..3 {
        for app in &apps {
            let key = Arc::new(LogKey { app: (*app).to_owned(), stage: "production".into() });
            sender.send(Batch { key, text: "x\n".into(), lines: 1 }).unwrap();
        }
    }
    drop(sender);
    writer.join().unwrap();
    assert_eq!(left(&dir.path().join("a0/production")), [1]);
}

#[test]
fn a_stage_that_cannot_be_written_is_left_alone_and_its_lines_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "in the way").unwrap();
    let counters: Arc<Counters> = Arc::default();
    let patient = AccessFiles {
        counters: Arc::clone(&counters),
        pause: Duration::from_secs(3600),
        ..files(dir.path())
    };
    let (sender, writer) = start(patient).unwrap();
    let key = Arc::new(LogKey { app: "a".into(), stage: "production".into() });
    let send = |text: &str| {
        sender.send(Batch { key: Arc::clone(&key), text: text.to_owned(), lines: 1 }).unwrap();
    };
    send("lost\n");
    while counters.dropped_lines.load(Relaxed) < 1 {
        thread::yield_now();
    }
    fs::remove_file(dir.path().join("a")).unwrap();
    send("lost too\n");
    drop(sender);
    writer.join().unwrap();
    assert_eq!(counters.dropped_lines.load(Relaxed), 2);
    assert!(!dir.path().join("a").exists(), "it was not tried again so soon");
}

#[test]
fn an_app_that_gets_the_name_of_a_destroyed_one_has_a_log_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let files = AccessFiles { file_bytes: 1000, ..files(dir.path()) };
    let stage = dir.path().join("a/production");
    let key = Arc::new(LogKey { app: "a".into(), stage: "production".into() });
    let mut shelf = Shelf::default();
    let mut write = |text: &str| files.write(&mut shelf, &key, text).unwrap();

    write("its\n");
    files.board.swap(table(2, &[]));
    fs::remove_dir_all(dir.path().join("a")).unwrap();
    write("its last\n");
    assert!(!dir.path().join("a").exists(), "nobody is to find its last lines");

    files.board.swap(table(3, &["a"]));
    write("mine\n");
    assert_eq!(fs::read_to_string(stage.join(stream_name(1))).unwrap(), "mine\n");

    // Gone and there again between two lines.
    files.board.swap(table(4, &[]));
    fs::remove_dir_all(dir.path().join("a")).unwrap();
    files.board.swap(table(5, &["a"]));
    write("yours\n");
    assert_eq!(fs::read_to_string(stage.join(stream_name(1))).unwrap(), "yours\n");
}

#[test]
fn files_of_stages_that_are_gone_are_let_go_with_the_next_line_of_any() {
    let dir = tempfile::tempdir().unwrap();
    let files = files_of(dir.path(), &["a", "b"]);
    let key = |app: &str| Arc::new(LogKey { app: app.into(), stage: "production".into() });
    let mut shelf = Shelf::default();
    files.write(&mut shelf, &key("a"), "x\n").unwrap();
    files.board.swap(table(2, &["b"]));
    files.write(&mut shelf, &key("b"), "x\n").unwrap();
    assert_eq!(shelf.open.len(), 1);
}
