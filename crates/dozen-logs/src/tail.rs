//! Where to start reading a stream: at its last lines, at a time, or at its end.
//!
//! Files are read backwards in blocks, so the last 100 lines of a stream of gigabytes cost a few
//! blocks. How far back that goes is bounded: a stream may hold no line end at all.
//!
//! Start reading at [`last_lines`].

use std::{fs::File, io, os::unix::fs::FileExt, time::Duration};

use dozen_model::segment::{self, unix_nanos};

use crate::{
    LogError, MAX_LINE_BYTES, Position,
    files::Folder,
    index::Index,
    stream::{Layout, Stream},
};

const BLOCK_BYTES: usize = 64 << 10;
/// No read goes back further than this.
const MAX_BACK_BYTES: u64 = 64 << 20;
/// File times may be this much older than the times of the lines in the file: they come from a
/// coarser clock.
pub(crate) const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// Where the last lines of a stream start.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) at: Position,
    /// There is nothing before it.
    pub(crate) is_whole: bool,
}

/// The position before the last `lines` lines; a few more may follow it. Fewer do only where these
/// reach further back than is looked: [`MAX_LINE_BYTES`] for each line, and 64 MiB in all.
pub(crate) fn last_lines(stream: &Stream, lines: usize) -> Result<Tail, LogError> {
    let Some(folder) = stream.folder()? else { return Ok(Tail { is_whole: true, ..Tail::default() }) };
    let files = stream.files(&folder)?;
    let pieces = (lines as u64).saturating_add(1).saturating_mul(MAX_LINE_BYTES as u64 + 3);
    let mut left = Looking { line_ends: lines as u64 + 1, bytes: pieces.min(MAX_BACK_BYTES) };
    for number in files.iter().rev() {
        let Some(file) = stream.open(&folder, *number)? else { continue };
        let unread = |source| unread(stream, &folder, *number, source);
        let found = file.metadata().and_then(|data| left.back_from(&file, data.len())).map_err(unread)?;
        if let Some((offset, mid_line)) = found {
            let at = position(stream, &folder, *number, offset, mid_line)?;
            return Ok(Tail { at, is_whole: false });
        }
    }
    let first = files.first().copied().unwrap_or_default();
    Ok(Tail { at: Position { file: first, ..Position::default() }, is_whole: true })
}

/// A position at or before the first line of time `since_ns`, as near as is cheap: the file's start
/// where there is no index.
pub(crate) fn since(stream: &Stream, since_ns: u64) -> Result<Position, LogError> {
    let Some(folder) = stream.folder()? else { return Ok(Position::default()) };
    for number in stream.files(&folder)? {
        let Some(extent) = stream.extent(&folder, number)? else { continue };
        if unix_nanos(extent.changed + CLOCK_SLACK) < since_ns {
            continue;
        }
        let mut offset = 0;
        if let Some(mut index) = index(stream, &folder, number)? {
            let unread = |source| unread(stream, &folder, number, source);
            offset = index.offset_for_time(since_ns).map_err(unread)?.min(extent.bytes);
        }
        let Some(file) = stream.open(&folder, number)? else { continue };
        let mut left = Looking { line_ends: 1, bytes: MAX_LINE_BYTES as u64 + 3 };
        let found =
            left.back_from(&file, offset).map_err(|source| unread(stream, &folder, number, source))?;
        let (offset, mid_line) = found.unwrap_or((0, false));
        return position(stream, &folder, number, offset, mid_line);
    }
    end(stream)
}

/// The position behind all that is there.
pub(crate) fn end(stream: &Stream) -> Result<Position, LogError> {
    let Some(folder) = stream.folder()? else { return Ok(Position::default()) };
    let Some(number) = stream.files(&folder)?.pop() else { return Ok(Position::default()) };
    let Some(extent) = stream.extent(&folder, number)? else { return Ok(Position::default()) };
    let Some(file) = stream.open(&folder, number)? else { return Ok(Position::default()) };
    let mut last = [b'\n'];
    if let Some(before) = extent.bytes.checked_sub(1) {
        file.read_at(&mut last, before).map_err(|source| unread(stream, &folder, number, source))?;
    }
    position(stream, &folder, number, extent.bytes, last != *b"\n")
}

fn unread(stream: &Stream, folder: &Folder, number: u64, source: io::Error) -> LogError {
    LogError::File { path: folder.path().join(stream.layout.file_name(number)), source }
}

fn index(stream: &Stream, folder: &Folder, number: u64) -> Result<Option<Index>, LogError> {
    if stream.layout == Layout::Lines {
        return Ok(None);
    }
    let name = segment::index_name(number);
    let file =
        folder.file(&name).map_err(|source| LogError::File { path: folder.path().join(name), source })?;
    Ok(file.map(|file| Index::new(Some(file), 0)))
}

fn position(
    stream: &Stream,
    folder: &Folder,
    number: u64,
    offset: u64,
    mid_line: bool,
) -> Result<Position, LogError> {
    let records = match index(stream, folder, number)? {
        Some(mut index) => {
            index.first_for_offset(offset).map_err(|source| unread(stream, folder, number, source))?
        }
        None => 0,
    };
    Ok(Position { file: number, offset, records, mid_line })
}

/// How far back to look.
struct Looking {
    line_ends: u64,
    bytes: u64,
}

impl Looking {
    /// Looks back from `end` for the last of the wanted line ends. The offset behind it, or where
    /// the bound was reached, and whether that counts as the middle of a line; `None` at the file's
    /// start, where the look may go on in the file before.
    fn back_from(&mut self, file: &File, mut end: u64) -> io::Result<Option<(u64, bool)>> {
        let mut block = vec![0; BLOCK_BYTES];
        while end > 0 {
            let wanted = end.min(self.bytes).min(BLOCK_BYTES as u64);
            if wanted == 0 {
                return Ok(Some((end, true)));
            }
            let start = end - wanted;
            let block = &mut block[..usize::try_from(wanted).unwrap_or(BLOCK_BYTES)];
            file.read_exact_at(block, start)?;
            for at in memchr::memrchr_iter(b'\n', block) {
                self.line_ends -= 1;
                if self.line_ends == 0 {
                    return Ok(Some((start + at as u64 + 1, false)));
                }
            }
            self.bytes -= wanted;
            end = start;
        }
        Ok(None)
    }
}
