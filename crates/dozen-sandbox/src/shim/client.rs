//! One connection to the shim: requests, a subscription, or somebody attached.

use std::{
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use crate::{
    protocol::{Frame, MAX_FRAME_BYTES, MAX_LINE_BYTES, NotAFrame, Reply},
    sys::peer::uid_of_peer,
};

/// What may wait to be sent. More than this means that the other side does not read.
const MAX_WAITING: usize = 4 << 20;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Requests,
    Subscription,
    Attached,
}

/// One connection.
pub(crate) struct Client {
    stream: UnixStream,
    pub(crate) purpose: Purpose,
    received: Vec<u8>,
    waiting: Vec<u8>,
    /// Nothing more will be received.
    has_ended: bool,
    is_broken: bool,
    /// When it last took something of what waits, or when that began to wait.
    moved_at: Instant,
}

impl Client {
    /// Accepts a connection of the shim's own user or of root, as the kernel tells; others get nothing.
    pub(crate) fn accept(stream: UnixStream) -> io::Result<Option<Self>> {
        let peer = uid_of_peer(&stream)?;
        let is_allowed = peer == 0 || peer == rustix::process::geteuid().as_raw();
        stream.set_nonblocking(true)?;
        let (received, waiting) = (Vec::new(), Vec::new());
        let purpose = Purpose::Requests;
        Ok(is_allowed.then_some(Self {
            stream,
            purpose,
            received,
            waiting,
            has_ended: false,
            is_broken: false,
            moved_at: Instant::now(),
        }))
    }

    pub(crate) fn wants_to_send(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many bytes wait to be sent: output stays in the pipe while somebody attached is slow.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended || self.is_broken
    }

    /// The other side is gone.
    pub(crate) fn end(&mut self) {
        self.has_ended = true;
    }

    /// Whether the connection is of no more use.
    pub(crate) fn is_over(&self) -> bool {
        self.is_broken || (self.has_ended && self.waiting.is_empty())
    }

    /// Reads what is there.
    pub(crate) fn receive(&mut self) {
        let mut buffer = [0; 8 << 10];
        while self.received.len() <= MAX_LINE_BYTES + MAX_FRAME_BYTES {
            match (&self.stream).read(&mut buffer) {
                Ok(0) => {
                    self.has_ended = true;
                    return;
                }
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(other) if other.kind() == io::ErrorKind::Interrupted => {}
                Err(nothing) if nothing.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.is_broken = true;
                    return;
                }
            }
        }
    }

    /// The next complete line.
    pub(crate) fn next_line(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.received.iter().position(|&byte| byte == b'\n') else {
            if self.received.len() > MAX_LINE_BYTES {
                self.refuse("the request is too long");
                self.received.clear();
                self.has_ended = true;
            }
            return None;
        };
        let mut line: Vec<u8> = self.received.drain(..=end).collect();
        line.pop();
        Some(line)
    }

    /// The next complete frame of somebody attached.
    pub(crate) fn next_frame(&mut self) -> Option<Frame> {
        match Frame::decode(&self.received) {
            Ok(Some((frame, length))) => {
                self.received.drain(..length);
                Some(frame)
            }
            Ok(None) => None,
            Err(NotAFrame) => {
                self.is_broken = true;
                None
            }
        }
    }

    pub(crate) fn reply(&mut self, reply: &Reply) {
        // The types that are sent have no map with other keys than strings: they always are JSON.
        let Ok(mut line) = serde_json::to_vec(reply) else { return };
        line.push(b'\n');
        self.queue(&line);
    }

    pub(crate) fn refuse(&mut self, reason: &str) {
        self.reply(&Reply::Refused(reason.to_owned()));
    }

    pub(crate) fn send_frame(&mut self, frame: &Frame) {
        let mut bytes = Vec::new();
        frame.encode_into(&mut bytes);
        self.queue(&bytes);
    }

    /// How long it has taken nothing of what waits for it.
    pub(crate) fn stuck_for(&self) -> Duration {
        if self.waiting.is_empty() { Duration::ZERO } else { self.moved_at.elapsed() }
    }

    /// Whether it has taken nothing for so long.
    pub(crate) fn is_stuck_since(&self, limit: Duration) -> bool {
        self.stuck_for() >= limit
    }

    fn queue(&mut self, bytes: &[u8]) {
        if self.waiting.is_empty() {
            self.moved_at = Instant::now();
        }
        self.waiting.extend_from_slice(bytes);
        self.send();
        if self.waiting.len() > MAX_WAITING {
            self.is_broken = true;
        }
    }

    /// Sends what the other side takes now.
    pub(crate) fn send(&mut self) {
        while !self.waiting.is_empty() && !self.is_broken {
            match (&self.stream).write(&self.waiting) {
                Ok(length) => {
                    self.waiting.drain(..length);
                    self.moved_at = Instant::now();
                }
                Err(other) if other.kind() == io::ErrorKind::Interrupted => {}
                Err(full) if full.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.is_broken = true,
            }
        }
        if self.waiting.is_empty() {
            // An idle shim stays small.
            self.waiting = Vec::new();
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
