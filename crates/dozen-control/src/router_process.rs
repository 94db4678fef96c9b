//! The router's process, by a handle that never means another one.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

/// A router that was started or found.
#[derive(Debug)]
pub(crate) struct RouterProcess {
    pid: u32,
    handle: OwnedFd,
}

impl RouterProcess {
    /// A handle of a process that has this number now; `None` when there is none. The caller makes
    /// sure that it is the one that is meant: it is our child, or it answers after this.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let raw = Pid::from_raw(i32::try_from(pid).ok()?)?;
        Some(Self { pid, handle: pidfd_open(raw, PidfdFlags::empty()).ok()? })
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it lives; a zombie does not.
    pub(crate) fn is_alive(&self) -> bool {
        !self.ends_within(Duration::ZERO)
    }

    /// Sleeps until it ends, at most for `limit`.
    pub(crate) fn ends_within(&self, limit: Duration) -> bool {
        let limit = Timespec::try_from(limit).ok();
        // An interrupted wait is one that is over early.
        poll(&mut [PollFd::new(&self.handle, PollFlags::IN)], limit.as_ref()).is_ok_and(|count| count > 0)
    }

    /// Asks it to finish what it holds and end.
    pub(crate) fn terminate(&self) {
        let _ = pidfd_send_signal(&self.handle, Signal::TERM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ended_is_not_alive_before_it_is_reaped_either() {
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let process = RouterProcess::of(child.id()).unwrap();
        assert!(process.is_alive());
        process.terminate();
        assert!(process.ends_within(Duration::from_secs(10)));
        assert!(!process.is_alive());
        child.wait().unwrap();
        assert!(!process.is_alive());
    }
}
