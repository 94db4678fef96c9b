//! A process that nobody can take over in this moment is neither dead nor forgotten.

use std::{fs, path::PathBuf, time::Duration};

use super::{
    deploys::HeldHost,
    phase::{noted, slow_phase, wait_until_it_runs},
    processes::{is_alive, keepers, kill, nothing_is_left_over, pid_of},
    volume,
};
use crate::{
    host::{Ran, TestHost, wait_for},
    project::Project,
};

/// The state of the only instance, which nobody can read until this is mended.
struct Damage {
    file: PathBuf,
    state: Vec<u8>,
}

impl Damage {
    fn done(host: &TestHost) -> Self {
        let instances = fs::read_dir(host.state().join("run/i")).expect("instances").flatten();
        let files: Vec<PathBuf> = instances.map(|entry| entry.path().join("state.json")).collect();
        let [file] = &files[..] else { panic!("{files:?}") };
        let state = fs::read(file).expect("a state");
        fs::write(file, "no state").expect("damage");
        Self { file: file.clone(), state }
    }

    /// Waits until the server has found out, and mends it.
    #[track_caller]
    fn mended_when_noticed(self, host: &TestHost, what: &str) {
        wait_for("the server to notice", Duration::from_secs(30), || {
            let log = fs::read_to_string(host.home().join("server.log")).expect("the server's log");
            log.contains(what).then_some(())
        });
        fs::write(&self.file, &self.state).expect("its state");
    }
}

fn kill_shims(host: &TestHost) {
    for shim in keepers(host).iter().filter(|keeper| !keeper.is_init) {
        kill(shim.pid);
    }
}

#[track_caller]
fn has_a_shim_again(host: &TestHost) {
    wait_for("another shim", Duration::from_secs(30), || {
        keepers(host).iter().any(|keeper| !keeper.is_init).then_some(())
    });
}

#[test]
fn an_app_that_cannot_be_taken_over_at_the_start_serves_on_and_is_taken_over_later() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    let app = pid_of(&host, "shop", "web.1");
    host.kill_control();
    kill_shims(&host);
    let damage = Damage::done(&host);

    host.start_server();
    assert_eq!(host.get("shop", "/").status, 200);
    damage.mended_when_noticed(&host, "could not take over web.1 of shop");

    has_a_shim_again(&host);
    assert!(is_alive(app));
    wait_for("the app in ps", Duration::from_secs(30), || {
        (pid_of(&host, "shop", "web.1") == app).then_some(())
    });
    assert_eq!(host.get("shop", "/").status, 200);
    nothing_is_left_over(&host, &["shop"]);
}

#[test]
fn an_app_whose_dead_shim_cannot_be_replaced_at_once_gets_one_later() {
    let host = TestHost::start();
    host.up(&Project::small("shop"));
    let app = pid_of(&host, "shop", "web.1");
    let damage = Damage::done(&host);

    kill_shims(&host);
    damage.mended_when_noticed(&host, "could not take over web.1 of shop");

    has_a_shim_again(&host);
    assert_eq!(pid_of(&host, "shop", "web.1"), app);
    nothing_is_left_over(&host, &["shop"]);
}

#[test]
fn a_release_phase_that_cannot_be_taken_over_at_once_goes_on_and_its_result_counts() {
    let mut held = HeldHost::start();
    let project = slow_phase("shop");
    let deploy = held.deploy_up_to(&project, "release-phase.started");
    wait_until_it_runs(&held.host);

    held.host.kill_control();
    kill_shims(&held.host);
    let damage = Damage::done(&held.host);
    held.open();
    held.host.start_server();
    damage.mended_when_noticed(&held.host, "could not take over the release phase");
    has_a_shim_again(&held.host);
    fs::write(volume(&held.host).join("go"), "").expect("the go");

    Ran::from(deploy.wait_with_output().expect("its end")).succeeds();
    assert_eq!(noted(&held.host), "begun\nended\n");
    nothing_is_left_over(&held.host, &["shop"]);
}
