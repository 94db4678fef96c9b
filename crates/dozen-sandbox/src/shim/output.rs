//! The app's output: from its pipes or its terminal to the log, and to whoever is attached.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::{
    io::Errno,
    pipe::{PipeFlags, SpliceFlags, pipe_with, tee},
};

use super::{
    incarnation::Run,
    keep::Shim,
    log_writer::{LogWriter, Taken},
};
use crate::{init::orders::Order, protocol::Frame, sys::poll_set::PollSet};

/// At most this much in one turn, so that requests are heard in between.
const ONE_TURN: usize = 1 << 20;
/// A turn that brought less than this ends with a pause, unless somebody is attached.
const SHORT: usize = 64 << 10;
/// At most this much of attached output in one turn.
const ONE_COPY: usize = 32 << 10;

/// Copies what is in a pipe without taking it out.
pub(super) struct Copier {
    read: OwnedFd,
    write: OwnedFd,
}

impl Copier {
    pub(super) fn new() -> std::io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { read, write })
    }

    /// A copy of what is in `pipe`; `None` when that is nothing by now, empty when it has ended. The
    /// bytes stay there; what was copied leaves it by the log, so that a killed shim has not taken
    /// anything out.
    fn copy(&self, pipe: BorrowedFd<'_>) -> Option<Vec<u8>> {
        match tee(pipe, &self.write, ONE_COPY, SpliceFlags::NONBLOCK) {
            Ok(length) => {
                let mut bytes = vec![0; length];
                let mut filled = 0;
                while filled < length {
                    match rustix::io::read(&self.read, &mut bytes[filled..]) {
                        Ok(0) | Err(_) => break,
                        Ok(more) => filled += more,
                    }
                }
                bytes.truncate(filled);
                Some(bytes)
            }
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(_) => Some(Vec::new()),
        }
    }
}

/// Which stream bytes came from.
#[derive(Clone, Copy)]
enum Source {
    Output,
    Error,
}

impl Shim {
    /// Waits for output unless nobody may take it yet, and for room where input is written.
    pub(super) fn add_streams<'fd>(&self, run: &'fd Run, set: &mut PollSet<'fd>) {
        if self.may_take_output() {
            for end in run.kept.readable() {
                set.add(end, true, false);
            }
        }
        let input = run.kept.input.as_ref().or(run.kept.terminal.as_ref());
        if let Some(input) = input.filter(|_| self.attachment.has_input()) {
            set.add(input.as_fd(), false, true);
        }
    }

    /// Moves a turn's worth of what is there, and concludes the run once nothing more can come.
    pub(super) fn take_output(&mut self) {
        self.continue_conversation();
        if self.may_take_output() {
            self.take_from(Source::Output);
            self.take_from(Source::Error);
            self.take_from_terminal();
        }
        let Some(run) = &self.run else { return };
        let nothing_left = run.kept.readable().next().is_none();
        if run.has_ended && nothing_left && self.is_read_out() {
            self.conclude_run();
        }
    }

    fn take_from(&mut self, source: Source) {
        let Some(run) = &mut self.run else { return };
        let end = match source {
            Source::Output => &mut run.kept.output,
            Source::Error => &mut run.kept.error,
        };
        let Some(pipe) = end.as_ref() else { return };
        let (taken, copy) = match self.attachment.copier() {
            Some(copier) => take_copied(&mut self.log, pipe.as_fd(), copier),
            None => (self.log.take(pipe.as_fd(), ONE_TURN).unwrap_or(Taken::End), Vec::new()),
        };
        // Whoever still holds the other end after everything inside is gone, it is not the app.
        let is_over = taken == Taken::End || (taken == Taken::Nothing && run.has_ended);
        if is_over {
            *end = None;
            if run.is_taken_over && run.kept.readable().next().is_none() {
                run.order(Order::Drained);
            }
        }
        self.is_streaming |= matches!(taken, Taken::Bytes(length) if length < SHORT) && !run.has_ended;
        if !copy.is_empty() {
            self.send_attached(&match source {
                Source::Output => Frame::Output(copy),
                Source::Error => Frame::ErrorOutput(copy),
            });
        }
    }

    fn take_from_terminal(&mut self) {
        let Some(run) = &mut self.run else { return };
        let Some(terminal) = &run.kept.terminal else { return };
        let mut buffer = [0; 8 << 10];
        match rustix::io::read(terminal, &mut buffer) {
            Ok(length) if length > 0 => {
                self.log.append(&buffer[..length]);
                self.send_attached(&Frame::Output(buffer[..length].to_vec()));
            }
            Err(Errno::AGAIN) if !run.has_ended => {}
            Err(Errno::INTR) => {}
            // EIO: the last program on it has closed it. Or the run has ended, and nothing is left.
            // What a process writes that opens it again (`/dev/tty`) is read by nobody: init is told
            // not to wait for that.
            _ => {
                run.kept.terminal = None;
                run.order(Order::Drained);
            }
        }
    }
}

/// Copies for whoever is attached, and takes exactly that from the pipe to the log.
fn take_copied(log: &mut LogWriter, pipe: BorrowedFd<'_>, copier: &Copier) -> (Taken, Vec<u8>) {
    let Some(copy) = copier.copy(pipe) else { return (Taken::Nothing, Vec::new()) };
    let mut left = copy.len();
    while left > 0 {
        match log.take(pipe, left) {
            Ok(Taken::Bytes(length)) => left -= length,
            // Only this process takes from the pipe, so what was copied is there.
            Ok(Taken::Nothing | Taken::End) | Err(_) => break,
        }
    }
    let taken = if copy.is_empty() { Taken::End } else { Taken::Bytes(copy.len()) };
    (taken, copy)
}
