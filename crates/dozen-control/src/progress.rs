//! The events of one piece of long work: kept in a file, heard by whoever follows it.
//!
//! A deploy's events are appended to its file as they happen, so `dozen builds N` shows them
//! later and a follower that comes late, or comes back after the server was killed, gets all of
//! them from the start. Work without a number (scaling, restarting) is heard but not kept.
//!
//! A file that cannot be written (a full disk) loses events, never the work.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    api::wire::{Outcome, Progress},
    error::ControlError,
};

/// Where the events of one piece of work go.
#[derive(Debug)]
pub struct ProgressLog {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: Option<PathBuf>,
    file: Option<File>,
    /// Events of work that is not kept in a file, for a follower that comes late.
    remembered: Vec<Progress>,
    followers: Vec<UnboundedSender<Progress>>,
    finished: bool,
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
        Self {
            inner: Mutex::new(Inner {
                path,
                file,
                remembered: Vec::new(),
                followers: Vec::new(),
                finished: false,
            }),
        }
    }

    /// Records one event.
    pub fn send(&self, event: Progress) {
        let mut inner = self.inner.lock();
        if let (Some(file), Ok(mut line)) = (&mut inner.file, serde_json::to_vec(&event)) {
            line.push(b'\n');
            let _ = file.write_all(&line);
        }
        if inner.path.is_none() {
            inner.remembered.push(event.clone());
        }
        inner.followers.retain(|follower| follower.send(event.clone()).is_ok());
        if matches!(event, Progress::Finished { .. }) {
            inner.finished = true;
            inner.followers.clear();
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
        let inner = self.inner.lock();
        let kept = inner.path.as_deref().map(read).unwrap_or_default();
        let begun = |event: &Progress| matches!(event, Progress::Step { step: name, .. } if name == step);
        let since = kept.into_iter().skip_while(|event| !begun(event));
        since.filter_map(|event| if let Progress::Log { line } = event { Some(line) } else { None }).collect()
    }

    /// All events so far and those to come, in order.
    pub fn follow(&self) -> UnboundedReceiver<Progress> {
        let (sender, receiver) = unbounded_channel();
        let mut inner = self.inner.lock();
        let kept = inner.path.as_deref().map(read).unwrap_or_default();
        for event in kept.into_iter().chain(inner.remembered.iter().cloned()) {
            let _ = sender.send(event);
        }
        if !inner.finished {
            inner.followers.push(sender);
        }
        receiver
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

/// The events kept in a file; a torn last line (a killed server) is left out.
pub(crate) fn read(path: &Path) -> Vec<Progress> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    BufReader::new(file)
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
mod tests {
    use super::*;

    #[test]
    fn a_late_follower_hears_all_events_once() {
        let folder = tempfile::tempdir().unwrap();
        let log = ProgressLog::kept(&folder.path().join("deploys/1.ndjson"));
        log.warn("first");
        let mut follower = log.follow();
        log.warn("second");
        log.send(failed(&ControlError::Cancelled));
        let mut heard = Vec::new();
        while let Ok(event) = follower.try_recv() {
            heard.push(event);
        }
        assert_eq!(heard.len(), 3, "{heard:?}");
        assert_eq!(heard[0], Progress::Warning { text: "first".into() });
        let mut after = log.follow();
        assert_eq!(std::iter::from_fn(|| after.try_recv().ok()).count(), 3);
    }

    #[test]
    fn a_torn_last_line_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.ndjson");
        std::fs::write(&path, "{\"event\":\"warning\",\"text\":\"a\"}\n{\"event\":\"warn").unwrap();
        assert_eq!(read(&path).len(), 1);
    }
}
