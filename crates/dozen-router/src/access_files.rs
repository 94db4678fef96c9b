//! The files of the access log, written by one thread: `<dir>/<app>/<stage>/<number>.log`.
//!
//! The newest file of a stage is written on, also by the next router; a line that a crash or a full
//! disk cut is ended first. A file is followed by the next at its size limit, or where another
//! router, still at its last requests, writes the newest one. However a file came to be made, of
//! each stage a bounded number is kept, and the oldest goes first. A disk that takes nothing costs
//! lines, never requests: they are counted, the stage is left alone for a moment, and the count
//! stands in the log once it takes lines again.
//!
//! Who destroys an app takes it out of the table and removes its folder. Its last lines go nowhere,
//! its files are let go, and an app that gets its name begins with a folder of its own.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use dozen_model::segment::{StreamLine, parse_stream_name, stream_name, unix_nanos};

use crate::{
    access_log::{Batch, LogKey},
    board::Board,
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
    /// Which stages there are.
    pub(crate) board: Arc<Board>,
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
    /// Of the table that `open` was last compared with.
    generation: u64,
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
        self.let_go(shelf);
        // A folder that is made now would be found by an app that gets the name.
        if !self.is_routed(key) {
            return Ok(());
        }
        let open = &mut shelf.open;
        if open.get(key).is_some_and(Open::is_removed) {
            open.remove(key);
        }
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

    /// Closes the files of stages that have left the table, which keep their space on the disk.
    fn let_go(&self, shelf: &mut Shelf) {
        let generation = self.board.generation();
        if generation != shelf.generation {
            shelf.generation = generation;
            shelf.open.retain(|key, open| self.is_routed(key) && !open.is_removed());
        }
    }

    fn is_routed(&self, key: &LogKey) -> bool {
        self.board.routes().stage(&format!("{}/{}", key.app, key.stage)).is_some()
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

    /// Whether nobody would read what is written to it.
    fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|file| file.nlink() == 0)
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
    let line = StreamLine {
        at: unix_nanos(SystemTime::now()),
        process: "router".to_owned(),
        text: format!("at=warning dropped={lines} desc=\"access lines of this server could not be written\""),
    };
    let mut text = String::new();
    line.encode_into(&mut text);
    text
}

#[cfg(test)]
mod tests;
