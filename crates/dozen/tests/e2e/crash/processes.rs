//! The processes, mounts and folders of a host, as the kernel shows them.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::host::{TestHost, wait_for};

/// A shim or an init: both carry their instance's folder on their command line.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    pub(crate) pid: u32,
    /// Name of the instance's folder.
    pub(crate) launch: String,
    /// Whether it is pid 1 of a namespace of its own.
    pub(crate) is_init: bool,
}

/// Shims and inits of a host.
pub(crate) fn keepers(host: &TestHost) -> Vec<Keeper> {
    let mark = format!("{}/run/i/", host.state().display());
    pids().into_iter().filter_map(|pid| keeper(pid, &mark)).collect()
}

fn keeper(pid: u32, mark: &str) -> Option<Keeper> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).into_owned();
    let launch = line.split('\0').find_map(|word| word.strip_prefix(mark))?.to_owned();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let spaces = status.lines().find(|line| line.starts_with("NSpid:"))?.split_whitespace().count() - 1;
    let own = fs::read_to_string("/proc/self/status").expect("our own status");
    let ours = own.lines().find(|line| line.starts_with("NSpid:"))?.split_whitespace().count() - 1;
    let zombie = status.lines().any(|line| line.starts_with("State:\tZ"));
    (!zombie).then_some(Keeper { pid, launch, is_init: spaces > ours })
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether a process is there and not a zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Kills a process (-9) and waits until it is gone.
pub(crate) fn kill(pid: u32) {
    let raw = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    let _ = rustix::process::kill_process(raw, rustix::process::Signal::KILL);
    wait_for("a killed process to be gone", Duration::from_secs(30), || (!is_alive(pid)).then_some(()));
}

/// Kills the router, every shim and every init of a host that no server answers for.
pub(crate) fn end_all(host: &TestHost) {
    let sockets = listening(host.port());
    let is_router = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut links = files.filter_map(|file| fs::read_link(file.path()).ok());
        *pid != std::process::id() && links.any(|link| sockets.contains(&link.display().to_string()))
    };
    pids().into_iter().filter(is_router).for_each(kill);
    kill_keepers(host);
}

/// Kills every shim; the apps go on.
pub(crate) fn kill_shims(host: &TestHost) {
    keepers(host).iter().filter(|keeper| !keeper.is_init).for_each(|shim| kill(shim.pid));
}

/// Kills every shim and every init.
pub(crate) fn kill_keepers(host: &TestHost) {
    // A shim starts again what ends before it.
    kill_shims(host);
    keepers(host).iter().filter(|keeper| keeper.is_init).for_each(|init| kill(init.pid));
}

/// The sockets that listen on a port, as `/proc/PID/fd` calls them.
fn listening(port: u16) -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let of_port = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let listens = words.get(3) == Some(&"0A") && words.get(1)?.ends_with(&format!(":{port:04X}"));
        listens.then(|| format!("socket:[{}]", words[9]))
    };
    table.lines().filter_map(of_port).collect()
}

/// The rows of `dozen ps` of an app.
pub(crate) fn instances(host: &TestHost, app: &str) -> Vec<Value> {
    host.ps(app)["instances"].as_array().cloned().expect("instances")
}

/// The main process of an instance, once it is up.
#[track_caller]
pub(crate) fn pid_of(host: &TestHost, app: &str, name: &str) -> u32 {
    wait_for(&format!("{name} to be up"), Duration::from_secs(30), || {
        let all = instances(host, app);
        let found = all.iter().find(|row| row["name"] == name && row["state"] == "up")?;
        found["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    })
}

/// Waits until there is nothing on the machine but what the instances of `apps` need.
#[track_caller]
pub(crate) fn nothing_is_left_over(host: &TestHost, apps: &[&str]) {
    let began = Instant::now();
    loop {
        let found = left_over(host, apps);
        if found.is_empty() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "left over: {found:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn left_over(host: &TestHost, apps: &[&str]) -> Vec<String> {
    let wanted: usize = apps.iter().map(|app| instances(host, app).len()).sum();
    let mut found = Vec::new();
    for folder in ["builds", "incoming", "tmp"] {
        found.extend(names_in(&host.state().join(folder)).into_iter().map(|name| format!("{folder}/{name}")));
    }
    let folders: BTreeSet<String> = names_in(&host.state().join("run/i")).into_iter().collect();
    if folders.len() != wanted {
        found.push(format!("{wanted} instances, and the folders {folders:?}"));
    }
    let keepers = keepers(host);
    let kept: BTreeSet<String> = keepers.iter().map(|keeper| keeper.launch.clone()).collect();
    if kept != folders {
        found.push(format!("the folders {folders:?}, and the processes {keepers:?}"));
    }
    let shims = keepers.iter().filter(|keeper| !keeper.is_init).count();
    if shims != wanted {
        found.push(format!("{wanted} instances, and {shims} shims"));
    }
    let spaces = mount_namespaces(host);
    if spaces.len() > wanted {
        found.push(format!("{wanted} instances, and the mount namespaces {spaces:?}"));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("our mounts");
    found.extend(mounts.lines().filter(|line| line.contains(&mark(host))).map(str::to_owned));
    found
}

/// Mount namespaces in which something of the host's home is mounted.
pub(crate) fn mount_namespaces(host: &TestHost) -> BTreeSet<String> {
    let mark = mark(host);
    let of_it = pids().into_iter().filter_map(|pid| {
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
        let space = fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()?;
        mounts.contains(&mark).then(|| space.display().to_string())
    });
    of_it.collect()
}

/// What only paths of this host have in them.
fn mark(host: &TestHost) -> String {
    format!("/{}/", host.home().file_name().expect("its name").to_string_lossy())
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
