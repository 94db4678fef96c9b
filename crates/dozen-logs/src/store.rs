//! Reading what is there: the last lines of a stage, or what is new since a cursor.
//!
//! Start reading at [`LogStore::read`].

use std::{path::PathBuf, time::SystemTime};

use dozen_model::{
    names::{AppName, StageName},
    segment::unix_nanos,
};

use crate::{
    Cursor, Follower, LogError, LogLine, LogQuery, PlatformLog, Position,
    merge::{Newest, merge},
    query::MAX_LINES,
    reader::read_forward,
    stream::{PLATFORM, Stream, discover},
    tail::{self, CLOCK_SLACK},
};

/// Where logs lie.
#[derive(Debug, Clone)]
pub struct LogDirs {
    /// The folder with `<app>/<stage>/` of app streams and platform streams.
    pub apps: PathBuf,
    /// The folder with `<app>/<stage>/` of the router's access lines.
    pub router: Option<PathBuf>,
}

/// The logs of all apps. It holds no descriptor and no state: cheap to clone.
#[derive(Debug, Clone)]
pub struct LogStore {
    pub(crate) dirs: LogDirs,
    pub(crate) poll: bool,
}

/// What a read gave.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The lines, by time.
    pub lines: Vec<LogLine>,
    /// Where to go on.
    pub cursor: Cursor,
}

impl LogStore {
    /// The logs in these folders, which need not exist yet.
    pub fn new(dirs: LogDirs) -> Self {
        Self { dirs, poll: false }
    }

    /// The same store, whose followers look again every quarter of a second as they do where the
    /// kernel refuses inotify: so that this way of waiting can be tested where it does not.
    pub fn polling(self) -> Self {
        Self { poll: true, ..self }
    }

    /// Reads once and does not wait.
    ///
    /// Without [`LogQuery::from`]: the newest lines, as many as the query asks for. With it:
    /// what came since, up to a bound; read on from the page's cursor until a page is empty.
    /// A stage that never ran has no lines; that is no error. The last line of a stream is left
    /// for a later read while its end is missing and bytes came within the last second.
    pub fn read(&self, query: &LogQuery) -> Result<Page, LogError> {
        match &query.from {
            Some(cursor) => self.read_on(query, cursor.clone()),
            None => self.read_newest(query),
        }
    }

    /// Reads, then waits for more: see [`Follower::next_batch`].
    pub fn follow(&self, query: LogQuery) -> Result<Follower, LogError> {
        Follower::start(self.clone(), query)
    }

    /// Opens the platform stream of a stage for writing; there must be one writer at a time.
    pub fn platform_log(&self, app: &AppName, stage: &StageName) -> Result<PlatformLog, LogError> {
        PlatformLog::open(&self.dirs.apps.join(app.as_str()).join(stage.as_str()).join(PLATFORM))
    }

    fn read_on(&self, query: &LogQuery, mut cursor: Cursor) -> Result<Page, LogError> {
        let now = SystemTime::now();
        let mut lines = Vec::new();
        for stream in discover(&self.dirs, query)? {
            let at = cursor.0.entry(stream.id.clone()).or_default();
            let mut round = read_forward(&stream, at, now)?;
            // A page may end only where all was read, or its lines could all be filtered out.
            while round.more && !round.lines.iter().any(|line| wants(query, line)) {
                round = read_forward(&stream, at, now)?;
            }
            round.lines.retain(|line| wants(query, line));
            lines = merge(lines, round.lines);
        }
        Ok(Page { lines, cursor })
    }

    fn read_newest(&self, query: &LogQuery) -> Result<Page, LogError> {
        let mut newest = Newest::new(query.last());
        let mut cursor = Cursor::default();
        for (changed, stream) in self.by_last_change(query)? {
            let too_old = |floor: u64| unix_nanos(changed + CLOCK_SLACK) < floor;
            let floor = newest.floor().max(query.since_ns);
            let at = if floor.is_some_and(too_old) {
                tail::end(&stream)?
            } else {
                let (lines, at) = last_of(&stream, query)?;
                newest.add(lines);
                at
            };
            cursor.0.insert(stream.id, at);
        }
        Ok(Page { lines: newest.into_lines(), cursor })
    }

    fn by_last_change(&self, query: &LogQuery) -> Result<Vec<(SystemTime, Stream)>, LogError> {
        let mut streams = Vec::new();
        for stream in discover(&self.dirs, query)? {
            if let Some(changed) = stream.changed()? {
                streams.push((changed, stream));
            }
        }
        streams.sort_by_key(|(changed, _)| std::cmp::Reverse(*changed));
        Ok(streams)
    }
}

/// Whether a line passes the query's filters; a stream holds lines of several processes.
pub(crate) fn wants(query: &LogQuery, line: &LogLine) -> bool {
    query.wants_process(&line.process)
        && query.wants_source(line.source)
        && query.since_ns.is_none_or(|since| line.time_ns >= since)
}

/// The last lines of one stream that the query lets through, and the position behind them.
fn last_of(stream: &Stream, query: &LogQuery) -> Result<(Vec<LogLine>, Position), LogError> {
    let earliest = match query.since_ns {
        Some(since) => tail::since(stream, since)?,
        None => Position::default(),
    };
    let mut wanted = query.last();
    loop {
        let tail = tail::last_lines(stream, wanted)?;
        let from_earliest = (tail.at.file, tail.at.offset) <= (earliest.file, earliest.offset);
        let (lines, end) = read_to_end(stream, if from_earliest { earliest } else { tail.at }, query)?;
        // Lines of other processes may stand between those wanted: then look back further.
        if lines.len() >= query.last() || tail.is_whole || from_earliest || wanted >= MAX_LINES {
            return Ok((lines, end));
        }
        wanted = wanted.saturating_mul(8).min(MAX_LINES);
    }
}

fn read_to_end(
    stream: &Stream,
    mut at: Position,
    query: &LogQuery,
) -> Result<(Vec<LogLine>, Position), LogError> {
    let now = SystemTime::now();
    let mut newest = Newest::new(query.last());
    loop {
        let mut round = read_forward(stream, &mut at, now)?;
        round.lines.retain(|line| wants(query, line));
        newest.add(round.lines);
        if !round.more {
            return Ok((newest.into_lines(), at));
        }
    }
}
