//! The watcher that `up` starts beside its server.

use std::time::Duration;

use super::processes::{is_alive, kill, pid_of};
use crate::{
    host::{TestHost, wait_for},
    project::Project,
};

/// A server that the test did not start itself ends with it.
struct Watched(TestHost);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.dozen(["server", "start", "--detached"]);
        self.0.dozen(["server", "stop", "--all"]);
    }
}

fn control(host: &TestHost) -> Option<u32> {
    let ran = host.dozen(["server", "status", "--json"]);
    let pid = (ran.status == 0).then(|| ran.json()["pid"].as_u64())??;
    u32::try_from(pid).ok()
}

/// The pid of the living watcher, once it has written it into its lock.
#[track_caller]
fn watcher(host: &TestHost) -> u32 {
    wait_for("a watcher", Duration::from_secs(30), || {
        let text = std::fs::read_to_string(host.state().join("run/watch.lock")).ok()?;
        text.strip_suffix('\n')?.parse().ok().filter(|pid| is_alive(*pid))
    })
}

#[test]
fn a_killed_control_is_started_again_and_a_stopped_one_is_not() {
    let watched = Watched(TestHost::without_server());
    let host = &watched.0;
    host.up(&Project::small("shop"));
    let (first, app) = (control(host).expect("a server"), pid_of(host, "shop", "web.1"));
    let watcher = watcher(host);

    kill(first);
    let second = wait_for("another control", Duration::from_secs(30), || control(host));
    assert_ne!(second, first);
    assert_eq!(pid_of(host, "shop", "web.1"), app, "the app went on");

    host.dozen(["server", "stop"]).succeeds();
    wait_for("the watcher to end", Duration::from_secs(30), || (!is_alive(watcher)).then_some(()));
    assert_eq!(control(host), None);
}

#[test]
fn a_server_that_outlives_its_caller_keeps_none_of_its_descriptors() {
    let watched = Watched(TestHost::without_server());
    let host = &watched.0;
    let project = Project::small("shop");
    // As `flock LOCK dozen up` does, and whoever reads all that a script prints.
    let script = "exec 9>&1; exec \"$0\" up . >/dev/null 2>&1";
    let up = host.command([]);
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", script]).arg(up.get_program()).current_dir(project.folder());
    for (name, value) in up.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut up = shell.stdout(std::process::Stdio::piped()).spawn().expect("a shell");
    let mut pipe = up.stdout.take().expect("its output");
    assert!(up.wait().expect("its end").success());

    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || ended.send(std::io::Read::read_to_end(&mut pipe, &mut Vec::new())));
    end.recv_timeout(Duration::from_secs(30)).expect("nobody holds the pipe").expect("its end");
    assert!(control(host).is_some());
}

#[test]
fn a_killed_watcher_costs_nothing_but_the_watching() {
    let watched = Watched(TestHost::without_server());
    let host = &watched.0;
    host.up(&Project::small("shop"));
    let (before, app) = (control(host).expect("a server"), pid_of(host, "shop", "web.1"));
    kill(watcher(host));
    assert_eq!(control(host), Some(before));

    kill(before);
    host.up(&Project::small("shop"));
    assert_ne!(control(host), Some(before), "`up` starts a server where none answers");
    wait_for("the first release to end", Duration::from_secs(30), || (!is_alive(app)).then_some(()));
    watcher(host);
}
