//! What the router counts, and that it counts no more series than there are apps.

use std::{io::Write as _, sync::Arc, thread};

use dozen_model::route_table::StageRoute;
use parking_lot::Mutex;

use crate::{
    app::{App, Then, say},
    exposition::Exposition,
    host::{ClosedPort, Host, eventually, stage},
};

pub(crate) fn metrics(host: &Host) -> Exposition {
    Exposition::parse(&host.client().metrics().unwrap())
}

/// The number once it is this one: a request is over a moment after its answer has arrived.
#[track_caller]
fn becomes(host: &Host, name: &str, labels: &[(&str, &str)], expected: f64) {
    eventually(&format!("{name}{labels:?} is {expected}"), || {
        metrics(host).value(name, labels) == Some(expected)
    });
}

const ONE: (&str, &str) = ("app", "one");

#[test]
fn requests_are_counted_by_stage_method_and_class_with_their_bytes_and_time() {
    let host = Host::start();
    let app = App::start(|seen, stream| match seen.path() {
        "/missing" => {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nlost").unwrap();
            Then::KeepAlive
        }
        _ => say(stream, "hello"),
    });
    host.route(vec![stage("one", &[("1", app.address)]), stage("two", &[("2", app.address)])]);
    assert_eq!(metrics(&host).value("dozen_router_requests_total", &[]), None, "nothing was asked yet");
    let mut browser = host.browser();
    for _ in 0..3 {
        browser.get("one.test", "/").unwrap();
    }
    browser.get("one.test", "/missing").unwrap();
    browser.post("one.test", "/", "0123456789").unwrap();
    browser
        .send("POST / HTTP/1.1\r\nHost: one.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    browser.reply().unwrap();
    becomes(&host, "dozen_router_requests_total", &[ONE], 6.0);
    let counted = metrics(&host);
    for (name, labels, value) in [
        (
            "dozen_router_requests_total",
            &[ONE, ("stage", "production"), ("method", "GET"), ("status", "2xx")][..],
            3.0,
        ),
        ("dozen_router_requests_total", &[ONE, ("method", "GET"), ("status", "4xx")], 1.0),
        ("dozen_router_requests_total", &[ONE, ("method", "POST"), ("status", "2xx")], 2.0),
        ("dozen_router_request_bytes_total", &[ONE], 13.0),
        ("dozen_router_response_bytes_total", &[ONE], 29.0),
        ("dozen_router_request_duration_seconds_count", &[ONE], 6.0),
        ("dozen_router_requests_in_flight", &[ONE], 0.0),
        ("dozen_router_http_requests_total", &[("version", "1")], 6.0),
        ("dozen_router_http_requests_total", &[("version", "2")], 0.0),
        ("dozen_router_connections_total", &[("listener", "http")], 1.0),
        ("dozen_router_connections_open", &[], 1.0),
    ] {
        assert_eq!(counted.value(name, labels), Some(value), "{name} {labels:?}");
    }
    let took = counted.value("dozen_router_request_duration_seconds_sum", &[ONE]).unwrap();
    assert!(took > 0.0 && took < 60.0, "{took}");
    assert_eq!(counted.value("dozen_router_requests_total", &[("app", "two")]), None);
}

#[test]
fn hostile_hosts_methods_and_statuses_make_no_series_and_those_of_a_lost_app_go() {
    let host = Host::start();
    let app = App::start(|seen, stream| {
        let status = seen.path().trim_start_matches('/').parse::<u16>().unwrap_or(200);
        write!(stream, "HTTP/1.1 {status} Odd\r\nContent-Length: 0\r\n\r\n").unwrap();
        Then::KeepAlive
    });
    host.route(vec![stage("one", &[("1", app.address)])]);
    let ask = |method: &str, name: &str, path: &str| {
        let mut browser = host.browser();
        browser.send(&format!("{method} {path} HTTP/1.1\r\nHost: {name}\r\nContent-Length: 0\r\n\r\n"));
        browser.reply().unwrap();
    };
    ask("ODD", "one.test", "/200");
    ask("ODD", "one.test", "/700");
    ask("ODD", "nobody.test", "/");
    becomes(&host, "dozen_router_requests_total", &[("method", "other")], 2.0);
    let series = || host.client().metrics().unwrap().lines().count();
    let few = series();
    for index in 0..50 {
        ask(&format!("ODD{index}"), "one.test", &format!("/{}", 200 + index));
        ask(&format!("ODD{index}"), "one.test", &format!("/{}", 700 + index));
        ask("GET", &format!("nobody{index}.test"), "/");
    }
    becomes(&host, "dozen_router_requests_total", &[("method", "other")], 102.0);
    let many = metrics(&host);
    assert_eq!(series(), few);
    assert_eq!(many.value("dozen_router_refused_requests_total", &[("reason", "unknown_host")]), Some(51.0));
    host.route(vec![stage("two", &[("2", app.address)])]);
    assert_eq!(metrics(&host).value("dozen_router_requests_total", &[]), None);
    host.route(vec![stage("one", &[("1", app.address)])]);
    ask("GET", "one.test", "/200");
    becomes(&host, "dozen_router_requests_total", &[ONE], 1.0);
}

#[test]
fn what_waits_is_tried_again_or_comes_to_nothing_is_counted() {
    let (host, closed) = (Host::start(), ClosedPort::take());
    let deaths = Arc::new(Mutex::new(1));
    let app = App::start(move |_, stream| {
        let mut deaths = deaths.lock();
        if *deaths > 0 {
            *deaths -= 1;
            return Then::Close;
        }
        say(stream, "alive")
    });
    host.route(vec![StageRoute { waiting: true, ..stage("one", &[]) }]);
    let mut browser = host.browser();
    let asked = thread::spawn(move || browser.get("one.test", "/").unwrap().status);
    becomes(&host, "dozen_router_requests_held", &[ONE], 1.0);
    becomes(&host, "dozen_router_requests_in_flight", &[ONE], 1.0);
    host.route(vec![stage("one", &[("closed", closed.address()), ("1", app.address)])]);
    assert_eq!(asked.join().unwrap(), 200);
    becomes(&host, "dozen_router_requests_in_flight", &[ONE], 0.0);
    let counted = metrics(&host);
    for (name, labels, value) in [
        ("dozen_router_requests_held", &[ONE][..], 0.0),
        ("dozen_router_held_requests_total", &[ONE], 1.0),
        ("dozen_router_retries_total", &[ONE, ("reason", "connection_lost")], 1.0),
    ] {
        assert_eq!(counted.value(name, labels), Some(value), "{name} {labels:?}");
    }
    host.route(vec![stage("one", &[])]);
    assert_eq!(host.get("one.test", "/").status, 503);
    becomes(&host, "dozen_router_failures_total", &[ONE, ("code", "H14")], 1.0);
    let mut broken = host.browser();
    broken.send("GET / HTTP/1.1\r\nHost : one.test\r\n\r\n");
    assert_eq!(broken.reply().unwrap().status, 400);
    becomes(&host, "dozen_router_refused_requests_total", &[("reason", "malformed")], 1.0);
}
