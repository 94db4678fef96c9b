//! The files of the access log, written by one thread: `<dir>/<app>/<stage>/<number>.log`.
//!
//! Each start of the router begins a new file, so a line is never appended to a torn one. A file is
//! followed by the next at its size limit; of each stage a bounded number is kept, the oldest goes
//! first. A disk that takes nothing costs lines, never requests: they are counted, and the count
//! stands in the log once it takes lines again.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{SystemTime, UNIX_EPOCH},
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

/// Where and how much to write.
#[derive(Debug)]
pub(crate) struct AccessFiles {
    pub(crate) dir: PathBuf,
    pub(crate) file_bytes: u64,
    pub(crate) kept: u64,
    pub(crate) counters: Arc<Counters>,
}

#[derive(Debug)]
struct Open {
    file: File,
    dir: PathBuf,
    number: u64,
    bytes: u64,
}

/// Starts the writer. It ends when all senders are gone, with everything written.
pub(crate) fn start(files: AccessFiles) -> io::Result<(SyncSender<Batch>, JoinHandle<()>)> {
    let (sender, batches) = sync_channel(QUEUE);
    let writer = thread::Builder::new().name("access-log".into()).spawn(move || files.write_all(&batches))?;
    Ok((sender, writer))
}

impl AccessFiles {
    fn write_all(&self, batches: &Receiver<Batch>) {
        let mut open: HashMap<Arc<LogKey>, Open> = HashMap::new();
        let mut announced = 0;
        for batch in batches {
            if open.len() >= MAX_OPEN && !open.contains_key(&batch.key) {
                open.clear();
            }
            let dropped = self.counters.dropped_lines.load(Relaxed);
            let text = if dropped > announced {
                announcement(dropped - announced) + &batch.text
            } else {
                batch.text
            };
            match self.write(&mut open, &batch.key, &text) {
                Ok(()) => announced = dropped,
                Err(error) => {
                    tracing::warn!(%error, app = batch.key.app, stage = batch.key.stage, "the access log takes nothing");
                    open.remove(&batch.key);
                    self.counters.dropped_lines.fetch_add(batch.lines, Relaxed);
                }
            }
        }
    }

    fn write(&self, open: &mut HashMap<Arc<LogKey>, Open>, key: &Arc<LogKey>, text: &str) -> io::Result<()> {
        let file = match open.entry(Arc::clone(key)) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                // Names of apps and stages are DNS labels: no separators, no dots.
                let dir = self.dir.join(&key.app).join(&key.stage);
                fs::create_dir_all(&dir)?;
                let number = numbers(&dir)?.into_iter().max().unwrap_or(0) + 1;
                entry.insert(Open::create(dir, number)?)
            }
        };
        if file.bytes > 0 && file.bytes + text.len() as u64 > self.file_bytes {
            *file = Open::create(file.dir.clone(), file.number + 1)?;
            self.remove_oldest(&file.dir)?;
        }
        let written = file.file.write_all(text.as_bytes());
        file.bytes += text.len() as u64;
        written
    }

    fn remove_oldest(&self, dir: &Path) -> io::Result<()> {
        let mut numbers = numbers(dir)?;
        numbers.sort_unstable();
        let kept = usize::try_from(self.kept.max(1)).unwrap_or(usize::MAX);
        for number in numbers.iter().take(numbers.len().saturating_sub(kept)) {
            fs::remove_file(dir.join(stream_name(*number)))?;
        }
        Ok(())
    }
}

impl Open {
    fn create(dir: PathBuf, number: u64) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(dir.join(stream_name(number)))?;
        Ok(Self { file, dir, number, bytes: 0 })
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

    fn write(dir: &Path, lines: &[&str]) {
        let files = AccessFiles { dir: dir.to_owned(), file_bytes: 10, kept: 2, counters: Arc::default() };
        let (sender, writer) = start(files).unwrap();
        let key = Arc::new(LogKey { app: "a".into(), stage: "production".into() });
        for line in lines {
            sender.send(Batch { key: Arc::clone(&key), text: format!("{line}\n"), lines: 1 }).unwrap();
        }
        drop(sender);
        writer.join().unwrap();
    }

    #[test]
    fn files_follow_each_other_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &["12345", "123", "abcdef", "ghijkl"]);
        let stage = dir.path().join("a/production");
        let mut left = numbers(&stage).unwrap();
        left.sort_unstable();
        assert_eq!(left, [2, 3]);
        assert_eq!(fs::read_to_string(stage.join(stream_name(2))).unwrap(), "abcdef\n");

        write(dir.path(), &["again"]);
        assert_eq!(
            fs::read_to_string(stage.join(stream_name(4))).unwrap(),
            "again\n",
            "a start begins a file"
        );
    }
}
