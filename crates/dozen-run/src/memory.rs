//! How much memory the processes inside an instance use.
//!
//! Everything inside descends from init, so the walk starts there. PSS counts a page that three
//! gunicorn workers share once, not three times. It is readable for processes that we may trace; for the others the
//! resident set counts, and [`Memory::exact`] says so.
//!
//! A process may end between two reads: what is gone counts as nothing.

use std::{fs, io::Read};

use dozen_sandbox::descendants::{MOST_DESCENDANTS, descendants};

/// Largest `/proc` file read.
const MOST_BYTES: u64 = 256 << 10;

/// What the processes of one instance use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes in all.
    pub bytes: u64,
    /// Whether every process gave its PSS; else shared pages are counted more than once.
    pub exact: bool,
    /// Processes counted, init among them.
    pub processes: usize,
}

/// The memory of the process `init` (as numbered on the host) and of all its descendants, or
/// `None` when it is gone.
pub fn memory_inside(init: u32) -> Option<Memory> {
    let inside = descendants(init);
    // Where the walk broke off, what was counted is not all.
    let is_whole = inside.len() < MOST_DESCENDANTS;
    let mut seen = Memory { bytes: 0, exact: is_whole, processes: 0 };
    for (bytes, exact) in inside.into_iter().filter_map(memory_of) {
        seen.bytes += bytes;
        seen.exact &= exact;
        seen.processes += 1;
    }
    (seen.processes > 0).then_some(seen)
}

/// PSS of one process, else its resident set; `false` marks the latter.
fn memory_of(pid: u32) -> Option<(u64, bool)> {
    let pss = read_proc(&format!("/proc/{pid}/smaps_rollup")).and_then(|text| field_kib(&text, "Pss:"));
    if let Some(bytes) = pss {
        return Some((bytes, true));
    }
    // A zombie and a process that we may not trace have no rollup; `status` is open to all.
    let status = read_proc(&format!("/proc/{pid}/status"))?;
    Some((field_kib(&status, "VmRSS:").unwrap_or(0), false))
}

/// The value in bytes of a `Name:   123 kB` line.
fn field_kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn read_proc(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    // A program's name in `status` may be cut inside a character.
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_counted_with_its_children() {
        let alone = memory_inside(std::process::id()).unwrap();
        assert!(alone.bytes > 100 << 10, "{alone:?}");

        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let both = memory_inside(std::process::id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        // Other tests of this binary may run in processes of their own, never in this one.
        assert!(both.processes > alone.processes, "{alone:?} {both:?}");
        assert!(both.exact);
    }

    #[test]
    fn a_process_that_is_gone_has_no_memory() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(memory_inside(pid), None);
    }
}
