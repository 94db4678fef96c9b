//! A one-off process joined to this terminal: input, output, size and signals as frames.
//!
//! The connection has been turned into one of [`Frame`]s; the shim speaks them at the other end.
//! With a terminal at both ends it is in raw mode while this runs and is given back as it was on
//! every way out, also when we are told to end. Without one, stdin and stdout are plain streams and
//! the signals we get are passed on.
//!
//! ```text
//! stdin thread --4 pieces--> sending task -> connection      signals overtake the pieces
//! connection -> frames --4 pieces--> thread -> stdout, stderr
//! ```
//!
//! No direction waits for another, and neither do signals: a process that answers while it reads
//! would otherwise stop both sides for ever. A signal that cannot be sent, or comes
//! again and again, ends us: [`Ending::Left`].
//!
//! Start reading at [`attach`].

use std::{
    io::{self, IsTerminal},
    os::fd::AsFd,
    time::Duration,
};

use dozen_sandbox::{
    protocol::Frame,
    spec::TerminalSize,
    state::{ExitStatus as ProcessEnd, shell_status},
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use crate::{
    cli_error::{CliError, ExitStatus},
    output::Output,
};

/// How much is read at once.
const PIECE: usize = 32 << 10;
/// Pieces that may wait in one direction.
const WAITING: usize = 4;
/// How long a signal may wait behind input that nobody takes.
const UNSENT: Duration = Duration::from_secs(2);
/// So many requests to end within so long mean us, whatever the process makes of them.
const INSISTING: (usize, Duration) = (3, Duration::from_secs(10));

/// The terminal's size, when stdin and stdout both are one.
pub(crate) fn terminal_size() -> Option<TerminalSize> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return None;
    }
    let size = tcgetwinsize(io::stdout()).ok()?;
    Some(TerminalSize { rows: size.ws_row, columns: size.ws_col })
}

/// How the conversation ended.
#[derive(Debug)]
enum Ending {
    /// With the process, and why a launch came to nothing.
    Process(ProcessEnd, Option<String>),
    /// By this signal, which the process did not take.
    Left(i32),
}

/// Joins this process's streams to the connection until the process there ends.
pub(crate) async fn attach(
    connection: Upgraded,
    terminal: bool,
    out: Output,
) -> Result<ExitStatus, CliError> {
    let raw = if terminal { Some(RawMode::enter().map_err(terminal_error)?) } else { None };
    let (reader, writer) = tokio::io::split(TokioIo::new(connection));
    let ended = converse(reader, writer, terminal, out).await;
    // Given back before anything is said: in raw mode a line does not begin at the left.
    drop(raw);
    match ended? {
        Ending::Process(end, reason) => passed_on(end, reason),
        Ending::Left(number) => {
            out.warning("the process did not take the signal and was left");
            out.hint("see `dozen ps`, and stop it with `dozen ps stop`");
            Ok(ExitStatus::Passed((128 + number) as u8))
        }
    }
}

async fn converse(
    reader: ReadHalf<TokioIo<Upgraded>>,
    writer: WriteHalf<TokioIo<Upgraded>>,
    terminal: bool,
    out: Output,
) -> Result<Ending, CliError> {
    let signals = Signals::catch().map_err(terminal_error)?;
    let (urgent, orders) = mpsc::channel(1);
    tokio::spawn(send_all(writer, orders, read_stdin()));
    let mut frames = Frames { reader, buffer: Vec::new() };
    let (to_show, shown) = show(out);
    tokio::select! {
        ended = receive_all(&mut frames, to_show, shown) => ended,
        number = pass_on(signals, urgent, terminal) => Ok(Ending::Left(number)),
    }
}

/// Takes frames until the process's end; what it had to say has been shown by then.
async fn receive_all(
    frames: &mut Frames,
    to_show: mpsc::Sender<Frame>,
    shown: oneshot::Receiver<Result<(), CliError>>,
) -> Result<Ending, CliError> {
    let ended = loop {
        match frames.next().await {
            Ok(Frame::Exit(end, reason)) => break Ok(Ending::Process(end, reason)),
            Ok(output @ (Frame::Output(_) | Frame::ErrorOutput(_))) => {
                if to_show.send(output).await.is_err() {
                    // Whoever shows it says why it does not.
                    break Err(CliError::OutputClosed);
                }
            }
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    drop(to_show);
    shown.await.unwrap_or(Ok(()))?;
    ended
}

/// Shows output in a thread of its own: a reader of ours that does not read must not keep signals
/// from us. The result comes once nothing is left to show, or cannot be shown.
fn show(out: Output) -> (mpsc::Sender<Frame>, oneshot::Receiver<Result<(), CliError>>) {
    let (sender, mut frames) = mpsc::channel(WAITING);
    let (done, shown) = oneshot::channel();
    std::thread::spawn(move || {
        let mut outcome = Ok(());
        while let Some(frame) = frames.blocking_recv() {
            match frame {
                Frame::Output(bytes) => outcome = out.bytes(&bytes),
                Frame::ErrorOutput(bytes) => out.aside(&bytes),
                _ => {}
            }
            if outcome.is_err() {
                break;
            }
        }
        drop(frames);
        // Nobody waits for it when we have left.
        drop(done.send(outcome));
    });
    (sender, shown)
}

/// Something that overtakes input, and who wants to know when it was sent.
type Urgent = (Frame, oneshot::Sender<()>);

/// Sends until the connection breaks; the reading side is told of that, together with why.
async fn send_all(
    mut writer: WriteHalf<TokioIo<Upgraded>>,
    mut urgent: mpsc::Receiver<Urgent>,
    input: mpsc::Receiver<Vec<u8>>,
) {
    let mut input = Some(input);
    loop {
        let (frame, told) = tokio::select! {
            biased;
            Some((frame, told)) = urgent.recv() => (frame, Some(told)),
            bytes = next_input(&mut input) => (bytes.map_or(Frame::EndOfInput, Frame::Input), None),
        };
        let mut bytes = Vec::new();
        frame.encode_into(&mut bytes);
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
        if let Some(told) = told {
            let _ = told.send(());
        }
    }
}

/// Passes signals on until one of them has to end us: its number.
async fn pass_on(mut signals: Signals, urgent: mpsc::Sender<Urgent>, terminal: bool) -> i32 {
    let mut asked_to_end: Vec<Instant> = Vec::new();
    loop {
        let number = signals.next().await;
        let frame = match (number, terminal_size()) {
            (WINDOW_CHANGED, Some(size)) if terminal => Frame::Resize(size),
            (WINDOW_CHANGED, _) => continue,
            _ => Frame::Signal(number),
        };
        if number != WINDOW_CHANGED {
            asked_to_end.retain(|when| when.elapsed() < INSISTING.1);
            asked_to_end.push(Instant::now());
        }
        let (told, sent) = oneshot::channel();
        let passed = async { urgent.send((frame, told)).await.is_ok() && sent.await.is_ok() };
        let is_stuck = timeout(UNSENT, passed).await.is_err();
        if number != WINDOW_CHANGED && (is_stuck || asked_to_end.len() >= INSISTING.0) {
            return number;
        }
    }
}

/// How the process's end becomes ours.
fn passed_on(end: ProcessEnd, reason: Option<String>) -> Result<ExitStatus, CliError> {
    let unavailable = |message: String| CliError::Unavailable { message, hint: None };
    match end {
        ProcessEnd::Code(code) => Ok(ExitStatus::Passed(code as u8)),
        ProcessEnd::Signal(number) => Ok(ExitStatus::Passed((128 + number) as u8)),
        ProcessEnd::LaunchFailed => match reason {
            Some(reason) => Err(CliError::NotStarted { status: shell_status(&reason), reason }),
            None => Err(unavailable("the command did not start, and no reason is known".to_owned())),
        },
        ProcessEnd::Unknown => Err(unavailable("the process was killed from outside".to_owned())),
    }
}

fn terminal_error(source: io::Error) -> CliError {
    CliError::System { what: "the terminal cannot be used", source }
}

/// Frames from the other end.
struct Frames {
    reader: ReadHalf<TokioIo<Upgraded>>,
    buffer: Vec<u8>,
}

impl Frames {
    /// The next frame. Cancelling it loses nothing: bytes stay in the buffer.
    async fn next(&mut self) -> Result<Frame, CliError> {
        let broken = |source| CliError::System { what: "the connection to the process broke", source };
        loop {
            match Frame::decode(&self.buffer) {
                Ok(Some((frame, length))) => {
                    self.buffer.drain(..length);
                    return Ok(frame);
                }
                Ok(None) => {}
                Err(error) => return Err(broken(io::Error::new(io::ErrorKind::InvalidData, error))),
            }
            self.buffer.reserve(PIECE);
            if self.reader.read_buf(&mut self.buffer).await.map_err(broken)? == 0 {
                return Err(CliError::Unavailable {
                    message: "the connection ended before the process did".to_owned(),
                    hint: Some("see `dozen ps`".to_owned()),
                });
            }
        }
    }
}

/// Reads stdin in a thread of its own: a read of a terminal cannot be cancelled, and the thread may
/// stay in it when the process ends.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = rustix::io::retry_on_intr(|| rustix::io::read(io::stdin(), &mut piece)) {
            if sender.blocking_send(piece[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The next input; `None` once, at its end, and then never again.
async fn next_input(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(receiver) => {
            let bytes = receiver.recv().await;
            if bytes.is_none() {
                *input = None;
            }
            bytes
        }
        None => std::future::pending().await,
    }
}

/// `SIGWINCH`'s number, the same on every architecture that Linux runs these days but MIPS.
const WINDOW_CHANGED: i32 = 28;

/// Signals that are passed on instead of ending us.
struct Signals {
    window: Signal,
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    quit: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        Ok(Self {
            window: signal(SignalKind::window_change())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// The number of the next one.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.window.recv() => WINDOW_CHANGED,
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.hang_up.recv() => SignalKind::hangup().as_raw_value(),
            _ = self.quit.recv() => SignalKind::quit().as_raw_value(),
        }
    }
}

/// The terminal in raw mode, until this is dropped.
struct RawMode {
    before: Termios,
}

impl RawMode {
    fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin.as_fd(), OptionalActions::Flush, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that has gone away needs no restoring.
        let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_end_becomes_our_own() {
        let passed = |end| passed_on(end, None).map(ExitStatus::code);
        assert_eq!(passed(ProcessEnd::Code(42)).unwrap(), 42);
        assert_eq!(passed(ProcessEnd::Signal(9)).unwrap(), 137);
        assert!(passed(ProcessEnd::Unknown).is_err());
    }

    #[test]
    fn a_command_that_never_ran_ends_as_a_shell_would_end_it() {
        for (reason, code) in [
            ("could not find the program `x` in `PATH`", 127),
            ("could not execute `/x`: Permission denied (os error 13)", 126),
            ("could not mount `/app`", 1),
        ] {
            let error = passed_on(ProcessEnd::LaunchFailed, Some(reason.to_owned())).unwrap_err();
            assert_eq!((error.to_string(), error.code()), (reason.to_owned(), code));
        }
    }
}
