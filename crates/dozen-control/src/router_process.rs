//! The router's process, by a handle that never means another one.
//!
//! A handle is a descriptor, and of those there may be none left. Until there is one, the process is
//! looked at by its number: that it cannot be opened does not mean that it is dead.

use std::{os::fd::OwnedFd, sync::OnceLock, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal},
};

/// How long a wait without a handle lasts at most.
const BLIND_WAIT: Duration = Duration::from_millis(200);

/// A router that was started or found.
#[derive(Debug)]
pub(crate) struct RouterProcess {
    pid: Pid,
    handle: OnceLock<OwnedFd>,
}

impl RouterProcess {
    /// A handle of a process that has this number now; `None` when there is none. The caller makes
    /// sure that it is the one that is meant: it is our child, or it answers after this.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let process = Self { pid, handle: OnceLock::new() };
        let is_gone = process.handle().is_err_and(|error| error == Errno::SRCH);
        (!is_gone).then_some(process)
    }

    fn handle(&self) -> Result<&OwnedFd, Errno> {
        match self.handle.get() {
            Some(handle) => Ok(handle),
            None => {
                let opened = pidfd_open(self.pid, PidfdFlags::empty())?;
                Ok(self.handle.get_or_init(|| opened))
            }
        }
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether it lives; a zombie does not.
    pub(crate) fn is_alive(&self) -> bool {
        !self.ends_within(Duration::ZERO)
    }

    /// Sleeps until it ends, at most for `limit`.
    pub(crate) fn ends_within(&self, limit: Duration) -> bool {
        let handle = match self.handle() {
            Ok(handle) => handle,
            Err(Errno::SRCH) => return true,
            Err(_) => {
                std::thread::sleep(limit.min(BLIND_WAIT));
                return false;
            }
        };
        let limit = Timespec::try_from(limit).ok();
        // An interrupted wait is one that is over early.
        poll(&mut [PollFd::new(handle, PollFlags::IN)], limit.as_ref()).is_ok_and(|count| count > 0)
    }

    /// Asks it to finish what it holds and end.
    pub(crate) fn terminate(&self) {
        let _ = match self.handle() {
            Ok(handle) => pidfd_send_signal(handle, Signal::TERM),
            Err(_) => kill_process(self.pid, Signal::TERM),
        };
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

    #[test]
    fn a_process_without_a_handle_is_alive_until_it_is_gone() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let limit = getrlimit(Resource::Nofile);
        // For this thread's process alone: each test has its own.
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: limit.maximum }).unwrap();
        let process = RouterProcess::of(child.id());
        let seen = process.as_ref().map(RouterProcess::is_alive);
        setrlimit(Resource::Nofile, limit).unwrap();
        assert_eq!(seen, Some(true));
        let process = process.unwrap();
        process.terminate();
        assert!(process.ends_within(Duration::from_secs(10)));
        child.wait().unwrap();
        assert!(!process.is_alive());
    }
}
