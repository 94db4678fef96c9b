//! Reading one stream forward, from a position to where it ends by now.
//!
//! A reader keeps nothing between two rounds but its [`Position`], which never stands behind a
//! byte that was not given out: killed at any moment, it loses and doubles nothing. A line that
//! is not complete is read again in the next round; lines are cut at a limit, so that is little.
//!
//! The order of looking matters, because a shim is writing: first the list of files (a file with
//! a successor is complete), then the length of a segment, then its index. A shim records a break
//! before the bytes behind it and a gap right after them, so bytes that the index does not cover
//! wait for their record.
//!
//! Start reading at [`read_forward`].

use std::{
    io,
    time::{Duration, SystemTime},
};

use dozen_model::segment::{self, IndexRecord, MAX_STREAM_TEXT_BYTES, StreamLine, unix_nanos};

use crate::{
    Dropped, LogError, LogLine, MAX_LINE_BYTES, Position, Source,
    files::{Extent, Folder},
    index::Index,
    split::{Piece, Splitter, Stamp},
    stream::{Layout, Stream},
    window::Window,
};

/// After this long without a byte, a line is given out although its end is missing.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);
/// A file changed this far in the future tells of a clock that was set back.
const CLOCK_SET_BACK: Duration = Duration::from_secs(60);
/// What one round may cost: the bytes it reads of one stream, and for each line what it takes in memory
/// beside its text.
const ROUND_COST: u64 = 512 << 10;
const LINE_COST: u64 = 128;
/// Bytes between two looks at the cost: each of them may be a line.
const FEED_BYTES: u64 = 4 << 10;
/// A platform line in its file, where an escape may take 9 bytes for one.
const MAX_ENCODED_LINE: usize = 10 * MAX_STREAM_TEXT_BYTES;

/// How a round ended.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(crate) lines: Vec<LogLine>,
    /// There is more to read at once.
    pub(crate) more: bool,
    /// A line without an end is held back until this time.
    pub(crate) held_until: Option<SystemTime>,
}

/// Reads what is new after `at`, up to a bound, and moves `at` behind it.
pub(crate) fn read_forward(stream: &Stream, at: &mut Position, now: SystemTime) -> Result<Round, LogError> {
    let Some(folder) = stream.folder()? else { return Ok(Round::default()) };
    let files = stream.files(&folder)?;
    let mut reading = Reading::new(stream, *at, now);
    let behind = files.iter().position(|file| *file >= at.file).unwrap_or(files.len());
    if let Some(first) = files.get(behind)
        && *first != at.file
    {
        reading.skip_removed_files(*at, *first);
    }
    for (index, number) in files.iter().enumerate().skip(behind) {
        let has_successor = index + 1 < files.len();
        reading.file(&folder, *number, has_successor)?;
        if reading.budget == 0 {
            reading.round.more = true;
            break;
        }
    }
    if !reading.round.more
        && let Some(newest) = files.last()
    {
        reading.give_out_a_silent_line(&folder, *newest)?;
    }
    *at = reading.position();
    Ok(reading.round)
}

/// One round over one stream.
struct Reading<'a> {
    stream: &'a Stream,
    now: SystemTime,
    splitter: Splitter,
    /// Where the next byte is.
    here: Position,
    budget: u64,
    round: Round,
}

impl<'a> Reading<'a> {
    fn new(stream: &'a Stream, at: Position, now: SystemTime) -> Self {
        let limit = match stream.layout {
            Layout::Segments => MAX_LINE_BYTES,
            Layout::Lines => MAX_ENCODED_LINE,
        };
        let splitter = Splitter::new(limit, at.mid_line);
        Self { stream, now, splitter, here: at, budget: ROUND_COST, round: Round::default() }
    }

    /// The position in the file that was read last is gone with it. That is news only for a
    /// reader that had been there.
    fn skip_removed_files(&mut self, at: Position, first: u64) {
        self.here = Position { file: first, ..Position::default() };
        self.splitter.end_line(true);
        if at != Position::default() {
            let text = "older lines were removed before they were read here: the log had reached its limit";
            self.notice(unix_nanos(self.now), text.to_owned(), Dropped::default());
        }
    }

    /// Reads one file from where we are to its end, or until the budget is spent.
    fn file(&mut self, folder: &Folder, number: u64, has_successor: bool) -> Result<(), LogError> {
        if self.here.file != number {
            self.here = Position { file: number, ..Position::default() };
        }
        let Some(file) = self.stream.open(folder, number)? else { return Ok(()) };
        let mut index = Index::new(self.index_file(folder, number)?, self.here.records);
        let mut data = Window::new(file);
        let unread = |source| LogError::File {
            path: folder.path().join(self.stream.layout.file_name(number)),
            source,
        };
        self.records(&mut data, &mut index, has_successor).map_err(unread)
    }

    fn index_file(&self, folder: &Folder, number: u64) -> Result<Option<std::fs::File>, LogError> {
        if self.stream.layout == Layout::Lines {
            return Ok(None);
        }
        let name = segment::index_name(number);
        folder.file(&name).map_err(|source| LogError::File { path: folder.path().join(name), source })
    }

    fn records(&mut self, data: &mut Window, index: &mut Index, has_successor: bool) -> io::Result<()> {
        let mut missing: Option<Missing> = None;
        while self.budget > 0 {
            let record = index.peek()?;
            if let Some(missing) = missing.take_if(|_| !record.is_some_and(is_dropped)) {
                self.missing(missing);
            }
            match record {
                Some(IndexRecord::Chunk { end, at }) => {
                    self.bytes(data, end, at, index.next())?;
                    if self.here.offset < end {
                        break;
                    }
                    index.pass(IndexRecord::Chunk { end, at });
                }
                Some(IndexRecord::Break { incarnation, at }) => {
                    let piece = self.splitter.end_line(false);
                    self.give(piece);
                    index.pass(IndexRecord::Break { incarnation, at });
                }
                Some(record) => {
                    missing = Some(add_dropped(missing, record));
                    index.pass(record);
                }
                None => {
                    let extent = data.extent()?;
                    if index.peek()?.is_some() {
                        continue;
                    }
                    if !self.unindexed(data, extent, index, has_successor)? {
                        break;
                    }
                }
            }
            self.here.records = index.next();
        }
        if let Some(missing) = missing {
            self.missing(missing);
        }
        Ok(())
    }

    /// Bytes that the index does not cover. Their record is on its way, with what it has to say
    /// about the place before them, unless the shim is gone: after a second they are given out.
    fn unindexed(
        &mut self,
        data: &mut Window,
        extent: Extent,
        index: &mut Index,
        has_successor: bool,
    ) -> io::Result<bool> {
        if self.here.offset >= extent.bytes {
            return Ok(false);
        }
        let is_settled = has_successor || self.stream.layout == Layout::Lines;
        if !is_settled && !self.is_silent(extent.changed) {
            self.round.held_until = Some(extent.changed + SILENCE);
            return Ok(false);
        }
        let known = index.known_time()?.filter(|_| has_successor);
        let time_ns = known.unwrap_or_else(|| unix_nanos(extent.changed));
        self.bytes(data, extent.bytes, time_ns, index.next())?;
        Ok(true)
    }

    /// Whether nothing came for a second.
    fn is_silent(&self, changed: SystemTime) -> bool {
        // A change a little after `now` came while we read; one far ahead means that the clock
        // was set back, and must not hold a line for as long.
        match self.now.duration_since(changed) {
            Ok(silence) => silence >= SILENCE,
            Err(ahead) => ahead.duration() > CLOCK_SET_BACK,
        }
    }

    /// Feeds the bytes up to `end`, all of one time, as far as the budget goes.
    fn bytes(&mut self, data: &mut Window, end: u64, time_ns: u64, record: u64) -> io::Result<()> {
        while self.here.offset < end && self.budget > 0 {
            let block = data.bytes(self.here.offset, 1)?;
            let wanted = (end - self.here.offset).min(self.budget).min(FEED_BYTES);
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            let block = &block[..wanted.min(block.len())];
            if block.is_empty() {
                break;
            }
            let at = Stamp { file: self.here.file, offset: self.here.offset, record, time_ns };
            let (stream, lines) = (self.stream, &mut self.round.lines);
            let before = lines.len();
            self.splitter.feed(block, at, |piece| push_lines(stream, piece, lines));
            let given = (lines.len() - before) as u64;
            self.here.offset += block.len() as u64;
            self.budget = self.budget.saturating_sub(block.len() as u64 + given * LINE_COST);
        }
        Ok(())
    }

    /// The line under way at the end of the stream: given out after a second without a byte,
    /// held back before that.
    fn give_out_a_silent_line(&mut self, folder: &Folder, newest: u64) -> Result<(), LogError> {
        if self.splitter.under_way().is_none() {
            return Ok(());
        }
        let Some(extent) = self.stream.extent(folder, newest)? else { return Ok(()) };
        if self.is_silent(extent.changed) {
            let piece = self.splitter.flush();
            self.give(piece);
        } else {
            self.round.held_until = Some(extent.changed + SILENCE);
        }
        Ok(())
    }

    fn position(&self) -> Position {
        let mid_line = self.splitter.mid_line();
        match self.splitter.under_way() {
            Some(start) => {
                Position { file: start.file, offset: start.offset, records: start.record, mid_line }
            }
            None => Position { mid_line, ..self.here },
        }
    }

    fn give(&mut self, piece: Option<Piece>) {
        if let Some(piece) = piece {
            push_lines(self.stream, piece, &mut self.round.lines);
        }
    }

    fn missing(&mut self, missing: Missing) {
        let Missing { at, dropped, is_here } = missing;
        let Dropped { lines, bytes } = dropped;
        if !is_here {
            let text = format!("{bytes} bytes of older output were removed: the log had reached its limit");
            return self.notice(at, text, dropped);
        }
        let piece = self.splitter.end_line(true);
        self.give(piece);
        let text =
            format!("{lines} line ends, {bytes} bytes of output were dropped: the log could not be written");
        self.notice(at, text, dropped);
    }

    fn notice(&mut self, time_ns: u64, text: String, dropped: Dropped) {
        self.round.lines.push(LogLine {
            time_ns,
            source: Source::Dozen,
            process: self.stream.process.clone(),
            stream: self.stream.id.clone(),
            text: text.into_bytes(),
            continued: false,
            unfinished: false,
            dropped: Some(dropped),
        });
    }
}

fn is_dropped(record: IndexRecord) -> bool {
    matches!(record, IndexRecord::LinesDropped { .. } | IndexRecord::BytesDropped { .. })
}

/// What a row of records says is missing.
#[derive(Clone, Copy)]
struct Missing {
    at: u64,
    dropped: Dropped,
    /// At this place of the stream, not at its beginning.
    is_here: bool,
}

/// Adds one record of what was dropped to those right before it.
fn add_dropped(missing: Option<Missing>, record: IndexRecord) -> Missing {
    let (IndexRecord::LinesDropped { at, .. }
    | IndexRecord::BytesDropped { at, .. }
    | IndexRecord::Chunk { at, .. }
    | IndexRecord::Break { at, .. }) = record;
    let mut sum = missing.unwrap_or(Missing { at, dropped: Dropped::default(), is_here: false });
    match record {
        IndexRecord::LinesDropped { lines, .. } => {
            sum.dropped.lines = sum.dropped.lines.saturating_add(lines);
            sum.is_here = true;
        }
        IndexRecord::BytesDropped { bytes, .. } => {
            sum.dropped.bytes = sum.dropped.bytes.saturating_add(bytes);
        }
        IndexRecord::Chunk { .. } | IndexRecord::Break { .. } => {}
    }
    sum
}

/// Adds what one line of the file says, as one line or several.
fn push_lines(stream: &Stream, piece: Piece, lines: &mut Vec<LogLine>) {
    let line = LogLine {
        time_ns: piece.time_ns,
        source: stream.source,
        process: stream.process.clone(),
        stream: stream.id.clone(),
        text: piece.text,
        continued: piece.continued,
        unfinished: piece.unfinished,
        dropped: None,
    };
    let spoken = match stream.layout {
        Layout::Segments => None,
        Layout::Lines => str::from_utf8(&line.text).ok().and_then(StreamLine::parse),
    };
    let Some(spoken) = spoken else {
        return lines.push(line);
    };
    // Each part has a text of its own.
    let line = LogLine { text: Vec::new(), ..line };
    for text in spoken.text.split('\n') {
        let mut splitter = Splitter::new(MAX_LINE_BYTES, false);
        let mut pieces = Vec::new();
        splitter.feed(text.as_bytes(), Stamp::default(), |piece| pieces.push(piece));
        pieces.extend(splitter.end_line(false));
        let parts = pieces.into_iter().map(|piece| LogLine {
            time_ns: spoken.at,
            process: spoken.process.clone(),
            text: piece.text,
            continued: piece.continued,
            unfinished: piece.unfinished,
            ..line.clone()
        });
        lines.extend(parts);
    }
}
