//! Somebody attached to a one-off process: from the wait for them to their hangup.
//!
//! ```text
//! Awaited --attach--> Attached --connection ends--> Gone: hangup
//!     \------ 30 s without anybody ---------------> Gone: hangup
//! ```
//!
//! While somebody is awaited, output stays in the pipe. While somebody is attached and slow, it stays
//! there too: the process waits, as it would for any slow reader of its own. Its log is as complete
//! as any other; only a terminal's is taken by reading, so a killed shim can cost it the last bytes.

use std::time::{Duration, Instant};

use super::{
    client::{Client, Purpose},
    keep::Shim,
    output::Copier,
};
use crate::{
    init::orders::Order,
    protocol::{Frame, Reply},
    spec::{Attach, TerminalSize},
    state::{ExitStatus, Phase, StopState, unix_nanos},
    walls,
};

const WAIT_FOR_ATTACH: Duration = Duration::from_secs(30);
/// How long somebody attached may read nothing while a process that has ended has something for them.
const WAIT_FOR_READER: Duration = Duration::from_secs(60);
/// Input that the process has not taken yet; beyond it, the connection is not read.
const MAX_INPUT: usize = 256 << 10;
/// Output that the connection has not taken yet; beyond it, the pipes are not read.
const MAX_OUTPUT: usize = 256 << 10;
/// What a terminal takes as the end of input.
const END_OF_TRANSMISSION: u8 = 4;

/// Whether somebody is there.
enum Presence {
    /// The spec has no `attach`.
    Nobody,
    Awaited {
        until: Instant,
    },
    Attached(Copier),
    Gone,
}

/// The state of the conversation.
pub(super) struct Attachment {
    presence: Presence,
    input: Vec<u8>,
    input_has_ended: bool,
}

impl Attachment {
    pub(super) fn expected(attach: Option<Attach>) -> Self {
        let until = Instant::now() + WAIT_FOR_ATTACH;
        let presence = if attach.is_some() { Presence::Awaited { until } } else { Presence::Nobody };
        Self { presence, input: Vec::new(), input_has_ended: false }
    }

    /// For a shim that adopts: whoever was attached was so to the dead one, and that is a hangup.
    pub(super) fn lost(attach: Option<Attach>) -> Self {
        let mut lost = Self::expected(attach);
        if let Presence::Awaited { until } = &mut lost.presence {
            *until = Instant::now();
        }
        lost
    }

    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.presence, Presence::Awaited { .. })
    }

    pub(super) fn is_attached(&self) -> bool {
        matches!(self.presence, Presence::Attached(_))
    }

    /// When the wait ends.
    pub(super) fn awaited_until(&self) -> Option<Instant> {
        if let Presence::Awaited { until } = self.presence { Some(until) } else { None }
    }

    pub(super) fn copier(&self) -> Option<&Copier> {
        if let Presence::Attached(copier) = &self.presence { Some(copier) } else { None }
    }

    /// Nobody needs to come any more.
    pub(super) fn stop_waiting(&mut self) {
        if self.is_awaited() {
            self.presence = Presence::Gone;
        }
    }

    pub(super) fn takes_input(&self) -> bool {
        self.input.len() < MAX_INPUT
    }

    pub(super) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }
}

impl Shim {
    /// Whether output may be read now.
    pub(super) fn may_take_output(&self) -> bool {
        match self.attachment.presence {
            Presence::Nobody | Presence::Gone => true,
            Presence::Awaited { .. } => false,
            Presence::Attached(_) => {
                self.is_ending() || self.attached_client().is_none_or(|it| it.waiting_bytes() < MAX_OUTPUT)
            }
        }
    }

    /// Whether the end must not wait for whoever is attached: what is left of the output, less than the
    /// pipes hold, goes to the log and into the connection's buffer.
    fn is_ending(&self) -> bool {
        let Some(run) = &self.run else { return true };
        run.kill_ordered.is_some() || (run.has_ended && self.attached_takes_nothing())
    }

    /// Whether somebody attached does not read. A pager may make pauses; a stopped terminal does so for
    /// ever.
    fn attached_takes_nothing(&self) -> bool {
        self.attached_client().is_some_and(|client| client.is_stuck_since(WAIT_FOR_READER))
    }

    /// Whether the end of the process waits until somebody attached has taken its output.
    pub(super) fn is_read_out(&self) -> bool {
        !self.attachment.is_attached()
            || self.is_ending()
            || self.attached_client().is_none_or(|client| !client.wants_to_send())
    }

    /// When somebody attached has not read for too long.
    pub(super) fn reader_patience(&self) -> Option<Duration> {
        let has_ended = self.run.as_ref().is_some_and(|run| run.has_ended);
        let client = self.attached_client().filter(|client| has_ended && client.wants_to_send())?;
        Some(WAIT_FOR_READER.saturating_sub(client.stuck_for()))
    }

    fn attached_client(&self) -> Option<&Client> {
        self.clients.iter().find(|client| client.purpose == Purpose::Attached)
    }

    /// Connects a client to the process.
    pub(super) fn attach(&mut self, index: usize, size: Option<TerminalSize>) {
        let refusal = match self.attachment.presence {
            Presence::Awaited { .. } => None,
            Presence::Nobody => Some("nobody can attach to this process"),
            Presence::Attached(_) => Some("somebody is attached already"),
            Presence::Gone => Some("whoever was attached has left, and the process is ending"),
        };
        let copier = Copier::new();
        let (None, Ok(copier)) = (refusal, copier) else {
            self.clients[index].refuse(refusal.unwrap_or("there are too many open files"));
            return;
        };
        self.attachment.presence = Presence::Attached(copier);
        let state = Reply::State(Box::new(self.state.clone()));
        let client = &mut self.clients[index];
        client.purpose = Purpose::Attached;
        client.reply(&state);
        if let Some(size) = size {
            self.resize(size);
        }
        if self.run.is_none() && self.state.has_ended() {
            self.tell_exit();
        }
    }

    /// Handles what an attached client has sent, as far as the process takes it.
    pub(super) fn converse(&mut self, index: usize) {
        loop {
            let frame = if self.attachment.takes_input() { self.clients[index].next_frame() } else { None };
            match frame {
                Some(frame) => self.handle(frame),
                None => {
                    let was_full = !self.attachment.takes_input();
                    self.give_input();
                    // What waits behind it is handled now if the process takes enough of it: once it has
                    // taken all, no event will come for that.
                    if !was_full || !self.attachment.takes_input() {
                        return;
                    }
                }
            }
        }
    }

    fn handle(&mut self, frame: Frame) {
        match frame {
            Frame::Input(data) if !self.attachment.input_has_ended => self.attachment.input.extend(data),
            Frame::EndOfInput => self.attachment.input_has_ended = true,
            Frame::Resize(size) => self.resize(size),
            Frame::Signal(number) if (1..=31).contains(&number) => {
                if let Some(run) = &self.run {
                    run.order(Order::Signal { number, all: false });
                }
            }
            // Only we send the others.
            _ => {}
        }
    }

    /// Handles frames that were received while the process did not take input, and gives it what it takes now.
    pub(super) fn continue_conversation(&mut self) {
        match self.clients.iter().position(|client| client.purpose == Purpose::Attached) {
            Some(index) => self.converse(index),
            None => self.give_input(),
        }
    }

    fn resize(&mut self, size: TerminalSize) {
        // Kept for a terminal that the walls are still being built around.
        if let Some(Attach { terminal: Some(kept) }) = &mut self.state.upkeep.attach {
            *kept = size;
        }
        if let Some(terminal) = self.run.as_ref().and_then(|run| run.kept.terminal.as_ref()) {
            // A terminal whose programs are gone has no use for a size.
            let _ = walls::set_size(terminal, size);
        }
    }

    /// Writes input to the process as far as it takes it.
    pub(super) fn give_input(&mut self) {
        let Some(run) = &mut self.run else { return };
        let is_terminal = run.kept.terminal.is_some();
        let attachment = &mut self.attachment;
        if attachment.input_has_ended && is_terminal {
            attachment.input_has_ended = false;
            attachment.input.push(END_OF_TRANSMISSION);
        }
        let Some(end) = run.kept.terminal.as_ref().or(run.kept.input.as_ref()) else {
            if run.is_taken_over {
                attachment.input.clear();
            }
            return;
        };
        while !attachment.input.is_empty() {
            match rustix::io::write(end, &attachment.input) {
                Ok(length) => drop(attachment.input.drain(..length)),
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR) => {}
                // The process has closed its input.
                Err(_) => attachment.input.clear(),
            }
        }
        if attachment.input_has_ended && !is_terminal {
            run.kept.input = None;
            run.order(Order::CloseInput);
        }
    }

    pub(super) fn send_attached(&mut self, frame: &Frame) {
        let attached = self.clients.iter_mut().find(|client| client.purpose == Purpose::Attached);
        if let Some(client) = attached {
            client.send_frame(frame);
        }
    }

    /// The last frame of a conversation.
    pub(super) fn tell_exit(&mut self) {
        if self.attachment.is_attached() {
            let status = self.state.last_exit.map_or(ExitStatus::Unknown, |exit| exit.status);
            self.send_attached(&Frame::Exit(status, self.state.launch_error.clone()));
            self.attachment.presence = Presence::Gone;
        }
    }

    /// Whoever was attached is gone, or never came: end of input, SIGHUP, and the grace period runs.
    pub(super) fn hang_up(&mut self) {
        let was_expected = self.attachment.is_attached() || self.attachment.is_awaited();
        self.attachment.presence = Presence::Gone;
        self.attachment.input.clear();
        let Some(run) = self.run.as_mut().filter(|_| was_expected) else { return };
        let all = self.state.upkeep.attach.is_some_and(|attach| attach.terminal.is_some());
        run.kept.input = None;
        run.order(Order::CloseInput);
        // Ordered as a stop: no other signal to stop follows it.
        run.order(Order::Stop { number: libc::SIGHUP, all });
        if self.state.stop.is_none() {
            let grace = u64::try_from(self.state.upkeep.stop.grace.as_nanos()).unwrap_or(u64::MAX);
            self.state.stop = Some(StopState { kill_at: unix_nanos().saturating_add(grace) });
            self.state.phase = Phase::Stopping;
        }
    }
}
