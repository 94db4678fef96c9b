//! A process that nobody can take over in this moment is neither dead nor forgotten.

use std::{fs, path::PathBuf, time::Duration};

use super::{
    phase::RunningPhase,
    processes::{is_alive, keepers, kill_shims, nothing_is_left_over, pid_of},
    serving,
};
use crate::host::{TestHost, wait_for};

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

#[track_caller]
fn has_a_shim_again(host: &TestHost) {
    wait_for("another shim", Duration::from_secs(30), || {
        keepers(host).iter().any(|keeper| !keeper.is_init).then_some(())
    });
}

#[test]
fn an_app_that_cannot_be_taken_over_at_the_start_serves_on_and_is_taken_over_later() {
    let (mut host, app) = serving();
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
    let (host, app) = serving();
    let damage = Damage::done(&host);

    kill_shims(&host);
    damage.mended_when_noticed(&host, "could not take over web.1 of shop");

    has_a_shim_again(&host);
    assert_eq!(pid_of(&host, "shop", "web.1"), app);
    nothing_is_left_over(&host, &["shop"]);
}

#[test]
fn a_release_phase_that_cannot_be_taken_over_at_once_goes_on_and_its_result_counts() {
    let mut phase = RunningPhase::start();
    let host = &mut phase.held.host;

    host.kill_control();
    kill_shims(host);
    let damage = Damage::done(host);
    phase.held.open();
    let host = &mut phase.held.host;
    host.start_server();
    damage.mended_when_noticed(host, "could not take over the release phase");
    has_a_shim_again(host);
    phase.let_go();

    phase.ends_well();
}
