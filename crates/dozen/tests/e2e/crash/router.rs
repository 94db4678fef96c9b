//! The router is killed: with control alive, dead, and at the same moment.

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use super::{
    load::Load,
    processes::{instances, is_alive, kill, pid_of},
};
use crate::{
    client,
    host::{TestHost, wait_for},
    project::Project,
};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n";

/// Requests that begin now are all answered.
#[track_caller]
fn requests_are_answered(host: &TestHost) {
    for _ in 0..20 {
        let answer = client::try_request(host.port(), REQUEST).expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[test]
fn connections_queue_while_a_killed_router_is_started_again() {
    let host = TestHost::start();
    host.up(&Project::small("shop"));
    for _ in 0..3 {
        let router = host.router_pid();
        kill(router);
        requests_are_answered(&host);
        assert_ne!(host.router_pid(), router);
    }
    host.dozen(["config", "set", "-a", "shop", "ANSWER=salut"]).succeeds();
    assert!(host.get("shop", "/").body.starts_with("salut v2 "), "the new router takes new tables");
}

/// A process that `parent` has started and that is none of `known`.
fn new_child(parent: u32, known: &[u32]) -> Option<u32> {
    let threads = std::fs::read_dir(format!("/proc/{parent}/task")).ok()?;
    let children = threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
        .collect::<Vec<_>>()
        .join(" ");
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid| !known.contains(pid))
}

#[test]
fn a_router_killed_again_within_its_start_keeps_nobody_waiting() {
    let host = TestHost::start();
    host.up(&Project::small("shop"));
    let control = host.control_pid();
    for _ in 0..5 {
        let first = host.router_pid();
        // Shims are its children too.
        let mut known = Vec::new();
        while let Some(child) = new_child(control, &known) {
            known.push(child);
        }
        kill(first);
        let second = wait_for("the next router", Duration::from_secs(10), || new_child(control, &known));
        kill(second);
        let began = Instant::now();
        requests_are_answered(&host);
        assert!(began.elapsed() < Duration::from_secs(8), "waited for {:?}", began.elapsed());
    }
    host.dozen(["config", "set", "-a", "shop", "ANSWER=salut"]).succeeds();
    assert!(host.get("shop", "/").body.starts_with("salut v2 "), "the last router takes new tables");
}

#[test]
fn a_router_that_an_earlier_control_started_is_started_again_too() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    let router = host.router_pid();
    host.kill_control();
    requests_are_answered(&host);
    host.start_server();
    assert_eq!(host.router_pid(), router, "it was adopted");

    kill(router);
    requests_are_answered(&host);
    assert_ne!(host.router_pid(), router);
    host.dozen(["config", "set", "-a", "shop", "ANSWER=salut"]).succeeds();
    assert!(host.get("shop", "/").body.starts_with("salut v2 "));
}

#[test]
fn a_router_killed_while_control_is_dead_comes_back_with_it() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    let (router, app) = (host.router_pid(), pid_of(&host, "shop", "web.1"));
    host.kill_control();
    kill(router);
    assert!(is_alive(app));

    host.start_server();
    requests_are_answered(&host);
    assert_eq!(pid_of(&host, "shop", "web.1"), app);
}

/// Makes the stored table one that a clock, since set back, has numbered.
fn renumber_the_table(host: &TestHost) {
    let path = host.state().join("router/table/table.json");
    let text = std::fs::read_to_string(&path).expect("the router's table");
    let mut table: serde_json::Value = serde_json::from_str(&text).expect("a table");
    let later = table["generation"].as_u64().expect("a number") + 24 * 60 * 60 * 1000;
    table["generation"] = later.into();
    std::fs::write(path, table.to_string()).expect("a later table");
}

#[test]
fn tables_are_taken_also_after_the_clock_was_set_back() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    let router = host.router_pid();
    host.kill_control();
    kill(router);
    renumber_the_table(&host);

    // A router that is started with it, then one that is found with it.
    host.start_server();
    host.dozen(["config", "set", "-a", "shop", "ANSWER=salut"]).succeeds();
    assert!(host.get("shop", "/").body.starts_with("salut v2 "));
    host.kill_control();
    host.start_server();
    host.dozen(["config", "set", "-a", "shop", "ANSWER=hej"]).succeeds();
    assert!(host.get("shop", "/").body.starts_with("hej v3 "));
}

#[test]
fn control_and_router_killed_at_once_come_back_and_the_app_never_stopped() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    let (router, app) = (host.router_pid(), pid_of(&host, "shop", "web.1"));
    kill(router);
    host.kill_control();
    // Control may have started another one in between; that one is adopted.
    host.start_server();
    requests_are_answered(&host);
    assert_eq!(pid_of(&host, "shop", "web.1"), app);
    host.dozen(["ps", "restart", "-a", "shop"]).succeeds();
    requests_are_answered(&host);
    wait_for("the old instance to end", Duration::from_secs(30), || (!is_alive(app)).then_some(()));
}

/// An address that nobody listens on.
fn free_address() -> String {
    let somebody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    somebody.local_addr().expect("its address").to_string()
}

#[test]
fn a_router_with_other_settings_hands_over_without_losing_a_request() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    host.dozen(["run", "-a", "shop", "--detach", "--", "sleep", "60"]).succeeds();
    let (router, port) = (host.router_pid(), host.port());
    let slow = client::Held::at(port, "shop.localhost");
    wait_for("the request to be in flight", Duration::from_secs(30), || {
        instances(&host, "shop").iter().any(|row| row["in_flight"] == 1).then_some(())
    });
    let load = Load::on(&host, "shop");

    host.kill_control();
    host.set_env("DOZEN_TRUSTED_PROXIES", "127.0.0.1");
    host.start_server();

    let info = host.dozen(["server", "status", "--json"]).succeeds().json();
    assert_ne!(info["router_pid"], router);
    assert_eq!(info["instances"], 1, "what runs once is none: {info}");
    requests_are_answered(&host);
    load.stop();
    assert!(is_alive(router), "it still holds its request");
    assert!(slow.finish().starts_with("HTTP/1.1 200 "));
    wait_for("the old router to end", Duration::from_secs(30), || (!is_alive(router)).then_some(()));

    let second = host.router_pid();
    host.kill_control();
    host.start_server();
    assert_eq!(host.router_pid(), second, "the same settings need no other router");
}

#[test]
fn a_router_at_another_address_is_started_where_the_server_says_it_listens() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    let (router, old) = (host.router_pid(), host.port());
    host.kill_control();

    host.set_env("DOZEN_LISTEN", &free_address());
    host.start_server();

    assert_ne!(host.port(), old);
    requests_are_answered(&host);
    wait_for("the old router to end", Duration::from_secs(30), || (!is_alive(router)).then_some(()));
    client::try_request(old, REQUEST).expect_err("nobody listens there any more");
}

/// What clients on new connections met; what failed with when it had begun and ended.
struct Met {
    answered: usize,
    failed: Vec<([Instant; 2], String)>,
}

/// Asks over new connections until `ending`.
fn ask(port: u16, ending: &AtomicBool) -> Met {
    let mut met = Met { answered: 0, failed: Vec::new() };
    while !ending.load(Ordering::Relaxed) {
        let began = Instant::now();
        match client::try_request(port, REQUEST) {
            Ok(answer) if answer.status == 200 => met.answered += 1,
            other => met.failed.push(([began, Instant::now()], format!("{other:?}"))),
        }
    }
    met
}

#[test]
fn a_killed_router_loses_only_what_it_held() {
    let host = TestHost::start();
    host.up(&Project::small("shop"));
    let ending = AtomicBool::new(false);
    let mut kills = Vec::new();
    let mut met = Met { answered: 0, failed: Vec::new() };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| ask(host.port(), &ending))).collect();
        for _ in 0..5 {
            let (router, alive) = (host.router_pid(), Instant::now());
            kill(router);
            let gone = Instant::now();
            client::try_request(host.port(), REQUEST).expect("an answer");
            println!("answered {:?} after the kill", gone.elapsed());
            requests_are_answered(&host);
            kills.push([alive, gone]);
        }
        ending.store(true, Ordering::Relaxed);
        for client in clients {
            let one = client.join().expect("a client");
            met.answered += one.answered;
            met.failed.extend(one.failed);
        }
    });
    println!("{} answered, {} failed over {} kills", met.answered, met.failed.len(), kills.len());
    assert!(met.answered > 100, "{}", met.answered);
    for ([began, ended], why) in &met.failed {
        // One that began when the router was gone has waited for the next one.
        let was_held = kills.iter().any(|[alive, gone]| began < gone && ended > alive);
        assert!(was_held, "lost without a kill, or after it: {why}");
    }
    assert!(met.failed.len() <= 4 * kills.len(), "one a client and kill at most: {:?}", met.failed);
}
