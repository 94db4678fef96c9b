//! The app's output, from its pipe to segment files, without passing through this process.
//!
//! Bytes are spliced: at every moment they are either in the pipe, which init holds too, or in the
//! file. A killed shim therefore loses none and writes none twice. `dozen_model::segment` describes the files.
//!
//! A log that cannot be written never stops the app: its output is read, counted and discarded, the disk
//! is tried again four times a second, and the gap is marked in the index.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::BorrowedFd,
        unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    },
    path::PathBuf,
    time::{Duration, Instant},
};

use dozen_model::segment::{INDEX_RECORD_BYTES, IndexRecord, index_name, parse_segment_name, segment_name};
use rustix::{io::Errno, pipe::SpliceFlags};

use crate::{init::unix_nanos, state::Dropped};

const RETRY: Duration = Duration::from_millis(250);
/// Index records that wait for space on the disk; beyond these, chunks are merged.
const MAX_PENDING_BYTES: usize = 64 * INDEX_RECORD_BYTES;

/// What one attempt to take output brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// So many bytes left the pipe.
    Bytes(usize),
    /// Nothing is there now.
    Nothing,
    /// Nothing will ever be there again.
    End,
}

/// The segment that is being written.
struct Segment {
    data: File,
    index: File,
    end: u64,
    index_end: u64,
}

/// A time in which the log cannot be written.
struct Gap {
    dropped: Dropped,
    retry_at: Instant,
}

/// Writes the log segments of one instance.
pub(crate) struct LogWriter {
    dir: PathBuf,
    segment_bytes: u64,
    segment: Option<Segment>,
    /// Encoded index records that are not in the file yet.
    pending: Vec<u8>,
    gap: Option<Gap>,
    /// All that was ever dropped by this shim.
    dropped: Dropped,
    trouble: Option<String>,
}

impl LogWriter {
    /// A writer that begins a new segment in `dir` with the first byte.
    pub(crate) fn new(dir: PathBuf, segment_bytes: u64) -> Self {
        let (segment, gap, trouble) = (None, None, None);
        Self { dir, segment_bytes, segment, pending: Vec::new(), gap, dropped: Dropped::default(), trouble }
    }

    /// Marks the beginning of an incarnation.
    pub(crate) fn begin_incarnation(&mut self, incarnation: u32) {
        self.note(IndexRecord::Break { incarnation: incarnation.into(), at: unix_nanos() });
    }

    /// What was dropped so far.
    pub(crate) fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Why the log cannot be written at the moment.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Moves up to `limit` bytes from `pipe` to the log.
    pub(crate) fn take(&mut self, pipe: BorrowedFd<'_>, limit: usize) -> io::Result<Taken> {
        if self.gap.as_ref().is_some_and(|gap| Instant::now() < gap.retry_at) {
            return self.discard(pipe, limit);
        }
        match self.splice(pipe, limit) {
            Ok(taken) => Ok(taken),
            Err(reason) => {
                self.enter_gap(&reason);
                self.discard(pipe, limit)
            }
        }
    }

    fn splice(&mut self, pipe: BorrowedFd<'_>, limit: usize) -> io::Result<Taken> {
        // At the end of the pipe a next segment would stay empty.
        let has_more = rustix::io::ioctl_fionread(pipe).unwrap_or(0) > 0;
        let segment = self.writable_segment(has_more)?;
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match rustix::pipe::splice(pipe, None, &segment.data, Some(&mut segment.end), limit, flags) {
            Ok(0) => Ok(Taken::End),
            Ok(bytes) => {
                self.note_chunk();
                Ok(Taken::Bytes(bytes))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Taken::Nothing),
            Err(other) => Err(other.into()),
        }
    }

    /// Appends bytes that were read from a terminal; it cannot be spliced from.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        let written = self.writable_segment(true).and_then(|segment| {
            segment.data.write_all_at(bytes, segment.end)?;
            segment.end += bytes.len() as u64;
            Ok(())
        });
        match written {
            Ok(()) => self.note_chunk(),
            Err(reason) => {
                self.enter_gap(&reason);
                self.count_dropped(bytes);
            }
        }
    }

    /// A chunk is in the file: first tell of the gap before it, then of the chunk.
    fn note_chunk(&mut self) {
        let at = unix_nanos();
        if let Some(Gap { dropped, .. }) = self.gap.take() {
            self.trouble = None;
            self.note(IndexRecord::LinesDropped { lines: dropped.lines, at });
            self.note(IndexRecord::BytesDropped { bytes: dropped.bytes, at });
        }
        if let Some(end) = self.segment.as_ref().map(|segment| segment.end) {
            self.note(IndexRecord::Chunk { end, at });
        }
    }

    fn note(&mut self, record: IndexRecord) {
        let is_chunk = matches!(record, IndexRecord::Chunk { .. });
        if is_chunk && self.pending.len() >= MAX_PENDING_BYTES {
            // The newest record covers the bytes of the one it replaces.
            self.pending.truncate(MAX_PENDING_BYTES - INDEX_RECORD_BYTES);
        }
        self.pending.extend(record.encode());
        self.write_pending();
    }

    /// Writes index records at our own offset: a part that a full disk tore off is written again.
    fn write_pending(&mut self) {
        let Some(segment) = &mut self.segment else { return };
        if segment.index.write_all_at(&self.pending, segment.index_end).is_ok() {
            segment.index_end += self.pending.len() as u64;
            self.pending.clear();
        }
    }

    fn writable_segment(&mut self, may_begin_next: bool) -> io::Result<&mut Segment> {
        let is_full = self.segment.as_ref().is_some_and(|segment| segment.end >= self.segment_bytes);
        if (is_full && may_begin_next) || self.segment.is_none() {
            match self.open_next() {
                Ok(next) => {
                    self.segment = Some(next);
                    self.write_pending();
                }
                // A segment that grows too long is better than a line lost.
                Err(reason) if self.segment.is_none() => return Err(reason),
                Err(_) => {}
            }
        }
        self.segment.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open_next(&mut self) -> io::Result<Segment> {
        DirBuilder::new().recursive(true).mode(0o750).create(&self.dir)?;
        let newest = newest_segment(&self.dir)?;
        if let Some(number) = newest
            && self.segment.is_none()
        {
            complete_index(&self.dir, number);
        }
        let number = newest.unwrap_or(0) + 1;
        let create = |name: String| {
            OpenOptions::new().write(true).create_new(true).mode(0o640).open(self.dir.join(name))
        };
        // The index first: a segment without one would look like one whose shim died at once.
        let index = create(index_name(number))?;
        Ok(Segment { data: create(segment_name(number))?, index, end: 0, index_end: 0 })
    }

    fn enter_gap(&mut self, reason: &io::Error) {
        let retry_at = Instant::now() + RETRY;
        match &mut self.gap {
            Some(gap) => gap.retry_at = retry_at,
            None => self.gap = Some(Gap { dropped: Dropped::default(), retry_at }),
        }
        self.trouble = Some(format!("could not write the log: {reason}"));
    }

    fn discard(&mut self, pipe: BorrowedFd<'_>, limit: usize) -> io::Result<Taken> {
        let mut buffer = [0; 16 << 10];
        let limit = limit.min(buffer.len());
        match rustix::io::read(pipe, &mut buffer[..limit]) {
            Ok(0) => Ok(Taken::End),
            Ok(bytes) => {
                self.count_dropped(&buffer[..bytes]);
                Ok(Taken::Bytes(bytes))
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Taken::Nothing),
            Err(other) => Err(other.into()),
        }
    }

    fn count_dropped(&mut self, bytes: &[u8]) {
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        let in_gap = self.gap.as_mut().map(|gap| &mut gap.dropped);
        for counted in [Some(&mut self.dropped), in_gap].into_iter().flatten() {
            counted.lines += lines;
            counted.bytes += bytes.len() as u64;
        }
    }
}

fn newest_segment(dir: &PathBuf) -> io::Result<Option<u64>> {
    let mut newest = None;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        // An index whose segment could not be made has taken its number all the same.
        let number = name
            .strip_suffix(".idx")
            .map_or_else(|| parse_segment_name(&name), |stem| parse_segment_name(&format!("{stem}.seg")));
        newest = newest.max(number);
    }
    Ok(newest)
}

/// Gives the last bytes of a dead shim's segment a time, if it died between bytes and record.
fn complete_index(dir: &std::path::Path, number: u64) {
    let complete = || -> io::Result<()> {
        let data = File::open(dir.join(segment_name(number)))?.metadata()?;
        let index = OpenOptions::new().read(true).write(true).open(dir.join(index_name(number)))?;
        let records = fs::read(dir.join(index_name(number)))?;
        let whole = records.len() - records.len() % INDEX_RECORD_BYTES;
        let ends = IndexRecord::decode_all(&records).filter_map(|record| match record {
            IndexRecord::Chunk { end, .. } => Some(end),
            _ => None,
        });
        if ends.last().unwrap_or(0) < data.len() {
            let at = data.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
            let at = u64::try_from(at).unwrap_or(u64::MAX);
            let record = IndexRecord::Chunk { end: data.len(), at }.encode();
            index.write_all_at(&record, whole as u64)?;
        }
        Ok(())
    };
    // The reader knows what a missing record means; this only makes the time better.
    let _ = complete();
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.write_pending();
    }
}
