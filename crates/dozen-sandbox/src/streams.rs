//! The app's standard input, output and error output: one end for the app, one that is kept.
//!
//! | | input | output | error output |
//! |---|---|---|---|
//! | detached | `/dev/null` | one pipe for both, so lines keep their order | |
//! | attached, no terminal | pipe | pipe | pipe |
//! | attached, with a terminal | the terminal | | |
//!
//! The kept ends live in init, so that they outlive a shim; a shim asks for copies of them. They do
//! not block; the app's ends do, as programs expect.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags, fchmod, fcntl_getfl, fcntl_setfl},
    pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with},
};

use crate::{spec::Attach, walls::Terminal};

const PIPE_BYTES: usize = 1 << 20;
const MAY_WRITE: Mode = Mode::WGRP.union(Mode::WOTH);
const MAY_READ: Mode = Mode::RGRP.union(Mode::ROTH);

/// The ends that init and the shim have.
#[derive(Default)]
pub(crate) struct KeptEnds {
    /// Where output (and error output, if that has no pipe of its own) is read.
    pub(crate) output: Option<OwnedFd>,
    /// Where error output is read.
    pub(crate) error: Option<OwnedFd>,
    /// Where input is written.
    pub(crate) input: Option<OwnedFd>,
    /// Keyboard and screen.
    pub(crate) terminal: Option<OwnedFd>,
}

/// The ends that the app has; `None` is `/dev/null` for input, the terminal otherwise.
#[derive(Default)]
pub(crate) struct AppEnds {
    pub(crate) input: Option<OwnedFd>,
    pub(crate) output: Option<OwnedFd>,
    pub(crate) error: Option<OwnedFd>,
}

impl KeptEnds {
    /// Where bytes may wait to be read.
    pub(crate) fn readable(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.output, &self.error, &self.terminal].into_iter().flatten().map(AsFd::as_fd)
    }

    /// Whether nothing waits to be read.
    pub(crate) fn are_empty(&self) -> bool {
        // A descriptor that cannot say is of no use to a reader either.
        self.readable().all(|end| rustix::io::ioctl_fionread(end).unwrap_or(0) == 0)
    }
}

/// Makes both ends; the terminal comes later, from inside the walls. The number is the output pipe's size.
pub(crate) fn open(attach: Option<Attach>) -> io::Result<(AppEnds, KeptEnds, u64)> {
    let (mut app, mut kept) = (AppEnds::default(), KeptEnds::default());
    if attach.is_some_and(|attach| attach.terminal.is_some()) {
        return Ok((app, kept, 0));
    }
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let pipe_bytes = enlarge(&read)?;
    unblock(&read)?;
    let_reopen(&write, MAY_WRITE)?;
    if attach.is_some() {
        let (error_read, error_write) = pipe_with(PipeFlags::CLOEXEC)?;
        unblock(&error_read)?;
        let_reopen(&error_write, MAY_WRITE)?;
        let (input_read, input_write) = pipe_with(PipeFlags::CLOEXEC)?;
        unblock(&input_write)?;
        let_reopen(&input_read, MAY_READ)?;
        (kept.error, kept.input) = (Some(error_read), Some(input_write));
        (app.error, app.input) = (Some(error_write), Some(input_read));
    } else {
        app.error = Some(write.try_clone()?);
    }
    (kept.output, app.output) = (Some(read), Some(write));
    Ok((app, kept, pipe_bytes as u64))
}

/// Both ends of a terminal, three copies of the line for the app.
pub(crate) fn from_terminal(terminal: Terminal) -> io::Result<(AppEnds, OwnedFd)> {
    let line = terminal.line;
    unblock(&terminal.keyboard_and_screen)?;
    let (input, output) = (line.try_clone()?, line.try_clone()?);
    let app = AppEnds { input: Some(input), output: Some(output), error: Some(line) };
    Ok((app, terminal.keyboard_and_screen))
}

/// Lets the app open its stream once more by `/dev/stdout` and the like, which the pipe's owner, the
/// server's user, alone could do. Only its own end: it must not read its log away.
fn let_reopen(end: &OwnedFd, mode: Mode) -> io::Result<()> {
    Ok(fchmod(end, Mode::RUSR | Mode::WUSR | mode)?)
}

fn enlarge(pipe: &OwnedFd) -> io::Result<usize> {
    match fcntl_setpipe_size(pipe, PIPE_BYTES) {
        Ok(size) => Ok(size),
        // An ordinary user's pipes together have a limit; the default size always goes.
        Err(_) => Ok(fcntl_getpipe_size(pipe)?),
    }
}

fn unblock(fd: &OwnedFd) -> io::Result<()> {
    Ok(fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?)
}
