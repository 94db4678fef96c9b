//! Init at work: wait for ends and orders until nothing is left to wait for.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use rustix::{
    net::{SocketFlags, accept_with},
    process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, wait},
};

use super::{Cradle, app::Main, orders, orders::Order, write_record};
use crate::{
    exit_record::ExitRecord,
    state::{Exit, ExitStatus, unix_nanos},
    sys::{peer::uid_of_peer, poll_set::PollSet, signals},
};

const MAX_CONNECTIONS: usize = 8;
/// How often a full pipe of a dead app is looked at while no shim is there, at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// How far the instance is.
#[derive(PartialEq, Eq)]
enum Phase {
    /// The main process lives.
    Running,
    /// It ended; others inside still live.
    Ending,
    /// Nobody lives; bytes may still wait to be read.
    Over,
}

struct Init<'cradle> {
    cradle: &'cradle mut Cradle,
    main: Main,
    own_pidfd: OwnedFd,
    child_ends: OwnedFd,
    connections: Vec<OwnedFd>,
    phase: Phase,
    /// The stop signal was sent.
    was_asked: bool,
    /// Every process got it, so the others may finish after the main one has.
    everyone_was_asked: bool,
    drained: bool,
}

/// Serves shims and reaps processes until the instance is over and its output was read.
pub(super) fn serve(cradle: &mut Cradle, main: Main, child_ends: OwnedFd) -> io::Result<()> {
    let own_pidfd = pidfd_open(Pid::INIT, PidfdFlags::empty())?;
    let connections = vec![cradle.shim.try_clone()?];
    let phase = Phase::Running;
    let (was_asked, everyone_was_asked, drained) = (false, false, false);
    let mut init = Init {
        cradle,
        main,
        own_pidfd,
        child_ends,
        connections,
        phase,
        was_asked,
        everyone_was_asked,
        drained,
    };
    let mut pause = Duration::from_millis(1);
    loop {
        init.reap();
        if init.phase == Phase::Over && (init.drained || init.cradle.kept.are_empty()) {
            return Ok(());
        }
        let limit = (init.phase == Phase::Over).then_some(pause);
        init.wait_and_answer(limit)?;
        if limit.is_some() {
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Init<'_> {
    fn wait_and_answer(&mut self, limit: Option<Duration>) -> io::Result<()> {
        let mut set = PollSet::new();
        let ends = set.add(self.child_ends.as_fd(), true, false);
        let listener = set.add(self.cradle.listener.as_fd(), true, false);
        let lifeline = self.cradle.lifeline.as_ref().map(|lifeline| set.add(lifeline.as_fd(), true, false));
        let mut places = Vec::with_capacity(MAX_CONNECTIONS);
        places.extend(self.connections.iter().map(|connection| set.add(connection.as_fd(), true, false)));
        set.wait(limit)?;
        let (an_end, a_shim) = (set.is_ready(ends), set.is_ready(listener));
        let lifeline_ended = lifeline.is_some_and(|place| set.is_ready(place));
        let ready: Vec<bool> = places.into_iter().map(|place| set.is_ready(place)).collect();
        if an_end {
            self.forget_child_signals();
        }
        if lifeline_ended {
            self.cradle.lifeline = None;
            self.drained = true;
            self.kill_everyone();
        }
        // From behind, so that removing one does not move those still to come.
        for (index, _) in ready.into_iter().enumerate().rev().filter(|(_, is_ready)| *is_ready) {
            if !self.obey(index) {
                self.connections.swap_remove(index);
            }
        }
        if a_shim {
            self.accept();
        }
        Ok(())
    }

    fn forget_child_signals(&self) {
        let mut records = [0; 1024];
        // Which children ended is asked of wait: signals of one kind are merged.
        let _ = rustix::io::read(&self.child_ends, &mut records);
    }

    fn accept(&mut self) {
        let Ok(connection) = accept_with(&self.cradle.listener, SocketFlags::CLOEXEC) else { return };
        let Ok(peer) = uid_of_peer(&connection) else { return };
        // In a user namespace nobody but the creator is mapped, so root outside is not let in there.
        let is_keeper = peer == self.cradle.creator || peer == 0;
        if is_keeper && self.connections.len() < MAX_CONNECTIONS {
            self.connections.push(connection);
        }
    }

    /// Carries out one order; `false` when the connection is of no more use.
    fn obey(&mut self, index: usize) -> bool {
        let connection = &self.connections[index];
        match Order::receive(connection) {
            Ok(Some(Order::TakeOver)) => {
                orders::send_takeover(connection, &self.own_pidfd, &self.main.pidfd, &self.cradle.kept)
                    .is_ok()
            }
            Ok(Some(Order::Signal { number, all })) => {
                self.signal(number, all);
                true
            }
            Ok(Some(Order::Stop { number, all })) => {
                if !std::mem::replace(&mut self.was_asked, true) {
                    self.everyone_was_asked = all;
                    self.signal(number, all);
                }
                true
            }
            Ok(Some(Order::Kill)) => {
                self.kill_everyone();
                true
            }
            Ok(Some(Order::Drained)) => {
                // It may come before the end is reaped: the kernel hangs a terminal up first. It is
                // said once, and the shim reads no more after it.
                self.drained = true;
                true
            }
            Ok(Some(Order::CloseInput)) => {
                self.cradle.kept.input = None;
                true
            }
            Err(nothing) if nothing.kind() == io::ErrorKind::WouldBlock => true,
            Ok(None) | Err(_) => false,
        }
    }

    fn signal(&mut self, number: i32, all: bool) {
        // A process that has just ended needs no signal, and nothing else can go wrong.
        let _ = if all {
            signals::signal_everyone_inside(number)
        } else if self.phase == Phase::Running {
            // Not reaped yet, so the pid is still its own.
            signals::signal_one(self.main.pid, number)
        } else {
            Ok(())
        };
    }

    fn kill_everyone(&mut self) {
        self.everyone_was_asked = false;
        // As above; whoever is left is found again at the next reaping.
        let _ = signals::signal_everyone_inside(libc::SIGKILL);
    }

    /// Takes notice of all ends; the main process's end is written down before anything follows from it.
    fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                // Once the main process is gone, its number may come to mean another one.
                Ok(Some((pid, status))) if self.phase == Phase::Running && self.is_main(pid) => {
                    self.record_end(status);
                }
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => {
                    // ECHILD: nobody is left.
                    self.phase = Phase::Over;
                    return;
                }
            }
        }
        if self.phase == Phase::Ending && !self.everyone_was_asked {
            self.kill_everyone();
        }
    }

    fn is_main(&self, pid: Pid) -> bool {
        pid.as_raw_nonzero().get().cast_unsigned() == self.main.pid
    }

    fn record_end(&mut self, status: WaitStatus) {
        let status = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => ExitStatus::Code(code),
            (None, Some(signal)) => ExitStatus::Signal(signal),
            // Stopped or continued: not asked for, so not told.
            (None, None) => return,
        };
        self.phase = Phase::Ending;
        let exit = Exit { status, at: unix_nanos() };
        write_record(&self.cradle.exit_record, &ExitRecord { exit, launch_error: None });
    }
}
