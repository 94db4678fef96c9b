//! The release phase runs once, whatever is killed while it runs.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use super::{
    deploys::HeldHost,
    processes::{keepers, kill, nothing_is_left_over},
    volume,
};
use crate::{
    host::{Ran, TestHost, wait_for},
    project::Project,
};

/// An app whose release phase notes that it runs and goes on when it is let.
pub(crate) fn slow_phase(name: &str) -> Project {
    let project = Project::small(name);
    let phase = "release: echo begun >> /data/noted/phases; \
                 while [ ! -e /data/noted/go ]; do sleep 0.01; done; echo ended >> /data/noted/phases\n";
    project
        .write("Procfile", &format!("web: /usr/bin/python3 server.py\n{phase}"))
        .write("dozen.toml", "[services.data]\nkind = \"volume\"\npath = \"/data/noted\"\n")
        .commit("with a slow release phase");
    project
}

pub(crate) fn noted(host: &TestHost) -> String {
    fs::read_to_string(volume(host).join("phases")).unwrap_or_default()
}

pub(crate) fn wait_until_it_runs(host: &TestHost) {
    wait_for("the phase to run", Duration::from_secs(30), || (noted(host) == "begun\n").then_some(()));
}

#[test]
fn a_release_phase_outlives_control_and_its_result_counts() {
    let mut held = HeldHost::start();
    let project = slow_phase("shop");
    let deploy = held.deploy_up_to(&project, "release-phase.started");
    wait_until_it_runs(&held.host);

    held.host.kill_control();
    held.open();
    fs::write(volume(&held.host).join("go"), "").expect("the go");
    wait_for("the phase to end alone", Duration::from_secs(30), || {
        (noted(&held.host) == "begun\nended\n").then_some(())
    });
    held.host.start_server();

    Ran::from(deploy.wait_with_output().expect("its end")).succeeds();
    assert_eq!(noted(&held.host), "begun\nended\n");
    nothing_is_left_over(&held.host, &["shop"]);
}

#[test]
fn a_release_phase_outlives_control_and_its_shim_together() {
    let mut held = HeldHost::start();
    let project = slow_phase("shop");
    let deploy = held.deploy_up_to(&project, "release-phase.started");
    wait_until_it_runs(&held.host);

    held.host.kill_control();
    for shim in keepers(&held.host).iter().filter(|keeper| !keeper.is_init) {
        kill(shim.pid);
    }
    held.open();
    held.host.start_server();
    fs::write(volume(&held.host).join("go"), "").expect("the go");

    Ran::from(deploy.wait_with_output().expect("its end")).succeeds();
    assert_eq!(noted(&held.host), "begun\nended\n");
    nothing_is_left_over(&held.host, &["shop"]);
}

#[test]
fn the_result_of_a_release_phase_is_noted_before_what_tells_it_goes() {
    let mut held = HeldHost::start();
    let project = slow_phase("shop");
    let mut up = held.host.command(["up", "."]);
    up.current_dir(project.folder());
    held.hold("end.recorded");
    let deploy = held.run_up_to(up, "release-phase.started");
    wait_until_it_runs(&held.host);
    fs::write(volume(&held.host).join("go"), "").expect("the go");
    held.let_go("release-phase.started");
    held.wait_until_at("end.recorded");

    held.kill_and_start_again();

    Ran::from(deploy.wait_with_output().expect("its end")).succeeds();
    assert_eq!(noted(&held.host), "begun\nended\n");
    nothing_is_left_over(&held.host, &["shop"]);
}

#[test]
fn a_release_phase_that_a_reboot_cut_off_fails_and_is_not_run_again() {
    let mut held = HeldHost::start();
    let project = slow_phase("shop");
    let deploy = held.deploy_up_to(&project, "release-phase.started");
    wait_until_it_runs(&held.host);

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
