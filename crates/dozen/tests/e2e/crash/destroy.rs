//! Control is killed at every step of a destruction; the app is whole before and gone afterwards.

use std::{fs, process::Stdio, time::Duration};

use dozen_control::barrier;

use super::{
    deploys::HeldHost,
    load::Load,
    processes::{kill, nothing_is_left_over},
    with_phase,
};
use crate::{
    host::{Ran, TestHost, wait_for},
    project::Project,
};

const FOLDERS_OF_APPS: [&str; 3] = ["logs", "deploys", "router/access"];

/// Names of the apps that the server knows.
fn apps(host: &TestHost) -> Vec<String> {
    let listed = host.dozen(["apps", "--json"]).succeeds().json();
    let apps = listed.as_array().expect("apps").iter();
    apps.map(|app| app["name"].as_str().expect("a name").to_owned()).collect()
}

fn names_in(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Everybody who asks is told that the app is on its way out, and nobody gets its name.
#[track_caller]
fn is_on_its_way_out(host: &TestHost, app: &str) {
    assert_eq!(apps(host), ["other"]);
    for words in
        [&["ps", "-a", app][..], &["create", app], &["config", "-a", app], &["run", "-a", app, "true"]]
    {
        let refused = host.dozen_in(host.home(), words.iter().copied()).fails_with(1);
        assert!(refused.stderr.contains(&format!("`{app}` is being destroyed")), "{words:?}: {refused:#?}");
        assert!(refused.stderr.contains(&format!("`dozen destroy {app} --confirm {app}`")), "{refused:#?}");
    }
}

/// Nothing of the app is there but what its neighbour needs.
#[track_caller]
fn is_gone(host: &TestHost, app: &str, images: &[String]) {
    nothing_is_left_over(host, &["other"]);
    assert_eq!(apps(host), ["other"]);
    for folder in FOLDERS_OF_APPS {
        assert!(!host.state().join(folder).join(app).exists(), "{folder}/{app}");
    }
    assert_eq!(names_in(&host.state().join("services")), Vec::<String>::new());
    assert_eq!(names_in(&host.state().join("images")), images);
    assert_eq!(host.get(app, "/").status, 404, "the router does not know it");
}

#[test]
fn an_app_is_gone_wherever_its_destruction_was_cut_off() {
    let mut held = HeldHost::start();
    held.host.up(&Project::small("other"));
    let images = names_in(&held.host.state().join("images"));
    let load = Load::on(&held.host, "other");
    for barrier in barrier::destroy_names() {
        let app = barrier.replace('.', "-");
        held.host.up(&with_phase(&app));
        assert_eq!(held.host.get(&app, "/").status, 200);
        wait_for("an access log", Duration::from_secs(30), || {
            held.host.state().join("router/access").join(&app).exists().then_some(())
        });
        let mut destroy = held.host.command(["destroy"]);
        destroy.args([&app, "--confirm", &app]);
        let destroy = held.run_up_to(destroy, &barrier);
        if barrier != "destroy.rows" {
            is_on_its_way_out(&held.host, &app);
        }

        held.kill_and_start_again();

        let ran = Ran::from(destroy.wait_with_output().expect("its end"));
        // Before its first event nobody knows whether the server has heard of it.
        assert_eq!(ran.status == 0, barrier != "destroy.recorded", "{barrier}: {ran:#?}");
        wait_for("the rows to go", Duration::from_secs(30), || {
            let refused = held.host.dozen(["ps", "-a", &app]).fails_with(1);
            refused.stderr.contains("there is no app").then_some(())
        });
        wait_for("the images to go", Duration::from_secs(30), || {
            (names_in(&held.host.state().join("images")) == images).then_some(())
        });
        is_gone(&held.host, &app, &images);
    }
    load.stop();
}

#[test]
fn changes_that_wait_end_with_their_app() {
    let held = HeldHost::start();
    let project = Project::small("shop");
    held.host.up(&project);
    project.write("note", "second").commit("second");
    let second = held.deploy_up_to(&project, "build.begun");
    let mut third = held.host.command(["config", "set", "-a", "shop", "ANSWER=salut"]);
    let third = third.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
    wait_for("the third change to queue", Duration::from_secs(30), || {
        let builds = held.host.dozen(["builds", "-a", "shop", "--json"]).succeeds().json();
        (builds.as_array()?.len() == 3).then_some(())
    });
    let mut destroy = held.host.command(["destroy", "shop", "--confirm", "shop"]);
    let destroy = destroy.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
    wait_for("the wish", Duration::from_secs(30), || apps(&held.host).is_empty().then_some(()));
    held.open();

    Ran::from(destroy.wait_with_output().expect("its end")).succeeds();
    let second = Ran::from(second.wait_with_output().expect("its end"));
    assert!(second.status != 0 && second.stderr.contains("cancelled"), "{second:#?}");
    let third = Ran::from(third.wait_with_output().expect("its end")).fails_with(1);
    assert!(third.stderr.contains("`shop` is being destroyed"), "{third:#?}");
    nothing_is_left_over(&held.host, &[]);
}

#[test]
fn a_destruction_that_was_cut_off_twice_with_the_router_and_in_a_deploy_ends_too() {
    let mut held = HeldHost::start();
    held.host.up(&Project::small("other"));
    let images = names_in(&held.host.state().join("images"));
    let project = with_phase("shop");
    held.host.up(&project);
    held.host.dozen(["run", "-a", "shop", "--detach", "--", "sleep", "60"]).succeeds();
    project.write("note", "second").commit("second");
    let deploy = held.deploy_up_to(&project, "build.done");
    let mut destroy = held.host.command(["destroy", "shop", "--confirm", "shop"]);
    let destroy = destroy.stdout(Stdio::null()).stderr(Stdio::null());
    let mut destroy = destroy.spawn().expect("the binary");
    wait_for("the wish", Duration::from_secs(30), || (apps(&held.host) == ["other"]).then_some(()));

    let router = held.host.router_pid();
    held.host.kill_control();
    kill(router);
    held.hold("destroy.folders");
    held.host.start_server();
    let again = held.host.command(["destroy", "shop", "--confirm", "shop"]);
    let again = held.run_up_to(again, "destroy.folders");
    held.kill_and_start_again();

    Ran::from(again.wait_with_output().expect("its end")).succeeds();
    assert!(destroy.wait().expect("its end").success() || apps(&held.host) == ["other"]);
    Ran::from(deploy.wait_with_output().expect("its end")).fails_with(1);
    is_gone(&held.host, "shop", &images);
    held.host.up(&project);
    assert!(held.host.get("shop", "/").body.starts_with("hello v1 "), "the name is free again");
}
