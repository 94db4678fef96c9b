//! Instances that do not do their work: out of rotation, tried again, and never the last one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use dozen_model::{manifest::RouterSettings, route_policy::RoutePolicy, route_table::StageRoute};

use crate::{
    app::{App, Then, say},
    host::{ClosedPort, Host, eventually, stage},
    metrics::metrics,
};

/// How many instances are in this state.
fn instances(host: &Host, state: &str) -> Option<f64> {
    metrics(host).value("dozen_router_instances", &[("state", state)])
}

fn ejections(host: &Host, reason: &str) -> Option<f64> {
    metrics(host).value("dozen_router_ejections_total", &[("reason", reason)])
}

fn retries(host: &Host) -> f64 {
    metrics(host).value("dozen_router_retries_total", &[]).unwrap_or_default()
}

#[test]
fn an_instance_that_refuses_is_passed_over_until_it_takes_connections_again() {
    let (host, alive) = (Host::start(), App::says("alive"));
    let mut dying = App::says("dying");
    let address = dying.address;
    host.route(vec![stage("one", &[("a", alive.address), ("b", address)])]);
    dying.stop();
    let mut browser = host.browser();
    for _ in 0..20 {
        assert_eq!(browser.post("one.test", "/", "x").unwrap().body, "alive");
    }
    assert_eq!((ejections(&host, "refused"), instances(&host, "ejected")), (Some(1.0), Some(1.0)));
    assert_eq!(retries(&host), 1.0, "only the first request has found out");
    eventually("it is told", || {
        let told = "router at=warning instance=web.2 desc=\"out of rotation: it takes no connections\"";
        host.access_log("one").contains(told)
    });
    let again = App::start_at(address, |_, stream| say(stream, "again"));
    eventually("it is back", || instances(&host, "in_rotation") == Some(2.0));
    assert!(again.seen.lock().is_empty(), "no client's request was its trial");
    let mut said: Vec<String> = (0..2).map(|_| browser.post("one.test", "/", "x").unwrap().body).collect();
    said.sort();
    assert_eq!(said, ["again", "alive"]);
    eventually("that is told", || {
        host.access_log("one").contains("router at=info instance=web.2 desc=\"back in rotation\"")
    });
}

#[test]
fn an_instance_that_never_answers_is_ejected_and_one_lost_answer_is_not_enough() {
    let host = Host::start();
    let is_broken = Arc::new(AtomicBool::new(false));
    let broken = Arc::clone(&is_broken);
    let odd = App::start(move |seen, stream| {
        if broken.load(SeqCst) || seen.path() == "/poison" { Then::Close } else { say(stream, "odd") }
    });
    let alive = App::says("alive");
    host.route(vec![stage("one", &[("a", alive.address), ("b", odd.address)])]);
    let mut browser = host.browser();
    let mut ask = |path: &str| browser.post("one.test", path, "x").unwrap().status;
    for _ in 0..20 {
        ask("/poison");
        // One of two goes to the other instance.
        (0..2).for_each(|_| assert_eq!(ask("/"), 200));
    }
    assert_eq!(ejections(&host, "lost"), Some(0.0));
    is_broken.store(true, SeqCst);
    let lost = (0..20).filter(|_| ask("/") == 502).count();
    assert!((3..=12).contains(&lost), "{lost} of 20");
    assert!(ejections(&host, "lost") >= Some(1.0));
}

#[test]
fn when_all_are_out_all_are_tried_and_the_only_one_is_never_out() {
    let (host, closed) = (Host::start(), [ClosedPort::take(), ClosedPort::take()]);
    let [one, other] = [closed[0].address(), closed[1].address()];
    let short = |route: StageRoute| StageRoute { hold_limit: Duration::from_millis(200), ..route };
    host.route(vec![short(stage("one", &[("a", one), ("b", other)])), short(stage("two", &[("c", one)]))]);
    assert_eq!((host.get("one.test", "/").status, host.get("two.test", "/").status), (503, 503));
    let of = |app| metrics(&host).value("dozen_router_instances", &[("app", app), ("state", "ejected")]);
    assert_eq!((of("one"), of("two")), (Some(2.0), Some(0.0)));
    let route =
        StageRoute { hold_limit: Duration::from_secs(20), ..stage("one", &[("a", one), ("b", other)]) };
    host.route(vec![route]);
    drop(closed);
    let _again = App::start_at(other, |_, stream| say(stream, "again"));
    assert_eq!(host.get("one.test", "/").body, "again");
}

/// Probed every 20 ms, and out after two failures.
fn probed(route: StageRoute) -> StageRoute {
    let declared = RouterSettings {
        probe: Some("/healthz".into()),
        probe_interval: Some(Duration::from_millis(20)),
        probe_failures: Some(2),
        ..RouterSettings::default()
    };
    StageRoute { policy: RoutePolicy { declared, ..RoutePolicy::default() }, ..route }
}

/// An app whose health page says what the switch says, and that names itself on every other.
fn switched(name: &'static str) -> (App, Arc<AtomicBool>) {
    let is_well = Arc::new(AtomicBool::new(true));
    let well = Arc::clone(&is_well);
    let app = App::start(move |seen, stream| {
        if seen.path() == "/healthz" && !well.load(SeqCst) {
            use std::io::Write as _;
            stream.write_all(b"HTTP/1.1 500 Bad\r\nContent-Length: 0\r\n\r\n").unwrap();
            return Then::Close;
        }
        say(stream, name)
    });
    (app, is_well)
}

#[test]
fn a_probe_that_fails_takes_an_instance_out_but_never_the_last_one() {
    let (host, (one, one_is_well), (two, two_is_well)) = (Host::start(), switched("one"), switched("two"));
    let endpoints = [("a", one.address), ("b", two.address)];
    host.route(vec![probed(stage("one", &endpoints))]);
    eventually("probes pass", || {
        metrics(&host).value("dozen_router_probes_total", &[("outcome", "passed")]) >= Some(4.0)
    });
    let probe = one.seen.lock()[0].clone();
    assert_eq!((probe.line.as_str(), probe.header("host")), ("GET /healthz HTTP/1.1", Some("one.test")));
    let said = || {
        let mut browser = host.browser();
        let mut said: Vec<String> = (0..4).map(|_| browser.get("one.test", "/").unwrap().body).collect();
        said.sort();
        said.dedup();
        said
    };
    assert_eq!(said(), ["one", "two"]);
    one_is_well.store(false, SeqCst);
    eventually("one is out", || instances(&host, "unwell") == Some(1.0));
    assert_eq!((said(), ejections(&host, "probe")), (vec!["two".to_owned()], Some(1.0)));
    two_is_well.store(false, SeqCst);
    eventually("both fail", || instances(&host, "unwell") == Some(2.0));
    assert_eq!(said(), ["one", "two"]);
    let log = || host.access_log("one");
    eventually("both are told", || {
        log().contains("instance=web.1 desc=\"out of rotation: `/healthz` failed 2 times: status 500\"")
            && log().contains(
                "instance=web.2 desc=\"kept in rotation, as no other instance is: `/healthz` failed 2",
            )
    });
    one_is_well.store(true, SeqCst);
    eventually("one is back", || instances(&host, "in_rotation") == Some(1.0));
    assert_eq!(said(), ["one"]);
    eventually("that is told", || log().contains("instance=web.1 desc=\"`/healthz` answers again\""));

    // A stage that asks for no probe any more has nobody out.
    host.route(vec![stage("one", &endpoints)]);
    eventually("nobody is out", || instances(&host, "in_rotation") == Some(2.0));
    assert!(!log().contains("path=\"/healthz\""), "a probe is no request of the log");
}
