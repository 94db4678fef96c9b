//! One-off processes (factor 12): somebody is attached to their input and output.
//!
//! A one-off process is an instance like any other, with [`Restart::Never`] and
//! [`LaunchSpec::attach`] in its spec. Its shim speaks frames on a connection; that connection is
//! handed over as it is, so that its bytes can be carried to wherever the user's terminal is
//! without being understood on the way.
//!
//! # The frames
//!
//! A frame is a byte that says its kind, its payload's length as a little-endian `u32` (at most
//! [`MAX_FRAME_BYTES`]), and the payload; [`Frame`] encodes and decodes them.
//!
//! | kind | direction | payload |
//! |---|---|---|
//! | 0 | to the process | standard input |
//! | 1 | to the process | none: end of input |
//! | 2 | to the process | new size of the terminal: rows, columns, each a `u16` |
//! | 3 | to the process | a signal's number, an `i32` |
//! | 16 | from the process | standard output, or what the terminal shows |
//! | 17 | from the process | error output; never with a terminal |
//! | 18 | from the process, last | JSON: its exit status, and why it could not start |
//!
//! A process waits up to 30 s for the first attachment before its output is read, so nothing is
//! lost in between. When the attached side hangs up first, the process gets end of input and
//! SIGHUP, and is ended after its grace period.
//!
//! Start reading at [`Supervisor::attach`](crate::Supervisor::attach).
//!
//! [`Restart::Never`]: dozen_sandbox::spec::Restart::Never
//! [`LaunchSpec::attach`]: dozen_sandbox::spec::LaunchSpec::attach

pub use dozen_sandbox::{
    protocol::{FRAME_HEADER_BYTES, Frame, MAX_FRAME_BYTES, NotAFrame},
    spec::{Attach, TerminalSize},
};

use crate::ExitReason;

/// How a process ended, as the last frame says.
pub fn exit_of(frame: &Frame) -> Option<ExitReason> {
    match frame {
        Frame::Exit(status, reason) => Some(ExitReason::of(*status, reason.as_deref())),
        _ => None,
    }
}
