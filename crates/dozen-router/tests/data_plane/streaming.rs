//! Nothing is buffered: what one side has sent, the other has, before either goes on.

use std::{
    io::{Read as _, Write as _},
    sync::mpsc,
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    app::{App, Then, say},
    host::{Host, eventually, stage},
    metrics::metrics,
};

#[test]
fn an_event_arrives_before_the_next_one_is_made() {
    let (next, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let app = App::start(move |_, stream| {
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .unwrap();
        for number in 0..3 {
            // In one piece: parts would arrive as parts.
            stream.write_all(format!("9\r\ndata: {number}\n\n\r\n").as_bytes()).unwrap();
            wait.lock().recv_timeout(Duration::from_secs(30)).unwrap();
        }
        stream.write_all(b"0\r\nX-Done: yes\r\n\r\n").unwrap();
        Then::KeepAlive
    });
    let host = Host::start();
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    browser.send("GET /events HTTP/1.1\r\nHost: one.test\r\n\r\n");
    assert_eq!(browser.head().unwrap().header("content-type"), Some("text/event-stream"));
    for number in 0..3 {
        assert_eq!(browser.chunk(), Some(format!("data: {number}\n\n")));
        let load = host.client().in_flight().unwrap()["1"];
        assert_eq!((load.requests, load.upgraded), (1, 0));
        next.send(()).unwrap();
    }
    assert_eq!(browser.chunk(), None);
    eventually("the request is done", || host.client().in_flight().unwrap()["1"].requests == 0);
}

#[test]
fn an_upload_arrives_while_it_is_sent() {
    let (part, parts) = mpsc::channel();
    let part = Mutex::new(part);
    let app = App::start(move |_, stream| {
        for _ in 0..2 {
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).unwrap();
            part.lock().send(bytes).unwrap();
        }
        say(stream, "taken")
    });
    let host = Host::start();
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    browser
        .send("PUT /stream HTTP/1.1\r\nHost: one.test\r\nExpect: 100-continue\r\nContent-Length: 8\r\n\r\n");
    assert_eq!(browser.head().unwrap().status, 100);
    for bytes in [*b"half", *b"rest"] {
        browser.stream.write_all(&bytes).unwrap();
        assert_eq!(parts.recv_timeout(Duration::from_secs(30)).unwrap(), bytes);
    }
    assert_eq!(browser.reply().unwrap().body, "taken");
}

#[test]
fn trailers_of_an_answer_reach_who_asked_for_them() {
    let app = App::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 2\r\n\r\n").unwrap();
        Then::Close
    });
    let host = Host::start();
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    browser.send("GET / HTTP/1.1\r\nHost: one.test\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n");
    assert!(browser.rest().to_ascii_lowercase().ends_with("0\r\nx-sum: 2\r\n\r\n"));
}

#[test]
fn an_answer_without_a_length_ends_with_its_connection() {
    let app = App::start(|_, stream| {
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nall of it").unwrap();
        Then::Close
    });
    let host = Host::start();
    host.route(vec![stage("one", &[("1", app.address)])]);
    assert_eq!(host.get("one.test", "/").body, "all of it");
}

/// An app that answers upgrades, and echoes.
fn echo() -> App {
    App::start(|seen, stream| {
        assert_eq!(seen.header("connection"), Some("upgrade"));
        let protocol = seen.header("upgrade").unwrap();
        write!(stream, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n").unwrap();
        let mut bytes = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            stream.write_all(&bytes[..read]).unwrap();
        }
        Then::Close
    })
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: one.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[test]
fn a_websocket_passes_and_is_closed_when_its_endpoint_must_go() {
    let (host, app) = (Host::start(), echo());
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    browser.send(UPGRADE);
    let head = browser.head().unwrap();
    assert_eq!((head.status, head.header("upgrade")), (101, Some("websocket")));
    assert_eq!(head.header("sec-websocket-accept"), Some("x"));
    browser.stream.write_all(b"\x81\x02hi").unwrap();
    assert_eq!(browser.bytes(4), b"\x81\x02hi");
    let load = host.client().in_flight().unwrap()["1"];
    assert_eq!((load.requests, load.upgraded), (0, 1));
    let counted = metrics(&host);
    for (name, value) in [
        ("dozen_router_upgrades_total", 1.0),
        ("dozen_router_upgrades_open", 1.0),
        ("dozen_router_requests_in_flight", 0.0),
    ] {
        assert_eq!(counted.value(name, &[]), Some(value), "{name}");
    }

    // A route change leaves it alone.
    let other = App::says("new");
    host.route(vec![stage("one", &[("2", other.address)])]);
    assert_eq!(host.get("one.test", "/").body, "new");
    browser.stream.write_all(b"\x81\x02yo").unwrap();
    assert_eq!(browser.bytes(4), b"\x81\x02yo");
    assert_eq!(host.client().in_flight().unwrap()["1"].upgraded, 1);

    assert_eq!(host.client().close_upgraded("1").unwrap(), 1);
    assert_eq!(browser.bytes(4), [0x88, 2, 0x03, 0xe9]);
    assert_eq!(browser.rest(), "");
    eventually("the endpoint is free", || {
        host.client().in_flight().unwrap().get("1").is_none_or(|load| load.upgraded == 0)
    });
    let counted = metrics(&host);
    for (name, value) in [
        ("dozen_router_upgrades_open", 0.0),
        ("dozen_router_request_bytes_total", 8.0),
        ("dozen_router_response_bytes_total", 11.0),
    ] {
        assert_eq!(counted.value(name, &[]), Some(value), "{name}");
    }
    eventually("its log line", || host.access_log("one").contains("status=101"));
}

#[test]
fn an_upgrade_that_the_app_declines_leaves_a_usable_connection() {
    let (host, app) = (Host::start(), App::says("no"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    browser.send(UPGRADE);
    assert_eq!(browser.reply().unwrap().body, "no");
    assert_eq!(browser.get("one.test", "/after").unwrap().status, 200);
}

#[test]
fn what_follows_an_upgrade_request_is_not_smuggled_past_the_router() {
    let (host, app) = (Host::start(), App::says("no"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    browser.send(&format!("{UPGRADE}GET /second HTTP/1.1\r\nHost: other.test\r\n\r\n"));
    assert_eq!(browser.reply().unwrap().status, 200);
    assert_eq!(browser.reply().unwrap().status, 404, "it is a request like any other");
    assert_eq!(app.seen.lock().len(), 1);
}

#[test]
fn an_unasked_upgrade_and_h2c_do_not_pass() {
    let app = App::start(|seen, stream| {
        assert_eq!(seen.header("upgrade"), None);
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
            .unwrap();
        Then::Close
    });
    let host = Host::start();
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    browser.send("GET / HTTP/1.1\r\nHost: one.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n");
    assert_eq!(browser.reply().unwrap().status, 502);
}

#[test]
fn an_upgrade_that_leaves_the_choice_to_the_app_is_not_asked_for() {
    let (host, app) = (Host::start(), App::says("plain"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    for upgrade in ["Upgrade: websocket, h2c", "Upgrade: websocket\r\nUpgrade: h2c"] {
        let mut browser = host.browser();
        browser.send(&format!(
            "GET / HTTP/1.1\r\nHost: one.test\r\nConnection: Upgrade\r\n{upgrade}\r\nHTTP2-Settings: AAA\r\n\r\n"
        ));
        assert_eq!(browser.reply().unwrap().body, "plain");
        let seen = app.seen.lock().pop().unwrap();
        for name in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(seen.header(name), None, "{upgrade:?}");
        }
    }
}

#[test]
fn an_app_that_changes_to_another_protocol_than_asked_is_not_connected() {
    let app = App::start(|seen, stream| {
        let protocol = seen.path().trim_start_matches('/');
        write!(
            stream,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n\r\n"
        )
        .unwrap();
        Then::Close
    });
    let host = Host::start();
    host.route(vec![stage("one", &[("1", app.address)])]);
    let ask = |protocol: &str| {
        let mut browser = host.browser();
        browser.send(&UPGRADE.replacen("/ws", &format!("/{protocol}"), 1));
        browser.head().unwrap()
    };
    assert_eq!(ask("h2c").status, 502);
    let agreed = ask("WebSocket");
    assert_eq!((agreed.status, agreed.header("upgrade")), (101, Some("WebSocket")), "as the app writes it");
}

#[test]
fn a_client_that_leaves_ends_its_request_at_the_app() {
    let (gone, told) = mpsc::channel();
    let gone = Mutex::new(gone);
    let app = App::start(move |_, stream| {
        // The router closes its side when its client does.
        gone.lock().send(stream.read(&mut [0]).map_err(|error| error.kind())).unwrap();
        Then::Close
    });
    let host = Host::start();
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    browser.send("GET / HTTP/1.1\r\nHost: one.test\r\n\r\n");
    eventually("the request is in flight", || host.client().in_flight().unwrap()["1"].requests == 1);
    drop(browser);
    told.recv_timeout(Duration::from_secs(30)).unwrap().unwrap_or(0);
    eventually("nothing is in flight", || host.client().in_flight().unwrap()["1"].requests == 0);
    eventually("its log line", || host.access_log("one").contains("status=499"));
    assert!(host.access_log("one").contains("at=info") && host.access_log("one").contains("code=H27"));
}
