//! A stage with logs in a folder of its own, and shims played by the test.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use dozen_logs::{Follower, LogDirs, LogLine, LogQuery, LogStore};
use dozen_model::segment::{IndexRecord, StreamLine, index_name, segment_name, stream_name};
use tempfile::TempDir;

/// 2026-11-22T10:00:00Z in unix nanoseconds.
pub(crate) const TEN: u64 = 1_795_341_600_000_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct Stage {
    dir: TempDir,
    pub(crate) store: LogStore,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let dirs = LogDirs { apps: dir.path().join("logs"), router: Some(dir.path().join("router")) };
        Self { dir, store: LogStore::new(dirs) }
    }

    pub(crate) fn polling(self) -> Self {
        Self { store: self.store.polling(), ..self }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("logs/blango/production")
    }

    pub(crate) fn router_path(&self) -> PathBuf {
        self.dir.path().join("router/blango/production")
    }

    pub(crate) fn query(&self) -> LogQuery {
        LogQuery::new("blango".parse().unwrap(), "production".parse().unwrap())
    }

    pub(crate) fn all(&self) -> LogQuery {
        LogQuery { lines: Some(usize::MAX), ..self.query() }
    }

    /// A new app stream, for example `web.1~a`.
    pub(crate) fn shim(&self, stream: &str) -> Shim {
        Shim::begin(self.path().join(stream))
    }

    pub(crate) fn router_line(&self, at: u64, text: &str) {
        append_line(&self.router_path(), at, "router", text);
    }

    pub(crate) fn platform_line(&self, at: u64, process: &str, text: &str) {
        append_line(&self.path().join("dozen"), at, process, text);
    }

    pub(crate) fn texts(&self, query: &LogQuery) -> Vec<String> {
        texts(&self.store.read(query).unwrap().lines)
    }
}

fn append_line(folder: &Path, at: u64, process: &str, text: &str) {
    fs::create_dir_all(folder).unwrap();
    let mut line = String::new();
    StreamLine { at, process: process.to_owned(), text: text.to_owned() }.encode_into(&mut line);
    append(&folder.join(stream_name(1)), line.as_bytes());
}

pub(crate) fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// Makes a file look as if its last change was `age` ago.
pub(crate) fn make_older(path: &Path, age: Duration) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

/// Writes a stream the way a shim does: bytes first, then the record that covers them.
pub(crate) struct Shim {
    pub(crate) folder: PathBuf,
    number: u64,
    end: u64,
}

impl Shim {
    fn begin(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let shim = Self { folder, number: 1, end: 0 };
        shim.create();
        shim
    }

    fn create(&self) {
        File::create(self.folder.join(segment_name(self.number))).unwrap();
        File::create(self.folder.join(index_name(self.number))).unwrap();
    }

    pub(crate) fn segment(&self) -> PathBuf {
        self.folder.join(segment_name(self.number))
    }

    pub(crate) fn rotate(&mut self) {
        (self.number, self.end) = (self.number + 1, 0);
        self.create();
    }

    pub(crate) fn write(&mut self, at: u64, bytes: impl AsRef<[u8]>) {
        self.write_unindexed(bytes);
        self.record(IndexRecord::Chunk { end: self.end, at });
    }

    /// Bytes whose record is on its way, or never came.
    pub(crate) fn write_unindexed(&mut self, bytes: impl AsRef<[u8]>) {
        append(&self.segment(), bytes.as_ref());
        self.end += bytes.as_ref().len() as u64;
    }

    pub(crate) fn record(&self, record: IndexRecord) {
        append(&self.folder.join(index_name(self.number)), &record.encode());
    }
}

pub(crate) fn texts(lines: &[LogLine]) -> Vec<String> {
    lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
}

/// Takes batches until there are `count` lines.
pub(crate) fn next_lines(follower: &mut Follower, count: usize) -> Vec<LogLine> {
    let deadline = Instant::now() + DEADLINE;
    let mut lines = Vec::new();
    while lines.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} lines came: {:?}", lines.len(), texts(&lines));
        lines.extend(follower.next_batch(Duration::from_millis(200)).unwrap());
    }
    lines
}

/// Says why a test cannot run here; where tests must all run, that is a failure.
pub(crate) fn skip(reason: &str) {
    #[expect(clippy::disallowed_methods, reason = "a test asks where it runs")]
    let must_run = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!must_run, "a test was skipped: {reason}");
    #[expect(clippy::disallowed_macros, reason = "a test says why it does not run")]
    {
        println!("SKIP: {reason}");
    }
}
