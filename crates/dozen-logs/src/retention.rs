//! Retention: the oldest files of a stage's logs go when they are too old or too many.
//!
//! What will go is announced in the platform stream before it goes, so a kill between the two
//! announces too much rather than too little. The newest file of a stream that may still be
//! written to always stays: its writer would go on writing into nothing, and numbers start from it.
//!
//! Only files with our own names in folders with our own names are removed, by name in an open
//! folder: a symbolic link is never followed.
//!
//! Start reading at [`LogStore::enforce`].

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use dozen_model::{
    names::{AppName, StageName},
    segment,
};

use crate::{
    LogError, LogStore, PlatformLog,
    files::{Extent, Folder},
    stream::{self, Layout, Stream, stage_folder},
};

/// A stream written to within this time may be alive although nobody knows it yet.
const FRESH: Duration = Duration::from_secs(60);

/// How much is kept, and what must not be touched.
#[derive(Debug, Clone)]
pub struct Limits {
    /// All files of the stage together.
    pub max_bytes: u64,
    /// Since the last change of a file.
    pub max_age: Duration,
    /// The folders of instances that may still write, such as `web.1~4f0c`.
    pub live: BTreeSet<String>,
}

/// What retention removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes of segments, indexes and platform files.
    pub bytes: u64,
    /// How many files of lines: an index is not counted.
    pub files: u64,
}

/// One file that may go, with its index.
struct Candidate {
    stream: usize,
    number: u64,
    bytes: u64,
    changed: SystemTime,
}

impl LogStore {
    /// Removes the oldest files of one stage until its limits are kept, and says so in
    /// `announce`, the platform stream of the stage.
    pub fn enforce(
        &self,
        app: &AppName,
        stage: &StageName,
        limits: &Limits,
        announce: &PlatformLog,
    ) -> Result<Report, LogError> {
        let now = SystemTime::now();
        let streams = stream::all(&self.dirs, app, stage)?;
        let (mut candidates, mut total) = (Vec::new(), 0);
        for (index, stream) in streams.iter().enumerate() {
            let files = files(stream)?;
            total += files.iter().map(|(_, extent)| extent.bytes).sum::<u64>();
            candidates.extend(removable(index, files, keeps_newest(stream, limits), now));
        }
        candidates.sort_by_key(|candidate| (candidate.changed, candidate.stream, candidate.number));

        let doomed = doomed(candidates, total, limits, now);
        let report = doomed.iter().fold(Report::default(), |sum, candidate| Report {
            bytes: sum.bytes + candidate.bytes,
            files: sum.files + 1,
        });
        if report.files > 0 {
            let Report { bytes, files } = report;
            announce
                .write("logs", &format!("{files} old log files ({bytes} bytes) are removed by retention"));
        }
        for candidate in &doomed {
            remove(&streams[candidate.stream], candidate.number)?;
        }
        self.remove_empty_folders(app, stage, &streams, limits)?;
        Ok(report)
    }

    fn remove_empty_folders(
        &self,
        app: &AppName,
        stage: &StageName,
        streams: &[Stream],
        limits: &Limits,
    ) -> Result<(), LogError> {
        let Some(parent) = stage_folder(&self.dirs.apps, app, stage)? else { return Ok(()) };
        for stream in streams.iter().filter(|stream| stream.layout == Layout::Segments) {
            let name = stream.id.as_str();
            let is_empty = stream.folder()?.is_some_and(|folder| is_old_and_empty(&folder));
            if is_empty && !limits.live.contains(name) {
                let path = parent.path().join(name);
                parent.remove_empty_folder(name).map_err(|source| LogError::Folder { path, source })?;
            }
        }
        Ok(())
    }
}

/// The files of a stream in order, each with its index. An index whose segment could not be made
/// counts as a file: it holds a number.
fn files(stream: &Stream) -> Result<Vec<(u64, Extent)>, LogError> {
    let Some(folder) = stream.folder()? else { return Ok(Vec::new()) };
    let unread = |source| LogError::Folder { path: folder.path().to_owned(), source };
    let mut numbers: BTreeSet<u64> = stream.files(&folder)?.into_iter().collect();
    if stream.layout == Layout::Segments {
        numbers.extend(folder.names().map_err(unread)?.iter().filter_map(|name| index_number(name)));
    }
    let mut files = Vec::new();
    for number in numbers {
        let data = stream.extent(&folder, number)?;
        let index = match stream.layout {
            Layout::Segments => folder.extent(&segment::index_name(number)).map_err(unread)?,
            Layout::Lines => None,
        };
        let both = [data, index].into_iter().flatten();
        files.extend(both.reduce(|a, b| Extent { bytes: a.bytes + b.bytes, ..a }).map(|both| (number, both)));
    }
    Ok(files)
}

fn index_number(name: &str) -> Option<u64> {
    let stem = name.strip_suffix(segment::INDEX_SUFFIX)?;
    segment::parse_segment_name(&format!("{stem}{}", segment::SEGMENT_SUFFIX))
}

/// Whether the newest file of a stream must stay. The platform's own streams are always open.
fn keeps_newest(stream: &Stream, limits: &Limits) -> bool {
    stream.layout == Layout::Lines || limits.live.contains(stream.id.as_str())
}

fn removable(
    stream: usize,
    mut files: Vec<(u64, Extent)>,
    keep_newest: bool,
    now: SystemTime,
) -> impl Iterator<Item = Candidate> {
    let is_fresh = |extent: &Extent| now.duration_since(extent.changed).map_or(true, |age| age < FRESH);
    if files.last().is_some_and(|(_, newest)| keep_newest || is_fresh(newest)) {
        files.pop();
    }
    // A file never goes before an older one of its stream, whatever their times say.
    let mut latest = SystemTime::UNIX_EPOCH;
    files.into_iter().map(move |(number, extent)| {
        latest = latest.max(extent.changed);
        Candidate { stream, number, bytes: extent.bytes, changed: latest }
    })
}

/// Those of the candidates, oldest first, that have to go.
fn doomed(candidates: Vec<Candidate>, mut total: u64, limits: &Limits, now: SystemTime) -> Vec<Candidate> {
    let mut is_doomed = |candidate: &Candidate| {
        let too_old = now.duration_since(candidate.changed).is_ok_and(|age| age > limits.max_age);
        let goes = too_old || total > limits.max_bytes;
        if goes {
            total -= candidate.bytes.min(total);
        }
        goes
    };
    candidates.into_iter().take_while(|candidate| is_doomed(candidate)).collect()
}

/// The index first: a segment without one can still be read, an index alone would stay for ever.
fn remove(stream: &Stream, number: u64) -> Result<(), LogError> {
    let Some(folder) = stream.folder()? else { return Ok(()) };
    let index = (stream.layout == Layout::Segments).then(|| segment::index_name(number));
    for name in index.into_iter().chain([stream.layout.file_name(number)]) {
        folder
            .remove_file(&name)
            .map_err(|source| LogError::File { path: folder.path().join(name), source })?;
    }
    Ok(())
}

fn is_old_and_empty(folder: &Folder) -> bool {
    let is_old = folder.changed().is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= FRESH));
    is_old && folder.names().is_ok_and(|names| names.is_empty())
}
