//! `server stop`, `server stop --all` and `down`, each followed by another start.

use std::{
    os::unix::fs::DirBuilderExt,
    time::{Duration, Instant},
};

use super::{
    processes::{instances, is_alive, keepers, nothing_is_left_over, pid_of},
    serving,
};
use crate::{
    client,
    host::{TestHost, wait_for},
    project::Project,
};

fn stop(host: &TestHost, words: &[&str]) {
    let control = host.control_pid();
    let router = host.router_pid();
    host.dozen(["server", "stop"].into_iter().chain(words.iter().copied())).succeeds();
    wait_for("control and router to end", Duration::from_secs(30), || {
        (!is_alive(control) && !is_alive(router)).then_some(())
    });
}

#[test]
fn apps_run_on_when_the_server_is_stopped_and_the_next_one_adopts_them() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    host.dozen(["ps", "scale", "-a", "shop", "web=2"]).succeeds();
    let before = [pid_of(&host, "shop", "web.1"), pid_of(&host, "shop", "web.2")];

    stop(&host, &[]);
    assert!(before.iter().all(|pid| is_alive(*pid)));

    host.start_server();
    assert_eq!([pid_of(&host, "shop", "web.1"), pid_of(&host, "shop", "web.2")], before);
    assert_eq!(host.get("shop", "/").status, 200);
    nothing_is_left_over(&host, &["shop"]);
}

#[test]
fn a_server_that_starts_while_the_old_router_ends_its_last_request_serves_at_once() {
    let mut host = TestHost::start();
    let project = Project::small("shop");
    host.up(&project);
    let router = host.router_pid();
    let slow = client::Held::at(host.port(), "shop.localhost");
    wait_for("the request to be in flight", Duration::from_secs(30), || {
        (instances(&host, "shop")[0]["in_flight"] == 1).then_some(())
    });

    host.dozen(["server", "stop"]).succeeds();
    host.start_server();

    assert_eq!(host.get("shop", "/").status, 200);
    assert!(is_alive(router), "the old router still holds its request");
    assert_ne!(host.router_pid(), router);
    assert!(slow.finish().starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_request_at_an_instance_that_drains_outlives_the_server_that_drained_it() {
    let (mut host, old) = serving();
    let write = client::Held::at(host.port(), "shop.localhost");
    wait_for("the request to be in flight", Duration::from_secs(30), || {
        (instances(&host, "shop")[0]["in_flight"] == 1).then_some(())
    });
    host.dozen(["config", "set", "-a", "shop", "ANSWER=second"]).succeeds();

    host.dozen(["server", "stop"]).succeeds();
    host.wait_for_control_end();

    assert!(is_alive(old));
    let answer = write.finish();
    assert!(answer.contains("hello v1 "), "{answer}");
    host.start_server();
    wait_for("the old instance to end", Duration::from_secs(30), || (!is_alive(old)).then_some(()));
    let log = host.dozen(["logs", "-a", "shop", "-n", "200"]).succeeds().stdout;
    assert!(!log.contains("at the drain limit"), "{log}");
    nothing_is_left_over(&host, &["shop"]);
}

#[test]
fn stopping_all_leaves_no_process_and_the_next_server_starts_what_was_wanted() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    stop(&host, &["--all"]);
    assert!(keepers(&host).is_empty());

    host.start_server();
    assert_eq!(host.get("shop", "/").status, 200);
    nothing_is_left_over(&host, &["shop"]);
}

#[test]
fn stopping_all_does_not_wait_for_what_drains_already() {
    let host = TestHost::start();
    let project = Project::small("shop");
    let server = project.folder().join("server.py");
    let text = std::fs::read_to_string(&server).expect("the app");
    // It waits for no request when it is told to end.
    let text = text.replace("daemon_threads = False", "daemon_threads = True");
    project.write("server.py", &text).commit("ends at once");
    host.up(&project);
    let mut held = Vec::new();
    for release in 2..5 {
        held.push(client::Held::at(host.port(), "shop.localhost"));
        wait_for("the request to be in flight", Duration::from_secs(30), || {
            let rows = instances(&host, "shop");
            (rows.iter().filter(|row| row["in_flight"] == 1).count() == held.len()).then_some(())
        });
        host.dozen(["config", "set", "-a", "shop", &format!("ANSWER={release}")]).succeeds();
    }
    let began = Instant::now();
    stop(&host, &["--all"]);
    // The drain limit is thirty seconds.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(keepers(&host).is_empty());
}

#[test]
fn what_down_stopped_stays_down_when_control_is_killed() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    host.dozen(["down", "-a", "shop"]).succeeds();
    host.kill_control();

    host.start_server();
    nothing_is_left_over(&host, &["shop"]);
    assert!(instances(&host, "shop").is_empty() && keepers(&host).is_empty());
}

#[test]
fn what_nobody_can_want_again_is_gone_after_the_next_start() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    let release = host.ps("shop")["release"].clone();
    host.kill_control();
    let digest = "0".repeat(64);
    let image = format!("images/{digest}.json");
    // The data of an app that a restored, older database does not know is kept: it may be the only copy.
    let kept =
        ["services/99/data", "logs/ghost/production", "deploys/ghost/production", "router/access/ghost"];
    let folders = ["builds/99/tree", "run/i/aaaaaaaaaa", "tmp/build-x"];
    for folder in kept.into_iter().chain(folders) {
        let mut maker = std::fs::DirBuilder::new();
        maker.recursive(true).mode(0o700).create(host.state().join(folder)).expect("a folder");
    }
    for file in ["incoming/99", "incoming/upload-x", &image] {
        std::fs::write(host.state().join(file), "").expect("a file");
    }

    host.start_server();
    for path in folders.into_iter().chain(["incoming/99", "incoming/upload-x", &image]) {
        assert!(!host.state().join(path).exists(), "{path}");
    }
    assert!(kept.iter().all(|path| host.state().join(path).exists()));
    assert_eq!(host.ps("shop")["release"], release);
    assert!(host.state().join("logs/shop/production").exists(), "what is owned stays");
    nothing_is_left_over(&host, &["shop"]);
    host.dozen(["config", "set", "-a", "shop", "ANSWER=salut"]).succeeds();
}

#[test]
fn a_host_whose_server_cannot_start_again_leaves_no_process_to_the_next_test() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    let (app, router) = (pid_of(&host, "shop", "web.1"), host.router_pid());
    let all = keepers(&host);
    host.kill_control();
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        std::fs::write(host.state().join(file), "no database").expect("damage");
    }
    drop(host);
    for pid in all.iter().map(|keeper| keeper.pid).chain([app, router]) {
        assert!(!is_alive(pid), "{pid}");
    }
}

#[test]
fn an_idle_control_that_is_killed_again_and_again_costs_no_request() {
    let (mut host, app) = serving();
    let load = super::load::Load::on(&host, "shop");
    for _ in 0..5 {
        host.kill_control();
        host.start_server();
    }
    load.stop();
    assert_eq!(pid_of(&host, "shop", "web.1"), app);
    nothing_is_left_over(&host, &["shop"]);
}
