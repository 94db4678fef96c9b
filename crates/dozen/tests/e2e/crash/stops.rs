//! Processes that are being started while somebody ends them.

use std::{process::Stdio, time::Duration};

use dozen_control::barrier::Place;

use super::{
    deploys::HeldHost,
    processes::{instances, keepers, nothing_is_left_over},
};
use crate::{
    host::{Ran, TestHost, wait_for},
    project::Project,
};

#[test]
fn stopping_all_while_instances_start_leaves_no_process() {
    let mut host = TestHost::start();
    let project = Project::small("shop");
    project
        .write("Procfile", "web: /usr/bin/python3 server.py\nworker: sleep 1000\n")
        .commit("with a worker");
    host.up(&project);
    let mut scale = host.command(["ps", "scale", "-a", "shop", "worker=40"]);
    let scale = scale.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
    wait_for("some of them", Duration::from_secs(30), || (instances(&host, "shop").len() > 3).then_some(()));

    host.dozen(["server", "stop", "--all"]).succeeds();
    assert!(keepers(&host).is_empty(), "{:?}", keepers(&host));
    host.wait_for_control_end();
    assert!(keepers(&host).is_empty(), "{:?}", keepers(&host));
    scale.wait_with_output().expect("its end");
}

#[test]
fn a_one_off_process_that_was_stopped_before_it_began_does_not_run() {
    let held = HeldHost::start();
    held.host.up(&Project::small("shop"));
    let run = held.host.command(["run", "-a", "shop", "--", "true"]);
    let run = held.run_up_to(run, Place::OneOffRecorded.name());
    held.host.dozen(["ps", "stop", "run.1", "-a", "shop"]).succeeds();
    held.open();
    let run = Ran::from(run.wait_with_output().expect("its end")).fails_with(1);
    assert!(run.stderr.contains("`run.1` was stopped before it began"), "{run:#?}");
    nothing_is_left_over(&held.host, &["shop"]);
}
