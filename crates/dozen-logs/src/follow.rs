//! Following the logs of a stage: what is there first, then each line as it comes.
//!
//! The follower reads only streams that changed and sleeps in between. Its watches stand before
//! its first look at a stream, so nothing falls between the two.
//!
//! Start reading at [`Follower::next_batch`].

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    Cursor, LogError, LogLine, LogQuery, LogStore, StreamId,
    merge::merge,
    reader::{Round, read_forward},
    store::wants,
    stream::{Stream, discover, stage_folder},
    watch::{Changes, Watch, Watched},
};

/// Between two looks while lines keep coming: time for a batch to gather.
const GATHER: Duration = Duration::from_millis(10);
/// How often is looked for a folder that does not exist yet and so cannot be watched.
const LOOK_FOR_FOLDERS: Duration = Duration::from_secs(1);

/// Gives the lines of a stage as they come.
#[derive(Debug)]
pub struct Follower {
    store: LogStore,
    query: LogQuery,
    watch: Watch,
    streams: BTreeMap<StreamId, Followed>,
    /// Positions of streams, those of removed streams left out.
    cursor: Cursor,
    first: Vec<LogLine>,
    last_look: Option<Instant>,
    /// A stream could not be read while others gave lines: told after those.
    failed: Option<LogError>,
    /// Some folder in which streams appear is not there yet.
    folder_missing: bool,
}

#[derive(Debug)]
struct Followed {
    stream: Stream,
    /// It may hold something new.
    changed: bool,
    /// A line without an end is held back until then.
    held_until: Option<SystemTime>,
}

impl Follower {
    pub(crate) fn start(store: LogStore, query: LogQuery) -> Result<Self, LogError> {
        let (first, cursor) = match &query.from {
            Some(cursor) => (Vec::new(), cursor.clone()),
            None => {
                let page = store.read(&query)?;
                (page.lines, page.cursor)
            }
        };
        let watch = Watch::new(store.poll);
        let mut follower = Self {
            store,
            query,
            watch,
            streams: BTreeMap::new(),
            cursor,
            first,
            last_look: None,
            failed: None,
            folder_missing: true,
        };
        follower.look_for_streams()?;
        Ok(follower)
    }

    /// The next lines, by time within the batch. Waits for some, at most for `timeout`; none
    /// then means that there was none.
    pub fn next_batch(&mut self, timeout: Duration) -> Result<Vec<LogLine>, LogError> {
        if !self.first.is_empty() {
            return Ok(std::mem::take(&mut self.first));
        }
        let deadline = Instant::now() + timeout;
        loop {
            self.gather(deadline);
            let lines = self.look()?;
            if !lines.is_empty() || Instant::now() >= deadline {
                return Ok(lines);
            }
            self.sleep(deadline)?;
        }
    }

    /// Where the follower stands once the lines it gave out are dealt with: a later
    /// [`LogQuery::from`] goes on behind them.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// While lines stream in, a batch every 10 ms costs far less than one for each write.
    fn gather(&mut self, deadline: Instant) {
        let now = Instant::now();
        if let Some(last) = self.last_look
            && last + GATHER < deadline
        {
            thread::sleep((last + GATHER).saturating_duration_since(now));
        }
        self.last_look = Some(Instant::now());
    }

    fn look(&mut self) -> Result<Vec<LogLine>, LogError> {
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        let now = SystemTime::now();
        let mut lines = Vec::new();
        for (id, followed) in &mut self.streams {
            let is_due = followed.held_until.is_some_and(|until| until <= now);
            if !followed.changed && !is_due {
                continue;
            }
            let at = self.cursor.0.entry(id.clone()).or_default();
            // Where one cannot be read, the others' lines are given out all the same: their places in
            // the cursor have moved on.
            let round =
                read_forward(&followed.stream, at, now).map_err(|error| self.failed.get_or_insert(error));
            let Ok(Round { lines: mut new, more, held_until }) = round else { continue };
            followed.changed = more;
            followed.held_until = held_until;
            new.retain(|line| wants(&self.query, line));
            lines = merge(lines, new);
        }
        match self.failed.take_if(|_| lines.is_empty()) {
            Some(failed) => Err(failed),
            None => Ok(lines),
        }
    }

    fn sleep(&mut self, deadline: Instant) -> Result<(), LogError> {
        let changes = if self.streams.values().any(|followed| followed.changed) {
            Changes::default()
        } else {
            self.wait(deadline)?
        };
        if changes.all || self.folder_missing || changes.folders.contains(&Watched::Stage) {
            self.look_for_streams()?;
        }
        for (id, followed) in &mut self.streams {
            followed.changed |= changes.all || changes.folders.contains(&Watched::Stream(id.clone()));
        }
        Ok(())
    }

    fn wait(&mut self, deadline: Instant) -> Result<Changes, LogError> {
        let mut limit = deadline.saturating_duration_since(Instant::now());
        if self.folder_missing {
            limit = limit.min(LOOK_FOR_FOLDERS);
        }
        let held = self.streams.values().filter_map(|followed| followed.held_until).min();
        if let Some(until) = held {
            limit = limit.min(until.duration_since(SystemTime::now()).unwrap_or_default());
        }
        self.watch
            .wait(limit)
            .map_err(|source| LogError::Folder { path: self.store.dirs.apps.clone(), source })
    }

    /// Finds new streams and forgets those whose folder is gone.
    fn look_for_streams(&mut self) -> Result<(), LogError> {
        let (app, stage) = (&self.query.app, &self.query.stage);
        let dirs = &self.store.dirs;
        let stage_is_there = match stage_folder(&dirs.apps, app, stage)? {
            Some(folder) => {
                self.watch.add(&folder, Watched::Stage);
                true
            }
            None => false,
        };
        let router_is_there = match &dirs.router {
            Some(base) => stage_folder(base, app, stage)?.is_some(),
            None => true,
        };
        self.folder_missing = !(stage_is_there && router_is_there);

        let mut streams = BTreeMap::new();
        for stream in discover(dirs, &self.query)? {
            let followed = self.streams.remove(&stream.id);
            let followed = match followed {
                Some(followed) => followed,
                None => begin(&mut self.watch, stream)?,
            };
            streams.insert(followed.stream.id.clone(), followed);
        }
        for gone in std::mem::replace(&mut self.streams, streams).into_keys() {
            self.cursor.0.remove(&gone);
        }
        Ok(())
    }
}

/// Starts to follow a stream: watched first, then looked at.
fn begin(watch: &mut Watch, stream: Stream) -> Result<Followed, LogError> {
    if let Some(folder) = stream.folder()? {
        watch.add(&folder, Watched::Stream(stream.id.clone()));
    }
    Ok(Followed { stream, changed: true, held_until: None })
}
