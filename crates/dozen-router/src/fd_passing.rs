//! One line of JSON over a unix socket, with file descriptors beside it.

use std::{
    io::{self, IoSlice, IoSliceMut, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// The most descriptors that one message carries; the kernel's limit is 253.
pub(crate) const MAX_FDS: usize = 250;
/// The longest line; a table of ten thousand routes has about 5 MB.
pub(crate) const MAX_LINE: usize = 32 << 20;

/// Sends `line` and a line end; the descriptors travel with its first byte.
pub(crate) fn send_line(stream: &UnixStream, mut line: Vec<u8>, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    line.push(b'\n');
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    let sent = loop {
        match sendmsg(stream.as_fd(), &[IoSlice::new(&line)], &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            sent => break sent?,
        }
    };
    let mut stream = stream;
    stream.write_all(&line[sent..])
}

/// Reads lines from a stream socket, and the descriptors sent with them.
#[derive(Debug)]
pub(crate) struct LineReader<'a> {
    stream: &'a UnixStream,
    buffered: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl<'a> LineReader<'a> {
    pub(crate) fn new(stream: &'a UnixStream) -> Self {
        Self { stream, buffered: Vec::new(), fds: Vec::new() }
    }

    /// The next line without its end, and the descriptors that came until then; `None` at the end
    /// of the stream.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffered[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffered.split_off(searched + end + 1);
                let mut line = std::mem::replace(&mut self.buffered, rest);
                line.pop();
                return Ok(Some((line, std::mem::take(&mut self.fds))));
            }
            searched = self.buffered.len();
            if searched > MAX_LINE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"));
            }
            if self.receive()? == 0 {
                return Ok(None);
            }
        }
    }

    fn receive(&mut self) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut chunk = [0_u8; 16 << 10];
        let received = loop {
            let mut part = [IoSliceMut::new(&mut chunk)];
            match recvmsg(self.stream.as_fd(), &mut part, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                received => break received?.bytes,
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        // Whoever sends descriptors that nobody asked for must not fill our table.
        if self.fds.len() > 4 * MAX_FDS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "too many descriptors"));
        }
        self.buffered.extend_from_slice(&chunk[..received]);
        Ok(received)
    }
}
