//! The release phase runs once, whatever is killed while it runs.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::Child,
    time::Duration,
};

use super::{
    deploys::HeldHost,
    processes::{kill_shims, nothing_is_left_over},
    volume,
};
use crate::{
    host::{Ran, TestHost, wait_for},
    project::Project,
};

/// A first deploy whose release phase runs, and stays so until it is let go. The server stands at
/// the barrier behind the phase's start.
pub(crate) struct RunningPhase {
    pub(crate) held: HeldHost,
    deploy: Child,
    _project: Project,
}

impl RunningPhase {
    pub(crate) fn start() -> Self {
        Self::start_on(HeldHost::start())
    }

    fn start_on(held: HeldHost) -> Self {
        let project = Project::small("shop");
        let phase = "release: echo begun >> /data/noted/phases; \
                     while [ ! -e /data/noted/go ]; do sleep 0.01; done; echo ended >> /data/noted/phases\n";
        project
            .write("Procfile", &format!("web: /usr/bin/python3 server.py\n{phase}"))
            .write("dozen.toml", "[services.data]\nkind = \"volume\"\npath = \"/data/noted\"\n")
            .commit("with a slow release phase");
        let deploy = held.deploy_up_to(&project, "release-phase.started");
        let running = Self { held, deploy, _project: project };
        running.wait_for_note("begun\n");
        running
    }

    /// Waits until the phase has written that.
    #[track_caller]
    fn wait_for_note(&self, wanted: &str) {
        wait_for(&format!("the phase to note {wanted:?}"), Duration::from_secs(30), || {
            (noted(&self.held.host) == wanted).then_some(())
        });
    }

    /// Lets the phase come to its end.
    pub(crate) fn let_go(&self) {
        fs::write(volume(&self.held.host).join("go"), "").expect("the go");
    }

    /// The deploy ended well, and the phase has run once.
    #[track_caller]
    pub(crate) fn ends_well(self) {
        Ran::from(self.deploy.wait_with_output().expect("its end")).succeeds();
        assert_eq!(noted(&self.held.host), "begun\nended\n");
        nothing_is_left_over(&self.held.host, &["shop"]);
    }
}

fn noted(host: &TestHost) -> String {
    fs::read_to_string(volume(host).join("phases")).unwrap_or_default()
}

#[test]
fn a_release_phase_outlives_control_and_its_result_counts() {
    let mut phase = RunningPhase::start();

    phase.held.host.kill_control();
    phase.held.open();
    phase.let_go();
    phase.wait_for_note("begun\nended\n");
    phase.held.host.start_server();

    phase.ends_well();
}

#[test]
fn a_release_phase_outlives_control_and_its_shim_together() {
    let mut phase = RunningPhase::start();

    phase.held.host.kill_control();
    kill_shims(&phase.held.host);
    phase.held.open();
    phase.held.host.start_server();
    phase.let_go();

    phase.ends_well();
}

#[test]
fn the_result_of_a_release_phase_is_noted_before_what_tells_it_goes() {
    let held = HeldHost::start();
    held.hold("end.recorded");
    let mut phase = RunningPhase::start_on(held);
    phase.let_go();
    phase.held.let_go("release-phase.started");
    phase.held.wait_until_at("end.recorded");

    phase.held.kill_and_start_again();

    phase.ends_well();
}

#[test]
fn a_release_phase_that_a_reboot_cut_off_fails_and_is_not_run_again() {
    let RunningPhase { mut held, deploy, _project } = RunningPhase::start();

    let router = held.host.router_pid();
    held.host.kill_control();
    super::instances::pull_the_plug(&held.host, router);
    held.open();
    held.host.start_server();

    let failed = Ran::from(deploy.wait_with_output().expect("its end")).fails_with(1);
    assert!(failed.stderr.contains("release phase") && failed.stderr.contains("hint:"), "{failed:#?}");
    assert_eq!(noted(&held.host), "begun\n");
    nothing_is_left_over(&held.host, &["shop"]);
}

#[test]
fn writes_that_wait_for_a_migration_wait_on_when_control_is_killed() {
    let mut held = HeldHost::start();
    let project = Project::small("shop");
    project
        .write("Procfile", "web: /usr/bin/python3 server.py\nrelease: echo migrated\n")
        .write("dozen.toml", "[services.db]\nkind = \"sqlite\"\n")
        .commit("with a database");
    held.host.up(&project);
    project.write("note", "second").commit("second");
    let deploy = held.deploy_up_to(&project, "start.begun");

    held.host.kill_control();
    held.host.start_server();
    let mut write = TcpStream::connect((Ipv4Addr::LOCALHOST, held.host.port())).expect("the router");
    let request = "POST / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    write.write_all(request.as_bytes()).expect("a request");
    write.set_read_timeout(Some(Duration::from_millis(300))).expect("a limit");
    write.read(&mut [0]).expect_err("no answer while the new release is not there");
    assert!(held.host.get("shop", "/").body.starts_with("hello v1 "), "reading goes on");
    held.open();

    Ran::from(deploy.wait_with_output().expect("its end")).succeeds();
    write.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    let mut answer = String::new();
    write.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("hello v2 "), "{answer}");
}
