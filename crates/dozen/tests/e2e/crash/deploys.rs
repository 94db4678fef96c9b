//! Control is killed at every step of the release engine, in a first deploy and in a second one.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use dozen_control::{barrier, engine::STEPS};
use tempfile::TempDir;

use super::{
    load::Load,
    processes::{kill, nothing_is_left_over},
    volume, with_phase,
};
use crate::{
    host::{Ran, TestHost, wait_for},
    project::Project,
};

/// A host whose server stops at the barriers of a folder.
pub(crate) struct HeldHost {
    pub(crate) host: TestHost,
    folder: TempDir,
}

impl HeldHost {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further settings.
    pub(crate) fn start_with(env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let barriers = ("DOZEN_BARRIERS", folder.path().to_str().expect("a path"));
        let host = TestHost::start_with(&[env, &[barriers]].concat());
        Self { host, folder }
    }

    /// Begins `up` of a project and comes back when the server stands at `barrier`.
    pub(crate) fn deploy_up_to(&self, project: &Project, barrier: &str) -> Child {
        let mut command = self.host.command(["up", "."]);
        command.current_dir(project.folder());
        self.run_up_to(command, barrier)
    }

    /// Begins a command and comes back when the server stands at `barrier`.
    pub(crate) fn run_up_to(&self, mut command: Command, barrier: &str) -> Child {
        self.hold(barrier);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
        self.wait_until_at(barrier);
        child
    }

    /// From here on the server waits when it gets to `barrier`.
    pub(crate) fn hold(&self, barrier: &str) {
        fs::write(self.folder.path().join(barrier), "").expect("a barrier");
    }

    /// Takes one barrier away.
    pub(crate) fn let_go(&self, barrier: &str) {
        fs::remove_file(self.folder.path().join(barrier)).expect("the barrier");
    }

    /// Waits until the server stands at `barrier`.
    #[track_caller]
    pub(crate) fn wait_until_at(&self, barrier: &str) {
        let reached = self.folder.path().join(format!("{barrier}.reached"));
        wait_for(&format!("the server to reach {barrier}"), Duration::from_secs(30), || {
            reached.exists().then_some(())
        });
    }

    /// Takes all barriers away.
    pub(crate) fn open(&self) {
        for entry in fs::read_dir(self.folder.path()).expect("the barriers").flatten() {
            let _ = fs::remove_file(entry.path());
        }
    }

    /// Kills control where it stands, takes all barriers away and starts it again.
    pub(crate) fn kill_and_start_again(&mut self) {
        self.host.kill_control();
        self.open();
        self.host.start_server();
    }

    /// Waits until whoever has asked for a change has heard its number, which is told beside the work:
    /// a server that is killed before that leaves a caller who cannot ask again.
    #[track_caller]
    fn wait_until_told(&self, barrier: &str) {
        if barrier::names().iter().any(|name| name == barrier) {
            // The API answers in turn.
            self.host.dozen(["server", "status"]).succeeds();
        }
    }

    /// Kills control while a command has got it to `barrier`, starts it again and waits for the
    /// command's end.
    #[track_caller]
    pub(crate) fn killed_at(&mut self, words: &[&str], barrier: &str) -> Ran {
        let child = self.run_up_to(self.host.command(words.iter().copied()), barrier);
        self.wait_until_told(barrier);
        self.kill_and_start_again();
        child.wait_with_output().expect("its end").into()
    }

    /// Kills control while it stands at `barrier`, starts it again and waits for the deploy's end.
    pub(crate) fn deploy_killed_at(&mut self, project: &Project, barrier: &str) -> Ran {
        let child = self.deploy_up_to(project, barrier);
        self.wait_until_told(barrier);
        self.kill_and_start_again();
        child.wait_with_output().expect("its end").into()
    }
}

/// The releases whose release phase has run, in that order.
fn phases(host: &TestHost) -> Vec<String> {
    let noted = fs::read_to_string(volume(host).join("phases"));
    noted.unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn every_step_has_barriers_around_it() {
    let names = barrier::names();
    for step in &STEPS {
        for moment in ["begun", "done"] {
            let name = format!("{}.{moment}", step.name);
            assert!(names.contains(&name), "{name} of {names:?}");
        }
    }
}

#[test]
fn a_first_deploy_goes_on_when_control_is_killed_at_any_step_of_it() {
    let mut held = HeldHost::start();
    for (index, barrier) in barrier::names().into_iter().enumerate() {
        let app = format!("first{index}");
        let deployed = held.deploy_killed_at(&with_phase(&app), &barrier);
        assert_eq!(deployed.status, 0, "{barrier}: {deployed:#?}");

        let host = &held.host;
        assert!(host.get(&app, "/").body.starts_with("hello v1 "), "{barrier}");
        assert_eq!(phases(host), ["v1"], "{barrier}");
        nothing_is_left_over(host, &[&app]);
        host.dozen(["destroy", &app, "--confirm", &app]).succeeds();
        nothing_is_left_over(host, &[]);
    }
}

#[test]
fn a_second_deploy_loses_no_request_when_control_is_killed_at_any_step_of_it() {
    let mut held = HeldHost::start();
    let project = with_phase("shop");
    held.host.up(&project);
    let mut releases = vec!["v1".to_owned()];
    for barrier in barrier::names() {
        project.write("note", &barrier).commit(&barrier);
        releases.push(format!("v{}", releases.len() + 1));
        let load = Load::on(&held.host, "shop");
        let deployed = held.deploy_killed_at(&project, &barrier);
        assert_eq!(deployed.status, 0, "{barrier}: {deployed:#?}");

        let host = &held.host;
        let serving = format!("hello v{} ", releases.len());
        assert!(host.get("shop", "/").body.starts_with(&serving), "{barrier}");
        nothing_is_left_over(host, &["shop"]);
        load.stop();
        assert_eq!(phases(host), releases, "{barrier}");
    }
}

#[test]
fn a_release_that_was_committed_serves_when_control_and_router_die_before_the_table_is_there() {
    let mut held = HeldHost::start();
    let project = Project::small("shop");
    held.host.up(&project);
    project.write("note", "second").commit("second");
    let router = held.host.router_pid();
    let deploy = held.deploy_up_to(&project, "route.committed");

    held.host.kill_control();
    kill(router);
    held.open();
    held.host.start_server();

    Ran::from(deploy.wait_with_output().expect("its end")).succeeds();
    assert!(held.host.get("shop", "/").body.starts_with("hello v2 "));
    nothing_is_left_over(&held.host, &["shop"]);
}

#[test]
fn a_deploy_that_was_cancelled_is_not_gone_on_with_by_the_next_server() {
    let mut held = HeldHost::start();
    let project = Project::small("shop");
    held.host.up(&project);
    project.write("note", "second").commit("second");
    let mut deploy = held.deploy_up_to(&project, "build.begun");
    let pid = rustix::process::Pid::from_child(&deploy);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("Ctrl-C");
    let mut said = BufReader::new(deploy.stderr.take().expect("its messages")).lines();
    let heard = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("cancelling")));
    assert!(heard.is_some(), "the server has answered");

    held.kill_and_start_again();

    let rest: Vec<String> = said.map_while(Result::ok).collect();
    assert!(rest.iter().any(|line| line.contains("cancelled; what ran before goes on")), "{rest:?}");
    deploy.wait().expect("its end");
    let builds = held.host.dozen(["builds", "-a", "shop", "--json"]).succeeds().json();
    assert_eq!(builds[0]["state"], "cancelled", "{builds}");
    assert!(held.host.get("shop", "/").body.starts_with("hello v1 "));
    nothing_is_left_over(&held.host, &["shop"]);
}

#[test]
fn a_deploy_that_waits_in_the_queue_survives_control() {
    let mut held = HeldHost::start();
    let project = Project::small("shop");
    held.host.up(&project);
    project.write("note", "second").commit("second");
    let second = held.deploy_up_to(&project, "build.begun");
    project.write("note", "third").commit("third");
    let mut third = held.host.command(["up", "."]);
    third.current_dir(project.folder()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let third = third.spawn().expect("the binary");
    wait_for("the third deploy to queue", Duration::from_secs(30), || {
        let builds = held.host.dozen(["builds", "-a", "shop", "--json"]).succeeds().json();
        (builds.as_array()?.len() == 3).then_some(())
    });

    held.wait_until_told("build.begun");
    held.host.kill_control();
    held.open();
    held.host.start_server();

    for deploy in [second, third] {
        Ran::from(deploy.wait_with_output().expect("its end")).succeeds();
    }
    assert!(held.host.get("shop", "/").body.starts_with("hello v3 "));
    nothing_is_left_over(&held.host, &["shop"]);
}
