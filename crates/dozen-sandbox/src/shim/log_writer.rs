//! The app's output, from its pipe to segment files, without passing through this process.
//!
//! Bytes are spliced: at every moment they are either in the pipe, which init holds too, or in the
//! file. A killed shim therefore loses none and writes none twice. `dozen_model::segment` describes the files.
//!
//! A log that cannot be written never stops the app: its output is read, counted and discarded, the disk
//! is tried again four times a second, and the gap is marked in the index. Nor does one app fill the
//! disk: beyond its limit the oldest segments go, counted and marked.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::BorrowedFd,
        unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    },
    path::Path,
    time::{Duration, Instant},
};

use dozen_model::segment::{
    self, INDEX_RECORD_BYTES, IndexRecord, index_name, parse_segment_name, segment_name,
};
use rustix::{io::Errno, pipe::SpliceFlags};

use crate::state::{Dropped, LogPlan, unix_nanos};

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
    plan: LogPlan,
    segment: Option<Segment>,
    /// Encoded index records that are not in the file yet.
    pending: Vec<u8>,
    gap: Option<Gap>,
    /// All that was ever dropped by this shim.
    dropped: Dropped,
    trouble: Option<String>,
}

impl LogWriter {
    /// A writer that begins a new segment in the folder with the first byte. `unannounced` is what a
    /// shim before this one dropped and did not come to mark.
    pub(crate) fn new(plan: LogPlan, unannounced: Dropped) -> Self {
        let gap = (unannounced != Dropped::default())
            .then(|| Gap { dropped: unannounced, retry_at: Instant::now() });
        let (segment, pending, trouble) = (None, Vec::new(), None);
        Self { plan, segment, pending, gap, dropped: Dropped::default(), trouble }
    }

    /// Marks the beginning of an incarnation.
    pub(crate) fn begin_incarnation(&mut self, incarnation: u32) {
        self.note(IndexRecord::Break { incarnation: incarnation.into(), at: unix_nanos() });
    }

    /// What was dropped so far.
    pub(crate) fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// What was dropped and is not marked in an index file yet.
    pub(crate) fn unannounced(&self) -> Dropped {
        let in_gap = self.gap.as_ref().map(|gap| gap.dropped).unwrap_or_default();
        IndexRecord::decode_all(&self.pending).fold(in_gap, |sum, record| match record {
            IndexRecord::LinesDropped { lines, .. } => sum.plus(Dropped { lines, bytes: 0 }),
            IndexRecord::BytesDropped { bytes, .. } => sum.plus(Dropped { lines: 0, bytes }),
            IndexRecord::Chunk { .. } | IndexRecord::Break { .. } => sum,
        })
    }

    /// Marks what was dropped at the end of a life, where no byte comes any more to do it. As long as
    /// that cannot be written, it stays unannounced.
    pub(crate) fn end_life(&mut self) {
        if self.unannounced() != Dropped::default() && self.writable_segment(true).is_ok() {
            self.note_gap(unix_nanos());
        }
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
        self.note_gap(at);
        self.trouble = None;
        if let Some(end) = self.segment.as_ref().map(|segment| segment.end) {
            self.note(IndexRecord::Chunk { end, at });
        }
    }

    fn note_gap(&mut self, at: u64) {
        let Some(Gap { dropped, .. }) = self.gap.take() else { return };
        if dropped != Dropped::default() {
            self.note(IndexRecord::LinesDropped { lines: dropped.lines, at });
            self.note(IndexRecord::BytesDropped { bytes: dropped.bytes, at });
        }
    }

    fn note(&mut self, record: IndexRecord) {
        let is_chunk = matches!(record, IndexRecord::Chunk { .. });
        if is_chunk && self.pending.len() >= MAX_PENDING_BYTES {
            merge_newest_chunk(&mut self.pending);
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

    /// What still waits belongs to the segment that ends. Of that only what speaks of no place in it
    /// can go on into the next one; how far its bytes reach is known without a record.
    fn leave_segment(&mut self) {
        self.write_pending();
        retain_records(&mut self.pending, |record| !matches!(record, IndexRecord::Chunk { .. }));
    }

    fn writable_segment(&mut self, may_begin_next: bool) -> io::Result<&mut Segment> {
        // A byte a write makes an index that is larger than what it describes.
        let limit = self.plan.segment_bytes;
        let is_full =
            self.segment.as_ref().is_some_and(|segment| segment.end >= limit || segment.index_end >= limit);
        if (is_full && may_begin_next) || self.segment.is_none() {
            match self.open_next() {
                Ok(next) => {
                    self.leave_segment();
                    self.segment = Some(next);
                    self.keep_limit();
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
        let dir = &self.plan.dir;
        DirBuilder::new().recursive(true).mode(0o750).create(dir)?;
        let files = Files::in_folder(dir)?;
        if let Some(number) = files.newest()
            && self.segment.is_none()
        {
            complete_index(dir, number);
        }
        let number = files.newest().unwrap_or(0) + 1;
        let create = |name: String| {
            OpenOptions::new().write(true).create_new(true).mode(0o640).open(self.plan.dir.join(name))
        };
        // The index first: a segment without one would look like one whose shim died at once.
        let index = create(index_name(number))?;
        Ok(Segment { data: create(segment_name(number))?, index, end: 0, index_end: 0 })
    }

    /// Removes the oldest segments until the one that was just begun fits below the limit. Control's
    /// retention comes before that; this is for an app that writes faster than control looks, or while
    /// it is dead.
    fn keep_limit(&mut self) {
        let dir = &self.plan.dir;
        let surplus = Files::in_folder(dir).map(|files| files.surplus(&self.plan)).unwrap_or_default();
        let mut bytes = 0;
        for number in surplus {
            let path = dir.join(segment_name(number));
            let length = fs::metadata(&path).map_or(0, |data| data.len());
            // Retention may be faster, and an index alone is cleared away by it.
            bytes += fs::remove_file(path).map_or(0, |()| length);
            let _ = fs::remove_file(dir.join(index_name(number)));
        }
        if bytes > 0 {
            self.dropped = self.dropped.plus(Dropped { lines: 0, bytes });
            self.note(IndexRecord::BytesDropped { bytes, at: unix_nanos() });
        }
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

/// Makes room for one more record by letting the newest chunk that waits go: the next one covers its
/// bytes. Marks of breaks and gaps stay.
fn merge_newest_chunk(pending: &mut Vec<u8>) {
    let newest = IndexRecord::decode_all(pending)
        .enumerate()
        .filter(|(_, record)| matches!(record, IndexRecord::Chunk { .. }))
        .map(|(number, _)| number)
        .last();
    if let Some(number) = newest {
        pending.drain(number * INDEX_RECORD_BYTES..(number + 1) * INDEX_RECORD_BYTES);
    }
}

fn retain_records(pending: &mut Vec<u8>, keeps: impl Fn(&IndexRecord) -> bool) {
    *pending = IndexRecord::decode_all(pending).filter(keeps).flat_map(IndexRecord::encode).collect();
}

/// The numbers in a log folder, and how many bytes each has in data and index.
struct Files(BTreeMap<u64, u64>);

impl Files {
    fn in_folder(dir: &Path) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // An index whose segment could not be made has taken its number all the same.
            let number = name
                .strip_suffix(".idx")
                .map_or_else(|| parse_segment_name(&name), |stem| parse_segment_name(&format!("{stem}.seg")));
            if let Some(number) = number {
                // One that retention removes in this moment has no size.
                *files.entry(number).or_default() += entry.metadata().map_or(0, |data| data.len());
            }
        }
        Ok(Self(files))
    }

    fn newest(&self) -> Option<u64> {
        self.0.keys().next_back().copied()
    }

    /// The oldest ones that are too many; never the newest, from which numbers go on.
    fn surplus(&self, plan: &LogPlan) -> Vec<u64> {
        let mut total: u64 = self.0.values().sum();
        let room = plan.max_bytes.saturating_sub(plan.segment_bytes);
        let older = self.0.iter().take(self.0.len().saturating_sub(1));
        let mut surplus = Vec::new();
        for (number, bytes) in older {
            if total <= room {
                break;
            }
            total -= bytes;
            surplus.push(*number);
        }
        surplus
    }
}

/// Gives the last bytes of a dead shim's segment a time, if it died between bytes and record.
fn complete_index(dir: &Path, number: u64) {
    let complete = || -> io::Result<()> {
        let data = File::open(dir.join(segment_name(number)))?.metadata()?;
        let index = OpenOptions::new().read(true).write(true).open(dir.join(index_name(number)))?;
        let length = index.metadata()?.len();
        let whole = length - length % INDEX_RECORD_BYTES as u64;
        if last_chunk_end(&index, whole)? < data.len() {
            let at = segment::unix_nanos(data.modified()?);
            let record = IndexRecord::Chunk { end: data.len(), at }.encode();
            index.write_all_at(&record, whole)?;
        }
        Ok(())
    };
    // The reader knows what a missing record means; this only makes the time better.
    let _ = complete();
}

/// How far the index reaches: looked for from behind, since an index may be large.
fn last_chunk_end(index: &File, mut end: u64) -> io::Result<u64> {
    let mut block = [0; 256 * INDEX_RECORD_BYTES];
    while end > 0 {
        let length = end.min(block.len() as u64);
        end -= length;
        let block = &mut block[..usize::try_from(length).unwrap_or(0)];
        index.read_exact_at(block, end)?;
        let ends = IndexRecord::decode_all(block).filter_map(|record| match record {
            IndexRecord::Chunk { end, .. } => Some(end),
            _ => None,
        });
        if let Some(last) = ends.last() {
            return Ok(last);
        }
    }
    Ok(0)
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.end_life();
        self.write_pending();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BREAK: IndexRecord = IndexRecord::Break { incarnation: 2, at: 7 };
    const GAP: IndexRecord = IndexRecord::BytesDropped { bytes: 5, at: 8 };

    fn chunk(end: u64) -> IndexRecord {
        IndexRecord::Chunk { end, at: 9 }
    }

    fn encoded(records: &[IndexRecord]) -> Vec<u8> {
        records.iter().flat_map(|record| record.encode()).collect()
    }

    fn decoded(pending: &[u8]) -> Vec<IndexRecord> {
        IndexRecord::decode_all(pending).collect()
    }

    #[test]
    fn a_chunk_makes_room_and_no_mark_does() {
        let mut pending = encoded(&[chunk(1), chunk(2), BREAK, GAP]);
        merge_newest_chunk(&mut pending);
        assert_eq!(decoded(&pending), [chunk(1), BREAK, GAP]);
    }

    #[test]
    fn no_offset_of_a_segment_goes_on_into_the_next() {
        let plan = LogPlan { dir: "/nowhere".into(), segment_bytes: 4096, max_bytes: 8192 };
        let mut log = LogWriter::new(plan, Dropped::default());
        log.pending = encoded(&[chunk(1), BREAK, chunk(2), GAP]);
        log.leave_segment();
        assert_eq!(decoded(&log.pending), [BREAK, GAP]);
    }

    #[test]
    fn what_reaches_the_index_before_its_end_is_found_from_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let breaks = vec![BREAK; 300];
        fs::write(&path, encoded(&[&[chunk(1), chunk(42)], breaks.as_slice()].concat())).unwrap();
        let file = File::open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        assert_eq!(last_chunk_end(&file, length).unwrap(), 42);
        assert_eq!(last_chunk_end(&file, 0).unwrap(), 0);
    }
}
