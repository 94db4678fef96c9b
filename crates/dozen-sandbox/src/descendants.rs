//! The processes below another one, seen from outside.
//!
//! Everything inside an instance descends from init, since init is pid 1 of its pid namespace and
//! inherits every orphan. A process may end between two reads: what is gone has no children.

use std::{fs, io::Read as _};

/// The most processes that are looked for: a fork bomb must not hold us up.
pub const MOST_DESCENDANTS: usize = 4096;

/// Largest list of children that is read.
const MOST_BYTES: u64 = 256 << 10;

/// `pid` and all that descends from it, parents first, at most [`MOST_DESCENDANTS`] in all.
///
/// `pid` itself comes first even when it is gone.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() && found.len() < MOST_DESCENDANTS {
        let children = children_of(found[next]);
        found.extend(children);
        next += 1;
    }
    found.truncate(MOST_DESCENDANTS);
    found
}

/// The children of every thread of `pid`: a child belongs to the thread that forked it.
fn children_of(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        let mut list = String::new();
        let Ok(file) = fs::File::open(thread.path().join("children")) else { continue };
        // A thread that ends while it is read has said what it could.
        let _ = file.take(MOST_BYTES).read_to_string(&mut list);
        found.extend(list.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn children_and_their_children_are_found_and_what_is_gone_has_none() {
        let shell = "sleep 60 & read line; kill $!";
        let mut child = Command::new("sh").args(["-c", shell]).stdin(Stdio::piped()).spawn().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let below = loop {
            let below = descendants(std::process::id());
            if below.len() >= 3 || std::time::Instant::now() > deadline {
                break below;
            }
        };
        drop(child.stdin.take());
        child.wait().unwrap();

        assert_eq!(below[..2], [std::process::id(), child.id()], "{below:?}");
        assert_eq!(below.len(), 3, "{below:?}");
        assert_eq!(descendants(child.id()), [child.id()]);
    }
}
