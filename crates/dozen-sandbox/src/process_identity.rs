//! Which process is meant: a pid alone names another one after it was reused.

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde::{Deserialize, Serialize};

use crate::sys::poll_set::PollSet;

/// A process of one boot: pid and start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// As seen from the host.
    pub pid: u32,
    /// Clock ticks from boot to its start.
    pub start_ticks: u64,
}

impl ProcessIdentity {
    /// The process that has this pid now.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read(format!("/proc/{pid}/stat"))?;
        let start_ticks = start_ticks(&stat).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Self { pid, start_ticks })
    }

    /// Whether that very process still exists (a zombie does).
    pub fn exists(self) -> bool {
        Self::of(self.pid).is_ok_and(|now| now == self)
    }

    /// A descriptor of that very process, or `None` when it is gone. An error tells of neither.
    pub fn open(self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // INVAL, NOENT: the number is a thread's by now.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        // Looked at after it was opened: the number may have been another's before, not after.
        match Self::of(self.pid) {
            Ok(now) => Ok((now == self).then_some(pidfd)),
            Err(gone) if is_gone(&gone) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Whether that very process still runs (a zombie does not). For the first process of a pid
    /// namespace: whether anything in it does.
    pub fn is_alive(self) -> io::Result<bool> {
        let Some(pidfd) = self.open()? else { return Ok(false) };
        let mut set = PollSet::new();
        let end = set.add(pidfd.as_fd(), true, false);
        set.wait(Some(Duration::ZERO))?;
        Ok(!set.is_ready(end))
    }
}

fn is_gone(reason: &io::Error) -> bool {
    reason.kind() == io::ErrorKind::NotFound || reason.raw_os_error() == Some(libc::ESRCH)
}

/// The start time in a line of the kernel's. The program's name stands before it in parentheses, may
/// hold any byte, and is cut at 15 bytes, also inside a character.
fn start_ticks(stat: &[u8]) -> Option<u64> {
    let name_end = stat.windows(2).rposition(|pair| pair == b") ")?;
    let ticks = stat[name_end + 2..].split(|&byte| byte == b' ').nth(19)?;
    str::from_utf8(ticks).ok()?.parse().ok()
}

/// The kernel's name for this boot.
pub fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself_and_not_another_of_its_pid() {
        let me = ProcessIdentity::of(std::process::id()).unwrap();
        assert!(me.exists());
        assert!(!ProcessIdentity { start_ticks: me.start_ticks + 1, ..me }.exists());
    }

    #[test]
    fn a_process_that_has_ended_is_not_alive_although_nobody_has_reaped_it() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let identity = ProcessIdentity::of(child.id()).unwrap();
        assert!(identity.is_alive().unwrap());
        child.kill().unwrap();
        let mut set = PollSet::new();
        let pidfd = identity.open().unwrap().unwrap();
        set.add(pidfd.as_fd(), true, false);
        set.wait(Some(Duration::from_secs(10))).unwrap();
        assert!(identity.exists() && !identity.is_alive().unwrap());
        child.wait().unwrap();
        assert!(identity.open().unwrap().is_none());
    }

    #[test]
    fn a_name_may_hold_any_byte_and_end_inside_a_character() {
        let stat = [b"7 (a) 1 \xc3) S 1".as_slice(), &b" 0".repeat(17), b" 4242 0\n"].concat();
        assert_eq!(start_ticks(&stat), Some(4242));
    }
}
