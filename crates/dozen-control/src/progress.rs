//! The events of one piece of long work: kept in a file, heard by whoever follows it.
//!
//! A deploy's events are appended to its file as they happen, so `dozen builds N` shows them
//! later and a follower that comes late, or comes back after the server was killed, gets all of
//! them from the start. Work without a number (scaling, restarting) is heard but not kept.
//!
//! A file that cannot be written (a full disk) loses events, never the work. What an app writes is
//! no measure of what is kept, read or held in memory: lines end at [`MOST_KEPT`], and a follower
//! that does not take its events gets them from the file once it does.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Instant,
};

use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::{
    api::wire::{Outcome, Progress},
    error::ControlError,
};

/// No more lines of the log are kept once a piece of work's events take as many bytes.
const MOST_KEPT: u64 = 16 << 20;
/// No more of a file is read; beside the lines there are few events.
const MOST_READ: u64 = MOST_KEPT + (4 << 20);
/// Events that wait for a follower before it counts as behind.
const MOST_WAITING: usize = 1024;

/// Where the events of one piece of work go.
#[derive(Debug)]
pub struct ProgressLog {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    path: Option<PathBuf>,
    file: Option<File>,
    /// Events of work that is not kept in a file, for a follower that comes late.
    remembered: Vec<Progress>,
    /// Of all events so far.
    bytes: u64,
    followers: Vec<Sender<Progress>>,
    /// The last event, once it was sent.
    finished: Option<Progress>,
}

impl ProgressLog {
    /// Events that are kept in `path`.
    pub fn kept(path: &Path) -> Self {
        if let Some(folder) = path.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        let file = OpenOptions::new().create(true).append(true).open(path).ok();
        Self::with(Some(path.to_owned()), file)
    }

    /// Events that are heard and not kept: work without a number, short and few in events.
    pub fn heard() -> Self {
        Self::with(None, None)
    }

    fn with(path: Option<PathBuf>, file: Option<File>) -> Self {
        let bytes = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |kept| kept.len());
        Self {
            inner: Arc::new(Mutex::new(Inner {
                path,
                file,
                remembered: Vec::new(),
                bytes,
                followers: Vec::new(),
                finished: None,
            })),
        }
    }

    /// Records one event.
    pub fn send(&self, event: Progress) {
        let mut inner = self.inner.lock();
        let is_line = matches!(event, Progress::Log { .. });
        if is_line && inner.bytes >= MOST_KEPT {
            return;
        }
        inner.record(event);
        if is_line && inner.bytes >= MOST_KEPT {
            let text = format!("(more than {} MiB of output; the rest is left out)", MOST_KEPT >> 20);
            inner.record(Progress::Log { line: text });
        }
    }

    /// A warning.
    pub fn warn(&self, text: impl Into<String>) {
        self.send(Progress::Warning { text: text.into() });
    }

    /// Advice.
    pub fn hint(&self, text: impl Into<String>) {
        self.send(Progress::Hint { text: text.into() });
    }

    /// A log line of the current step.
    pub fn line(&self, line: impl Into<String>) {
        self.send(Progress::Log { line: line.into() });
    }

    /// Announces a step; [`Announced::done`] ends it.
    pub fn step<'a>(&'a self, step: &'static str, title: impl Into<String>) -> Announced<'a> {
        self.send(Progress::Step { step: step.to_owned(), title: title.into() });
        Announced { log: self, step, since: Instant::now() }
    }

    /// Lines of the log since a step was begun for the first time.
    pub(crate) fn lines_since(&self, step: &str) -> Vec<String> {
        let begun = |event: &Progress| matches!(event, Progress::Step { step: name, .. } if name == step);
        let since = self.so_far().into_iter().skip_while(|event| !begun(event));
        since.filter_map(|event| if let Progress::Log { line } = event { Some(line) } else { None }).collect()
    }

    /// All events so far.
    pub(crate) fn so_far(&self) -> Vec<Progress> {
        self.inner.lock().so_far()
    }

    /// All events so far and those to come, in order.
    pub fn follow(&self) -> Follower {
        let mut inner = self.inner.lock();
        let (ahead, events) = inner.follow_from(0);
        let (log, path) = (Arc::downgrade(&self.inner), inner.path.clone());
        Follower { log, path, taken: ahead.len(), ahead, events, has_heard_the_end: false }
    }
}

impl Inner {
    /// The events so far but the first `skipped`, and a queue for those to come.
    fn follow_from(&mut self, skipped: usize) -> (VecDeque<Progress>, Receiver<Progress>) {
        let (sender, receiver) = channel(MOST_WAITING);
        let mut ahead: VecDeque<Progress> = self.so_far().into_iter().skip(skipped).collect();
        match &self.finished {
            // Not in the file, when the disk was full.
            Some(last) if ahead.back() != Some(last) => ahead.push_back(last.clone()),
            Some(_) => {}
            None => self.followers.push(sender),
        }
        (ahead, receiver)
    }

    fn record(&mut self, event: Progress) {
        if let Ok(mut line) = serde_json::to_vec(&event) {
            line.push(b'\n');
            self.bytes += line.len() as u64;
            if let Some(file) = &mut self.file {
                let _ = file.write_all(&line);
            }
        }
        if self.path.is_none() {
            self.remembered.push(event.clone());
        }
        // One whose queue is full has hung up, or is behind and asks again.
        self.followers.retain(|follower| follower.try_send(event.clone()).is_ok());
        if matches!(event, Progress::Finished { .. }) {
            self.finished = Some(event);
            self.followers.clear();
        }
    }

    fn so_far(&self) -> Vec<Progress> {
        self.path.as_deref().map_or_else(|| self.remembered.clone(), read)
    }
}

/// Somebody who hears the events of one piece of work, from the first to the last.
#[derive(Debug)]
pub struct Follower {
    /// Work that nobody does any more ends without a last event, and so do its followers.
    log: Weak<Mutex<Inner>>,
    path: Option<PathBuf>,
    /// Events that were taken from the log: those in `ahead` too, not those that wait in `events`.
    taken: usize,
    ahead: VecDeque<Progress>,
    events: Receiver<Progress>,
    has_heard_the_end: bool,
}

impl Follower {
    /// The next event; `None` after the last one.
    pub async fn next(&mut self) -> Option<Progress> {
        loop {
            if let Some(event) = self.ahead.pop_front() {
                self.has_heard_the_end = matches!(event, Progress::Finished { .. });
                return Some(event);
            }
            if let Some(event) = self.events.recv().await {
                self.taken += 1;
                self.ahead.push_back(event);
                continue;
            }
            if self.has_heard_the_end {
                return None;
            }
            // Behind, so it was not waited for; or the work is not done any more.
            let (log, path, taken) = (self.log.clone(), self.path.clone(), self.taken);
            let catch_up = move || match (log.upgrade(), path) {
                (Some(log), _) => Some(log.lock().follow_from(taken)),
                (None, Some(path)) => {
                    let ahead: VecDeque<Progress> = read(&path).into_iter().skip(taken).collect();
                    (!ahead.is_empty()).then(|| (ahead, channel(1).1))
                }
                (None, None) => None,
            };
            (self.ahead, self.events) = tokio::task::spawn_blocking(catch_up).await.ok()??;
            self.taken += self.ahead.len();
        }
    }
}

/// A step under way.
#[derive(Debug)]
pub struct Announced<'a> {
    log: &'a ProgressLog,
    step: &'static str,
    since: Instant,
}

impl Announced<'_> {
    /// Ends the step with one line of what it decided.
    pub fn done(self, result: impl Into<String>) {
        let took_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.log.send(Progress::Done { step: self.step.to_owned(), result: result.into(), took_ms });
    }
}

/// The events kept in a file, up to [`MOST_READ`]; a torn last line (a killed server) is left out.
pub(crate) fn read(path: &Path) -> Vec<Progress> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    BufReader::new(file.take(MOST_READ))
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str(&line).ok())
        .collect()
}

/// The last event of work that failed.
pub(crate) fn failed(error: &ControlError) -> Progress {
    let outcome = if matches!(error, ControlError::Cancelled) { Outcome::Cancelled } else { Outcome::Failed };
    Progress::Finished { outcome, release: None, urls: Vec::new(), error: Some(error.body()) }
}

#[cfg(test)]
mod tests;
