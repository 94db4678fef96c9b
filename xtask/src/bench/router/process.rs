//! Processes of the benchmark: pinned to a processor, ended with it, counted with their children.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    bench::{clock, stand::number_after},
    task::{TaskError, output},
};

/// The processor of the proxies.
pub(super) const PROXY_CPU: &str = "0";
/// The processor of the load and of the upstream.
pub(super) const LOAD_CPU: &str = "1";
const STARTS_WITHIN: Duration = Duration::from_secs(30);
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// The unit of `/proc/PID/stat` on every Linux that dozen runs on.
const TICK: Duration = Duration::from_millis(10);

/// Pins this process and whatever it starts to the processor of the load, with descriptors for
/// thousands of connections.
pub(super) fn pin_the_load() -> Result<(), TaskError> {
    let own = std::process::id().to_string();
    output(Command::new("taskset").args(["-a", "-c", "-p", LOAD_CPU, &own]))?;
    // As many as we may without asking: each contender inherits that.
    let limits = fs::read_to_string("/proc/self/limits")?;
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let hard = files.split_whitespace().nth(4).unwrap_or_default();
    output(Command::new("prlimit").args(["--pid", &own, &format!("--nofile={hard}:{hard}")])).map(drop)
}

/// A command on one processor that ends with us, even when we are killed.
pub(super) fn pinned(cpu: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "taskset", "-c", cpu]).arg(program);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("GOMAXPROCS", "1");
    command
}

/// A port that nobody listens on.
pub(super) fn free_port() -> Result<u16, TaskError> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A server of the benchmark, ended with it.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
}

impl Server {
    /// Starts it, what it says going to `folder/output`, and waits until it listens on `port`.
    pub(super) fn start(command: &mut Command, folder: &Path, port: u16) -> Result<Self, TaskError> {
        let said = folder.join("output");
        let file = File::create(&said)?;
        let mut command = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        command = command.current_dir(folder);
        let mut server = Self { child: command.spawn()? };
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if server.child.try_wait()?.is_some() || began.elapsed() > STARTS_WITHIN {
                let said = fs::read_to_string(said).unwrap_or_default();
                let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
                return Err(TaskError::new(format!("`{}` does not serve:\n{said}", words.join(" "))));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it and its children have used so far.
    pub(super) fn used(&self) -> Used {
        let mut used = Used::default();
        for pid in tree(self.child.id()) {
            used.cpu += clock::cpu(pid);
            used.user += user(pid);
        }
        used
    }

    /// The memory of it and its children, in MiB: their proportional shares.
    pub(super) fn memory(&self) -> f64 {
        let share = |pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            number_after(&text, "\nPss:").unwrap_or_default()
        };
        f64::from(tree(self.child.id()).into_iter().map(share).sum::<u32>()) / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let children = tree(self.child.id());
        signal("TERM", &children);
        let began = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < ENDS_WITHIN {
            thread::sleep(Duration::from_millis(20));
        }
        // A master that was killed leaves its workers behind.
        if matches!(self.child.try_wait(), Ok(None)) {
            signal("KILL", &children);
        }
        let _ = self.child.wait();
    }
}

/// CPU time of a server.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Used {
    pub(super) cpu: Duration,
    /// What of it was spent outside the kernel.
    pub(super) user: Duration,
}

impl Used {
    pub(super) fn since(self, before: Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(before.cpu), user: self.user.saturating_sub(before.user) }
    }
}

fn signal(name: &str, pids: &BTreeSet<u32>) {
    let pids = pids.iter().map(u32::to_string);
    // They may have ended by themselves.
    let _ = Command::new("/bin/sh")
        .args(["-c", "for pid; do kill -s \"$0\" \"$pid\" 2> /dev/null; done", name])
        .args(pids)
        .status();
}

/// A process and its descendants.
fn tree(pid: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([pid]);
    let mut left = vec![pid];
    while let Some(pid) = left.pop() {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            let fresh = children.split_whitespace().filter_map(|child| child.parse().ok());
            left.extend(fresh.filter(|child| found.insert(*child)));
        }
    }
    found
}

/// The time of a process outside the kernel.
fn user(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may contain anything; `utime` is the twelfth field after it.
    let ticks = text.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(11)?.parse().ok());
    TICK * ticks.unwrap_or(0_u32)
}
