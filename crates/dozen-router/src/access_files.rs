//! The files of the access log, written by one thread: `<dir>/<app>/<stage>/<number>.log`.
//!
//! The newest file of a stage is written on, also by the next router; a line that a crash or a full
//! disk cut is ended first. A file is followed by the next at its size limit, or where another
//! router, still at its last requests, writes the newest one. However a file came to be made, of
//! each stage a bounded number is kept, and the oldest goes first. A disk that takes nothing costs
//! lines, never requests: they are counted, the stage is left alone for a moment, and the count
//! stands in the log once it takes lines again.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dozen_model::segment::{StreamLine, parse_stream_name, stream_name};

use crate::{
    access_log::{Batch, LogKey},
    status::Counters,
};

/// Batches that may wait for the disk: at 64 KiB each at most 16 MiB.
const QUEUE: usize = 256;
/// Files kept open; past it, all are closed and opened again as needed.
const MAX_OPEN: usize = 128;
/// How long a stage whose lines could not be written is left alone.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// Where and how much to write.
#[derive(Debug)]
pub(crate) struct AccessFiles {
    pub(crate) dir: PathBuf,
    pub(crate) file_bytes: u64,
    pub(crate) kept: u64,
    /// After a stage's lines could not be written.
    pub(crate) pause: Duration,
    pub(crate) counters: Arc<Counters>,
}

/// One file, locked: two routers never write the same one.
#[derive(Debug)]
struct Open {
    file: File,
    dir: PathBuf,
    number: u64,
    bytes: u64,
    /// It ends in the middle of a line.
    is_torn: bool,
}

/// The files of all stages.
#[derive(Debug, Default)]
struct Shelf {
    open: HashMap<Arc<LogKey>, Open>,
    failed: HashMap<Arc<LogKey>, Instant>,
}

/// Starts the writer. It ends when all senders are gone, with everything written.
pub(crate) fn start(files: AccessFiles) -> io::Result<(SyncSender<Batch>, JoinHandle<()>)> {
    let (sender, batches) = sync_channel(QUEUE);
    let writer = thread::Builder::new().name("access-log".into()).spawn(move || files.write_all(&batches))?;
    Ok((sender, writer))
}

impl AccessFiles {
    fn write_all(&self, batches: &Receiver<Batch>) {
        let mut shelf = Shelf::default();
        let mut announced = 0;
        for batch in batches {
            let dropped = self.counters.dropped_lines.load(Relaxed);
            let text = if dropped > announced {
                announcement(dropped - announced) + &batch.text
            } else {
                batch.text
            };
            shelf.failed.retain(|_, since| since.elapsed() < self.pause);
            let written = if shelf.failed.contains_key(&batch.key) {
                Err(None)
            } else {
                self.write(&mut shelf, &batch.key, &text).map_err(Some)
            };
            let Err(error) = written else {
                announced = dropped;
                continue;
            };
            self.counters.dropped_lines.fetch_add(batch.lines, Relaxed);
            if let Some(error) = error {
                tracing::warn!(%error, app = batch.key.app, stage = batch.key.stage, "the access log takes nothing");
                shelf.open.remove(&batch.key);
                shelf.failed.insert(batch.key, Instant::now());
            }
        }
    }

    fn write(&self, shelf: &mut Shelf, key: &Arc<LogKey>, text: &str) -> io::Result<()> {
        let open = &mut shelf.open;
        if open.len() >= MAX_OPEN && !open.contains_key(key) {
            open.clear();
        }
        let file = match open.entry(Arc::clone(key)) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                // Names of apps and stages are DNS labels: no separators, no dots.
                let dir = self.dir.join(&key.app).join(&key.stage);
                fs::create_dir_all(&dir)?;
                entry.insert(self.newest(dir)?)
            }
        };
        if file.bytes > 0 && file.bytes + text.len() as u64 > self.file_bytes {
            *file = self.create(file.dir.clone(), file.number + 1)?;
        }
        file.append(text)
    }

    /// The newest file of a folder, or its successor where that one cannot be written on.
    fn newest(&self, dir: PathBuf) -> io::Result<Open> {
        let newest = numbers(&dir)?.into_iter().max().unwrap_or(0);
        match Open::existing(&dir, newest) {
            Ok(open) => Ok(open),
            Err(_) => self.create(dir, newest + 1),
        }
    }

    fn create(&self, dir: PathBuf, number: u64) -> io::Result<Open> {
        let file = OpenOptions::new().append(true).create_new(true).open(dir.join(stream_name(number)))?;
        // It is ours: nobody else knows of it yet. Where it can be taken from us, lines may mix.
        let _ = file.try_lock();
        self.remove_oldest(&dir)?;
        Ok(Open { file, dir, number, bytes: 0, is_torn: false })
    }

    fn remove_oldest(&self, dir: &Path) -> io::Result<()> {
        let mut numbers = numbers(dir)?;
        numbers.sort_unstable();
        let kept = usize::try_from(self.kept.max(1)).unwrap_or(usize::MAX);
        for number in numbers.iter().take(numbers.len().saturating_sub(kept)) {
            match fs::remove_file(dir.join(stream_name(*number))) {
                // By another router, which keeps as many.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        Ok(())
    }
}

impl Open {
    /// Opens a file that stands there, to write on; refused when another router does.
    fn existing(dir: &Path, number: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).open(dir.join(stream_name(number)))?;
        file.try_lock()?;
        let bytes = file.metadata()?.len();
        let mut last = [b'\n'];
        if let Some(before) = bytes.checked_sub(1) {
            file.read_at(&mut last, before)?;
        }
        Ok(Self { file, dir: dir.to_owned(), number, bytes, is_torn: last != *b"\n" })
    }

    fn append(&mut self, text: &str) -> io::Result<()> {
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.is_torn = false;
        }
        self.bytes += text.len() as u64;
        self.file.write_all(text.as_bytes())
    }
}

fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        numbers.extend(entry?.file_name().to_str().and_then(parse_stream_name));
    }
    Ok(numbers)
}

fn announcement(lines: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let line = StreamLine {
        at: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
        process: "router".to_owned(),
        text: format!("at=warning dropped={lines} desc=\"access lines of this server could not be written\""),
    };
    let mut text = String::new();
    line.encode_into(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> AccessFiles {
        let pause = Duration::ZERO;
        AccessFiles { dir: dir.to_owned(), file_bytes: 10, kept: 2, pause, counters: Arc::default() }
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
        let (sender, writer) = start(AccessFiles { file_bytes: 1000, ..files(dir.path()) }).unwrap();
        for _ in 0..3 {
            for app in 0..=MAX_OPEN {
                let key = Arc::new(LogKey { app: format!("a{app}"), stage: "production".into() });
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
}
