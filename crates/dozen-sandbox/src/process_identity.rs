//! Which process is meant: a pid alone names another one after it was reused.

use std::{fs, io};

use serde::{Deserialize, Serialize};

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
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The program's name comes second, in parentheses, and may itself hold any character.
        let after_name = stat.rsplit_once(") ").map(|(_, rest)| rest);
        let start_ticks =
            after_name.and_then(|rest| rest.split(' ').nth(19)).and_then(|ticks| ticks.parse().ok());
        let start_ticks = start_ticks.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Self { pid, start_ticks })
    }

    /// Whether that very process still exists (a zombie does).
    pub fn exists(self) -> bool {
        Self::of(self.pid).is_ok_and(|now| now == self)
    }
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
}
