//! Shims, apps and whole machines that die.

use std::{fs, time::Duration};

use super::{
    load::Load,
    processes::{instances, is_alive, keepers, kill, kill_keepers, nothing_is_left_over, pid_of},
    serving,
};
use crate::{
    client,
    host::{TestHost, wait_for},
    project::Project,
};

/// Ends everything of a host whose control is dead already, as a reboot would.
pub(crate) fn pull_the_plug(host: &TestHost, router: u32) {
    kill_keepers(host);
    kill(router);
    fs::remove_dir_all(host.state().join("run")).expect("the run folder");
}

/// The pid of the only shim.
fn shim(host: &TestHost) -> u32 {
    let shims: Vec<u32> = keepers(host).iter().filter(|one| !one.is_init).map(|one| one.pid).collect();
    assert_eq!(shims.len(), 1, "{shims:?}");
    shims[0]
}

fn has_logged(host: &TestHost, app: &str, text: &str) -> bool {
    host.dozen(["logs", "-a", app, "-n", "200"]).succeeds().stdout.contains(text)
}

#[test]
fn a_killed_shim_costs_no_request_and_its_app_logs_on() {
    let (host, app) = serving();
    let load = Load::on(&host, "shop");
    for round in 0..3 {
        let killed = shim(&host);
        kill(killed);
        wait_for("another shim", Duration::from_secs(30), || {
            keepers(&host).iter().any(|one| !one.is_init && one.pid != killed).then_some(())
        });
        let path = format!("/after-{round}");
        assert_eq!(host.get("shop", &path).status, 200);
        wait_for("the request in the log", Duration::from_secs(30), || {
            has_logged(&host, "shop", &path).then_some(())
        });
    }
    load.stop();
    assert_eq!(pid_of(&host, "shop", "web.1"), app, "the app itself went on");
    nothing_is_left_over(&host, &["shop"]);
}

#[test]
fn an_instance_that_crashes_beside_others_fails_nobody_who_reads() {
    let (host, _) = serving();
    host.dozen(["ps", "scale", "-a", "shop", "web=2"]).succeeds();
    let loads: Vec<_> = (0..3).map(|_| Load::on(&host, "shop")).collect();
    for name in ["web.1", "web.2", "web.1", "web.2"] {
        let app = pid_of(&host, "shop", name);
        kill(app);
        wait_for("the instance to be started again", Duration::from_secs(30), || {
            let up =
                instances(&host, "shop").into_iter().find(|row| row["name"] == name && row["state"] == "up");
            up.filter(|row| row["pid"] != app)
        });
    }
    loads.into_iter().for_each(Load::stop);
}

#[test]
fn a_killed_shim_with_its_init_is_an_instance_that_starts_again() {
    let (host, before) = serving();
    kill_keepers(&host);
    wait_for("the app to be started again", Duration::from_secs(30), || {
        let up = instances(&host, "shop").into_iter().find(|row| row["state"] == "up");
        up.filter(|row| row["pid"] != before)
    });
    assert_eq!(host.get("shop", "/").status, 200);
    nothing_is_left_over(&host, &["shop"]);
}

#[test]
fn an_instance_of_which_nothing_is_left_is_replaced() {
    let (host, before) = serving();
    let all = keepers(&host);
    let (shim, init) = (shim(&host), all.iter().find(|one| one.is_init).expect("an init"));
    fs::remove_dir_all(host.state().join("run/i").join(&init.launch)).expect("its folder");
    kill(shim);
    kill(init.pid);

    assert_eq!(host.get("shop", "/").status, 200, "the request waits for the next one");
    assert_ne!(pid_of(&host, "shop", "web.1"), before);
    nothing_is_left_over(&host, &["shop"]);
}

#[test]
fn an_app_that_dies_while_control_is_dead_is_started_again_without_it() {
    let (mut host, killed) = serving();
    host.kill_control();

    kill(killed);
    let request = "GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n";
    wait_for("the app to serve again", Duration::from_secs(30), || {
        client::try_request(host.port(), request).ok().filter(|answer| answer.status == 200)
    });

    host.start_server();
    let row = wait_for("the app in ps", Duration::from_secs(30), || {
        instances(&host, "shop").into_iter().find(|row| row["state"] == "up")
    });
    assert_eq!(row["restarts"], 1, "{row}");
    nothing_is_left_over(&host, &["shop"]);
}

#[test]
fn an_app_that_keeps_dying_says_why_in_ps() {
    let host = TestHost::start();
    let project = Project::small("shop");
    project
        .write("Procfile", "web: /usr/bin/python3 server.py\nworker: sh -c 'kill -SEGV $$'\n")
        .commit("worker");
    host.up(&project);
    host.dozen(["ps", "scale", "-a", "shop", "worker=1"]).fails_with(1);
    let row = wait_for("the worker to wait for its next start", Duration::from_secs(30), || {
        instances(&host, "shop")
            .into_iter()
            .find(|row| row["name"] == "worker.1" && row["state"] == "crashed")
    });
    assert_eq!(row["reason"], "signal 11 (SIGSEGV)", "{row}");
    assert!(row["starts_again_at"].is_i64(), "{row}");
    let said = "crashed: signal 11 (SIGSEGV), starts again in ";
    wait_for("the reason and the next start in `ps`", Duration::from_secs(10), || {
        host.dozen(["ps", "-a", "shop"]).succeeds().stdout.contains(said).then_some(())
    });
}

#[test]
fn after_a_reboot_everything_wanted_comes_back_and_nothing_else() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    host.dozen(["ps", "scale", "-a", "shop", "web=2"]).succeeds();
    host.up(&Project::small("resting"));
    host.dozen(["down", "-a", "resting"]).succeeds();
    let router = host.router_pid();
    let before = [pid_of(&host, "shop", "web.1"), pid_of(&host, "shop", "web.2")];
    host.kill_control();
    pull_the_plug(&host, router);
    assert!(before.iter().all(|pid| !is_alive(*pid)));

    host.start_server();
    assert_eq!(host.get("shop", "/").status, 200, "a request is held until an instance is ready");
    wait_for("both instances", Duration::from_secs(30), || {
        (host.up_instances("shop") == ["web.1", "web.2"]).then_some(())
    });
    assert_eq!(instances(&host, "resting").len(), 0, "what `down` stopped stays down");
    nothing_is_left_over(&host, &["shop", "resting"]);
}

#[test]
fn a_detached_one_off_process_outlives_control_and_its_end_is_recorded() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    host.dozen(["run", "-a", "shop", "--detach", "--", "sh", "-c", "echo begun; sleep 60; exit 7"])
        .succeeds();
    host.dozen(["run", "-a", "shop", "--detach", "--", "sh", "-c", "echo begun; sleep 60; exit 7"])
        .succeeds();
    let first = pid_of(&host, "shop", "run.1");
    let second = pid_of(&host, "shop", "run.2");
    host.kill_control();
    assert!(is_alive(first), "it goes on without control");
    kill(first);

    host.start_server();
    wait_for("the end that nobody saw", Duration::from_secs(30), || {
        has_logged(&host, "shop", "run.1 ended: signal 9 (SIGKILL)").then_some(())
    });
    assert_eq!(pid_of(&host, "shop", "run.2"), second, "the other one was adopted");
    kill(second);
    wait_for("the end under the new control", Duration::from_secs(30), || {
        has_logged(&host, "shop", "run.2 ended: signal 9 (SIGKILL)").then_some(())
    });
    nothing_is_left_over(&host, &["shop"]);
}
