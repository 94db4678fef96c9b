//! One thread that listens to all shims.
//!
//! Each instance has one connection on which its shim writes its state at every change. The
//! thread sleeps in `poll` on all of them and on a wake-up descriptor, so an idle server costs
//! nothing, and a change is known the moment it is written. A connection that closes without a
//! last word means that the shim is dead: that is news too, and the app goes on meanwhile.
//!
//! Start reading at [`Watcher::start`].

use std::{
    io::{self, ErrorKind, Read},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use dozen_sandbox::{
    client::ShimHandle,
    protocol::{MAX_LINE_BYTES, Reply},
    state,
};
use parking_lot::Mutex;
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd, poll},
    io::Errno,
};

use super::board::Board;
use crate::{InstanceState, LaunchId};

/// The handle of the watching thread; the thread ends with it.
#[derive(Debug)]
pub(super) struct Watcher {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is asked to do.
enum Order {
    Watch(Watched, Box<state::InstanceState>),
    Reap(ShimHandle),
    Forget(LaunchId),
    End,
}

struct Mailbox {
    orders: Mutex<Vec<Order>>,
    wake: OwnedFd,
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

/// A shim that reports.
struct Watched {
    id: LaunchId,
    stream: UnixStream,
    /// The start of a line whose end has not come yet.
    partial: Vec<u8>,
}

impl Watcher {
    /// Starts the thread; what it hears is posted on `board`.
    pub(super) fn start(board: Arc<Board>) -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let mailbox = Arc::new(Mailbox { orders: Mutex::default(), wake });
        let inbox = Arc::clone(&mailbox);
        let thread = thread::Builder::new().name("shims".to_owned()).spawn(move || watch(&inbox, &board))?;
        Ok(Self { mailbox, thread: Some(thread) })
    }

    /// Listens to a shim whose subscription is open and has said `first`.
    pub(super) fn watch(
        &self,
        id: LaunchId,
        stream: UnixStream,
        first: state::InstanceState,
    ) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        self.order(Order::Watch(Watched { id, stream, partial: Vec::new() }, Box::new(first)));
        Ok(())
    }

    /// Takes a shim that this process started, to reap it when it ends.
    pub(super) fn reap(&self, shim: ShimHandle) {
        self.order(Order::Reap(shim));
    }

    /// Listens no more.
    pub(super) fn forget(&self, id: LaunchId) {
        self.order(Order::Forget(id));
    }

    fn order(&self, order: Order) {
        self.mailbox.orders.lock().push(order);
        // Only a counter that is full already refuses, and then the thread wakes anyway.
        let _ = rustix::io::write(&self.mailbox.wake, &1_u64.to_ne_bytes());
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.order(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(mailbox: &Mailbox, board: &Board) {
    let mut watched: Vec<Watched> = Vec::new();
    let mut children: Vec<ShimHandle> = Vec::new();
    loop {
        let orders = std::mem::take(&mut *mailbox.orders.lock());
        for order in orders {
            match order {
                // A shim that adopted an instance replaces the connection to the dead one, whose
                // end may have been heard after the adoption: so its first word is posted here.
                Order::Watch(one, first) => {
                    watched.retain(|other| other.id != one.id);
                    board.post(&one.id, InstanceState::of(*first));
                    watched.push(one);
                }
                Order::Reap(shim) => children.push(shim),
                Order::Forget(id) => watched.retain(|other| other.id != id),
                Order::End => return,
            }
        }
        let mut ready = sleep_until_news(mailbox, &watched, &children).into_iter();
        watched.retain_mut(|one| !ready.next().unwrap_or(false) || one.hear(board));
        children.retain(|shim| !ready.next().unwrap_or(false) || !shim.reap());
    }
}

/// Sleeps until there is an order, something to read or a child to reap; says which of the
/// watched and of the children have news, in that order.
fn sleep_until_news(mailbox: &Mailbox, watched: &[Watched], children: &[ShimHandle]) -> Vec<bool> {
    let mut descriptors = vec![PollFd::new(&mailbox.wake, PollFlags::IN)];
    descriptors.extend(watched.iter().map(|one| PollFd::new(&one.stream, PollFlags::IN)));
    descriptors.extend(children.iter().map(|shim| PollFd::new(shim, PollFlags::IN)));
    match poll(&mut descriptors, None) {
        Ok(_) => {}
        Err(Errno::INTR) => return Vec::new(),
        Err(error) => {
            // Out of memory or of descriptors: asking again at once would burn a core.
            tracing::warn!(%error, "could not listen to the shims");
            thread::sleep(Duration::from_secs(1));
            return Vec::new();
        }
    }
    if !descriptors[0].revents().is_empty() {
        let mut count = [0; 8];
        let _ = rustix::io::read(&mailbox.wake, &mut count);
    }
    descriptors[1..].iter().map(|descriptor| !descriptor.revents().is_empty()).collect()
}

impl Watched {
    /// Takes what the shim has written; `false` when that was the last of it.
    fn hear(&mut self, board: &Board) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    self.partial.extend_from_slice(&buffer[..count]);
                    if !self.take_lines(board) {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.say_goodbye(board);
        false
    }

    /// Posts every whole line; `false` when what comes is not our protocol.
    fn take_lines(&mut self, board: &Board) -> bool {
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(Reply::State(state)) => board.post(&self.id, InstanceState::of(*state)),
                Ok(Reply::Refused(reason)) => {
                    tracing::warn!(launch = %self.id, reason, "a shim refused to report");
                    return false;
                }
                Err(error) => {
                    tracing::warn!(launch = %self.id, %error, "a shim reported what is not a state");
                    return false;
                }
            }
        }
        self.partial.len() <= MAX_LINE_BYTES
    }

    /// A shim that ends after its instance has said so; one that did not is dead.
    fn say_goodbye(&self, board: &Board) {
        if let Some(last) = board.get(&self.id)
            && !last.has_ended()
        {
            tracing::warn!(launch = %self.id, "its shim is gone");
            board.post(&self.id, InstanceState { shim_lost: true, ..last });
        }
    }
}
