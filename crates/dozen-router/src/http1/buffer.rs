//! Bytes read from a stream and not used yet.
//!
//! The room is borrowed from the thread and given back as soon as it is empty, so that a connection
//! which waits holds none: a thousand silent WebSockets cost their sockets only.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes of a room; one that has to be larger is not kept.
pub(crate) const ROOM: usize = 64 << 10;
/// Rooms that a thread keeps for the next use.
const SPARE_ROOMS: usize = 32;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A queue of bytes.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// All of it is initialised; empty while there is nothing to keep.
    room: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// What has been read and not consumed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.room[self.start..self.end]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Drops the first `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "more was consumed than there is");
        if self.is_empty() {
            self.release();
        }
    }

    /// Reads once. The number of bytes is 0 at the end of the stream.
    ///
    /// A buffer that is full of what nobody consumes grows: who calls bounds what it waits for.
    pub(crate) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        self.make_room();
        let mut free = ReadBuf::new(&mut self.room[self.end..]);
        let read = Pin::new(stream).poll_read(cx, &mut free);
        let count = free.filled().len();
        if read.is_pending() && self.is_empty() {
            self.release();
        }
        ready!(read)?;
        self.end += count;
        if self.is_empty() {
            self.release();
        }
        Poll::Ready(Ok(count))
    }

    fn make_room(&mut self) {
        if self.room.is_empty() {
            let spare = SPARE.with_borrow_mut(Vec::pop);
            self.room = spare.unwrap_or_else(|| vec![0; ROOM]);
        }
        if self.end == self.room.len() {
            if self.start > 0 {
                self.room.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                self.room.resize(self.room.len() * 2, 0);
            }
        }
    }

    fn release(&mut self) {
        (self.start, self.end) = (0, 0);
        let room = std::mem::take(&mut self.room);
        if room.len() == ROOM {
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARE_ROOMS {
                    spare.push(room);
                }
            });
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.room.is_empty() {
            self.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn read(buffer: &mut Buffer, mut from: &[u8]) -> usize {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(poll_fn(|cx| buffer.poll_fill(cx, &mut from))).unwrap()
    }

    #[test]
    fn what_is_not_consumed_stays_in_order_and_an_empty_buffer_holds_no_room() {
        let mut buffer = Buffer::default();
        assert_eq!(read(&mut buffer, b"abc"), 3);
        buffer.consume(1);
        assert_eq!(read(&mut buffer, b"de"), 2);
        assert_eq!(buffer.bytes(), b"bcde");
        buffer.consume(4);
        assert!(buffer.is_empty() && buffer.room.is_empty());
        assert_eq!(read(&mut buffer, b""), 0);
        assert!(buffer.room.is_empty());
    }

    #[test]
    fn a_full_buffer_makes_room() {
        let mut buffer = Buffer::default();
        assert_eq!(read(&mut buffer, &vec![1; 2 * ROOM]), ROOM);
        buffer.consume(10);
        assert_eq!(read(&mut buffer, &vec![2; 2 * ROOM]), 10);
        assert_eq!(buffer.bytes().len(), ROOM);
        assert_eq!(read(&mut buffer, &[3; 5]), 5);
        assert_eq!(buffer.bytes()[ROOM - 10..], [[2_u8; 10].as_slice(), &[3; 5]].concat());
    }
}
