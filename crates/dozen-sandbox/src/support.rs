//! Which walls this machine can give, tried out and not guessed, for `dozen doctor`.
//!
//! [`support`] starts the binary's shim entry, which raises the walls around a process that ends at
//! once. Where the kernel refuses, the setting that makes it do so is named.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use serde::{Deserialize, Serialize};

use crate::{
    SandboxError,
    spec::{Network, Walls, WallsUser},
    sys::fork::{self, Forked},
    walls::{self, Keeper},
};

/// Settings of the kernel that forbid an ordinary user's namespaces, and the value that does.
const FORBIDDING: [(&str, &str); 3] = [
    ("kernel.unprivileged_userns_clone", "0"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1"),
    ("user.max_user_namespaces", "0"),
];

/// One wall, or one thing that the walls rest on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WallSupport {
    /// Its name.
    pub name: String,
    /// Whether it stands here.
    pub available: bool,
    /// Whether nothing runs without it.
    pub needed: bool,
    /// Why not, or what it stands on.
    pub reason: Option<String>,
}

/// Tries the walls as the user who asks. `binary` is the program with the `shim` entry.
pub fn support(binary: &Path) -> Result<Vec<WallSupport>, SandboxError> {
    let failed = |source| SandboxError::Spawn { instance: "doctor".into(), source };
    let mut command = Command::new(binary);
    command.args(["shim", "--probe-walls"]).env_clear().current_dir("/");
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().map_err(failed)?;
    serde_json::from_slice(&output.stdout).map_err(|bad| failed(bad.into()))
}

/// What the shim entry does for [`support`].
pub(crate) fn print_probe() -> io::Result<()> {
    let keeper = Keeper::current();
    let walls = |layers: &[&str]| probe_walls(keeper, layers.iter().map(PathBuf::from).collect());
    let mut found = vec![try_walls("walls", keeper, walls(&["/usr/share"]))];
    found.push(try_walls("overlay of several layers", keeper, walls(&["/usr/share", "/usr/lib"])));
    let without_network = Walls { network: Network::Empty, ..walls(&["/usr/share"]) };
    found.push(try_walls("build steps without network", keeper, without_network));
    found.push(try_large_pipe());
    found.extend([cgroups(), private_network(), system_call_filters()]);
    let mut json = serde_json::to_vec(&found)?;
    json.push(b'\n');
    io::stdout().write_all(&json)
}

fn try_walls(name: &str, keeper: Keeper, walls: Walls) -> WallSupport {
    let reason = match raise_in_child(keeper, &walls) {
        Ok(reason) if reason.is_empty() => None,
        // Some hosts let the namespaces be made and refuse every right in them.
        Ok(reason) => Some(why_not(keeper, &reason, &forbidding_settings())),
        Err(refused) => {
            let reason = format!("namespaces are refused: {refused}");
            Some(why_not(keeper, &reason, &forbidding_settings()))
        }
    };
    WallSupport { name: name.to_owned(), available: reason.is_none(), needed: true, reason }
}

/// Raises walls around a process that then ends; what it says is why it could not.
fn raise_in_child(keeper: Keeper, walls: &Walls) -> io::Result<String> {
    let (said, saying) = pipe_with(PipeFlags::CLOEXEC)?;
    match fork::fork_init(walls::namespaces(walls, keeper))? {
        Forked::Child => {
            // Mounted on in a mount namespace of its own, and no source lies there.
            if let Err(reason) = walls::raise(walls, keeper, Path::new("/tmp"), None) {
                let _ = fs::File::from(saying).write_all(reason.to_string().as_bytes());
            }
            fork::exit_now(0)
        }
        Forked::Parent(_, _) => {
            drop(saying);
            let mut reason = String::new();
            fs::File::from(said).read_to_string(&mut reason)?;
            Ok(reason)
        }
    }
}

fn probe_walls(keeper: Keeper, app: Vec<PathBuf>) -> Walls {
    let nobody = WallsUser { uid: 65534, gid: 65534 };
    let me = WallsUser { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    Walls {
        hostname: "doctor".into(),
        user: if keeper == Keeper::Root { nobody } else { me },
        app,
        app_upper: None,
        app_dir: None,
        binds: Vec::new(),
        tmp_bytes: 1 << 20,
        network: Network::Host,
    }
}

/// The settings of this host that forbid an ordinary user's namespaces.
fn forbidding_settings() -> Vec<String> {
    let is_forbidden = |&(name, value): &(&str, &str)| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::read_to_string(path).is_ok_and(|now| now.trim() == value)
    };
    FORBIDDING.iter().filter(|it| is_forbidden(it)).map(|(name, value)| format!("`{name}={value}`")).collect()
}

fn why_not(keeper: Keeper, reason: &str, settings: &[String]) -> String {
    if keeper == Keeper::Root || settings.is_empty() {
        return reason.to_owned();
    }
    format!("{reason}; an ordinary user's namespaces are forbidden by {}", settings.join(" and "))
}

fn try_large_pipe() -> WallSupport {
    let enlarged = pipe_with(PipeFlags::CLOEXEC).and_then(|(read, _)| fcntl_setpipe_size(read, 1 << 20));
    let limit = "64 KiB are used: `fs.pipe-user-pages-soft` or `fs.pipe-max-size` is reached";
    let reason = enlarged.err().map(|_| limit.to_owned());
    WallSupport { name: "1 MiB log pipes".into(), available: reason.is_none(), needed: false, reason }
}

/// Not used yet; which version has the controllers decides how limits will be set.
fn cgroups() -> WallSupport {
    let controllers = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let v2 = controllers("/sys/fs/cgroup/cgroup.controllers");
    let mounts = controllers("/proc/self/mounts");
    let has_v1 = mounts.lines().any(|line| line.split(' ').nth(2) == Some("cgroup"));
    let version = match (v2.trim().is_empty(), has_v1) {
        (false, _) => "version 2",
        (true, true) => "version 1",
        (true, false) => "no controllers",
    };
    not_built(
        "cgroup limits",
        &format!("{version}, but limits are not built yet: memory, CPU and processes are unlimited"),
    )
}

fn private_network() -> WallSupport {
    not_built("private network", "not built yet: apps use the host's network, each with a port of its own")
}

fn system_call_filters() -> WallSupport {
    not_built("seccomp and landlock", "not built yet: the walls rest on namespaces and users alone")
}

/// A wall that this version does not have: said wherever walls are listed, never left out.
fn not_built(name: &str, reason: &str) -> WallSupport {
    WallSupport { name: name.to_owned(), available: false, needed: false, reason: Some(reason.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_forbids_is_named_whatever_step_it_made_fail() {
        let settings = ["`kernel.apparmor_restrict_unprivileged_userns=1`".to_owned()];
        let reason = "could not mount: Operation not permitted";
        assert_eq!(
            why_not(Keeper::OrdinaryUser, reason, &settings),
            format!("{reason}; an ordinary user's namespaces are forbidden by {}", settings[0])
        );
        assert_eq!(why_not(Keeper::Root, reason, &settings), reason);
    }
}
