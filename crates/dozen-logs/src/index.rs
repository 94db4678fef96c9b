//! The index of one segment: when its bytes came, and what is missing among them.
//!
//! A stream without an index (platform lines) has an empty one. Start reading at [`Index::peek`].

use std::{fs::File, io};

use dozen_model::segment::{INDEX_RECORD_BYTES, IndexRecord};

use crate::window::Window;

const RECORD_BYTES: u64 = INDEX_RECORD_BYTES as u64;

/// The records of a segment, read forward.
#[derive(Debug)]
pub(crate) struct Index {
    window: Option<Window>,
    next: u64,
    known_time: Option<u64>,
}

impl Index {
    /// The index in `file` (none at all where there is no file), from record `next` on.
    pub(crate) fn new(file: Option<File>, next: u64) -> Self {
        Self { window: file.map(Window::new), next, known_time: None }
    }

    /// The number of the next record.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The time of the last record passed, also of one passed by an earlier reader.
    pub(crate) fn known_time(&mut self) -> io::Result<Option<u64>> {
        if self.known_time.is_none()
            && let Some(before) = self.next.checked_sub(1)
        {
            self.known_time = self.record(before)?.map(time_of);
        }
        Ok(self.known_time)
    }

    /// The next record, if it is there by now.
    pub(crate) fn peek(&mut self) -> io::Result<Option<IndexRecord>> {
        self.record(self.next)
    }

    /// Goes past `record`, which is the next one.
    pub(crate) fn pass(&mut self, record: IndexRecord) {
        self.known_time = Some(time_of(record));
        self.next += 1;
    }

    /// The number of the first record that has something to say about `offset` or later bytes.
    pub(crate) fn first_for_offset(&mut self, offset: u64) -> io::Result<u64> {
        self.partition(|index, number, record| match record {
            IndexRecord::Chunk { end, .. } => Ok(end <= offset),
            _ => Ok(index.place(number)? < offset),
        })
    }

    /// The offset of the first byte that came at `since` (unix nanoseconds) or later.
    pub(crate) fn offset_for_time(&mut self, since: u64) -> io::Result<u64> {
        let first = self.partition(|_, _, record| Ok(time_of(record) < since))?;
        self.place(first)
    }

    /// The number of the first record that is not `behind`, where those that are come first.
    fn partition(
        &mut self,
        mut behind: impl FnMut(&mut Self, u64, IndexRecord) -> io::Result<bool>,
    ) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.length()?);
        while low < high {
            let middle = low + (high - low) / 2;
            let is_behind = match self.record(middle)? {
                Some(record) => behind(self, middle, record)?,
                None => false,
            };
            if is_behind { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    /// The offset at which record `number` begins: the end of the last chunk before it.
    fn place(&mut self, number: u64) -> io::Result<u64> {
        for before in (0..number).rev() {
            if let Some(IndexRecord::Chunk { end, .. }) = self.record(before)? {
                return Ok(end);
            }
        }
        Ok(0)
    }

    fn length(&self) -> io::Result<u64> {
        self.window.as_ref().map_or(Ok(0), |window| Ok(window.extent()?.bytes / RECORD_BYTES))
    }

    fn record(&mut self, number: u64) -> io::Result<Option<IndexRecord>> {
        let Some(window) = &mut self.window else { return Ok(None) };
        let bytes = window.bytes(number.saturating_mul(RECORD_BYTES), INDEX_RECORD_BYTES)?;
        Ok(bytes.first_chunk().map(|record| IndexRecord::decode(*record)))
    }
}

fn time_of(record: IndexRecord) -> u64 {
    match record {
        IndexRecord::Chunk { at, .. }
        | IndexRecord::Break { at, .. }
        | IndexRecord::LinesDropped { at, .. }
        | IndexRecord::BytesDropped { at, .. } => at,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn index(records: &[IndexRecord]) -> Index {
        let mut file = tempfile::tempfile().unwrap();
        for record in records {
            file.write_all(&record.encode()).unwrap();
        }
        Index::new(Some(file), 0)
    }

    fn chunk(end: u64, at: u64) -> IndexRecord {
        IndexRecord::Chunk { end, at }
    }

    #[test]
    fn a_place_is_found_by_offset_and_by_time() {
        let dropped = IndexRecord::BytesDropped { bytes: 7, at: 25 };
        let mut index = index(&[chunk(10, 10), chunk(20, 20), dropped, chunk(30, 30)]);

        let by_offset: Vec<u64> = [0, 9, 10, 19, 20, 21, 30]
            .iter()
            .map(|offset| index.first_for_offset(*offset).unwrap())
            .collect();
        assert_eq!(by_offset, [0, 0, 1, 1, 2, 3, 4]);
        let by_time: Vec<u64> =
            [0, 10, 11, 25, 26, 31].iter().map(|since| index.offset_for_time(*since).unwrap()).collect();
        assert_eq!(by_time, [0, 0, 10, 20, 20, 30]);
    }

    #[test]
    fn a_torn_record_is_no_record() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&chunk(1, 2).encode()).unwrap();
        file.write_all(&[1; 15]).unwrap();
        let mut index = Index::new(Some(file), 1);

        assert_eq!(index.peek().unwrap(), None);
        assert_eq!(index.known_time().unwrap(), Some(2));
    }
}
