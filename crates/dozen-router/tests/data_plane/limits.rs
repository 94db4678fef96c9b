//! What bounds a client: bytes and headers of a head, bytes of a body, connections.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use dozen_model::route_table::StageRoute;
use dozen_router::Limits;

use crate::{
    app::{App, Then, say},
    authority::{Authority, TlsBrowser},
    browser::Browser,
    frames::{Frames, Head, kind},
    host::{Host, eventually, stage},
};

fn get(path: &str) -> Head {
    Head::new(&[(":method", "GET"), (":scheme", "https"), (":authority", "one.test"), (":path", path)])
}

fn of_a_kilobyte(app: &App) -> StageRoute {
    let mut route = stage("one", &[("1", app.address)]);
    route.policy.declared.max_body = Some("1K".parse().unwrap());
    route
}

#[test]
fn a_body_larger_than_its_stage_takes_gets_413_however_it_is_framed() {
    let (host, app) = (Host::start(), App::says("taken"));
    host.route(vec![of_a_kilobyte(&app)]);
    for (length, status) in [(1024, 200), (1025, 413)] {
        let body = &"x".repeat(length);
        let mut browser = host.browser();
        assert_eq!(browser.post("one.test", "/", body).unwrap().status, status, "{length} bytes");
        let (first, second) = body.split_at(1000);
        let mut browser = host.browser();
        browser.send("POST / HTTP/1.1\r\nHost: one.test\r\nTransfer-Encoding: chunked\r\n\r\n");
        browser.send(&format!("3e8\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", second.len()));
        let reply = browser.reply().unwrap();
        assert_eq!(reply.status, status, "{length} bytes in chunks");
        if status == 413 {
            assert_eq!((reply.header("connection"), browser.rest().as_str()), (Some("close"), ""));
        }
    }
    // Nothing past the limit has reached the app, and what did is no whole request.
    let seen = app.seen.lock();
    let bodies: Vec<_> = seen.iter().map(|seen| seen.body.len()).collect();
    assert!(bodies.iter().all(|length| *length <= 1024), "{bodies:?}");
}

#[test]
fn heads_are_bounded_as_the_server_says() {
    let app = App::says("read");
    let host = Host::with(|limits| (limits.head_bytes, limits.headers) = (2 << 10, 200));
    host.route(vec![stage("one", &[("1", app.address)])]);
    let status = |more: String| {
        let mut browser = host.browser();
        browser.send(&format!("GET / HTTP/1.1\r\nHost: one.test\r\n{more}\r\n"));
        browser.reply().unwrap().status
    };
    assert_eq!(status("a:\r\n".repeat(199)), 200);
    assert_eq!(status("a:\r\n".repeat(200)), 431);
    assert_eq!(status(format!("a: {}\r\n", "x".repeat(1 << 10))), 200);
    assert_eq!(status(format!("a: {}\r\n", "x".repeat(2 << 10))), 431);
}

#[test]
fn a_client_with_all_its_connections_is_told_so_and_another_is_served() {
    let app = App::says("served");
    let host = Host::with(|limits| limits.connections_per_client = 2);
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut held: Vec<Browser> = (0..2).map(|_| host.browser()).collect();
    for browser in &mut held {
        assert_eq!(browser.get("one.test", "/").unwrap().status, 200);
    }
    let turned_away = host.browser().get("one.test", "/").unwrap();
    assert_eq!((turned_away.status, turned_away.header("retry-after")), (503, Some("5")));
    // The whole of 127.0.0.0/8 is this machine's.
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    other.bind(&std::net::SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    other.connect(&host.address.into()).unwrap();
    let mut other = std::net::TcpStream::from(other);
    write!(other, "GET / HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n").unwrap();
    let answer = std::io::read_to_string(other).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("served"), "{answer}");
    held.clear();
    eventually("a place is free again", || {
        host.browser().get("one.test", "/").is_some_and(|reply| reply.status == 200)
    });
}

/// A router with these limits, and an app behind TLS that answers `/large` with more than a client's
/// buffers take.
fn secure(change: impl FnOnce(&mut Limits)) -> (Host, App, Authority) {
    let app = App::start(|seen, stream| {
        if seen.path() != "/large" {
            return say(stream, "served");
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        // Until the router gives up.
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
        Then::Close
    });
    let (host, authority) = (Host::with(change), Authority::new());
    host.route(vec![stage("one", &[("1", app.address)])]);
    host.show(vec![authority.certificate(&["one.test"])]);
    (host, app, authority)
}

fn nothing_is_left(host: &Host) {
    eventually("nothing is in flight", || {
        host.client().in_flight().unwrap().get("1").is_none_or(|load| load.requests == 0)
    });
    eventually("nothing is open", || host.client().status().unwrap().open_connections == 0);
}

#[test]
fn a_head_that_trickles_in_through_tls_is_ended_and_nobody_waits_for_it() {
    let limit = Duration::from_millis(600);
    let (host, _app, authority) = secure(|limits| limits.header_read = limit);
    let config = authority.client_config(&["http/1.1"]);
    let began = Instant::now();
    let mut slow: Vec<TlsBrowser> =
        (0..20).map(|_| TlsBrowser::connect(host.tls, "one.test", &config).unwrap()).collect();
    // Byte by byte, and without an end.
    let mut head = b"GET / HTTP/1.1\r\nHost: one.test\r\nX: ".iter().chain(std::iter::repeat(&b'y'));
    while began.elapsed() < 2 * limit {
        let byte = [*head.next().unwrap()];
        slow.iter_mut().for_each(|one| one.stream.get_mut().write_all(&byte).unwrap());
        let mut other = TlsBrowser::connect(host.tls, "one.test", &config).unwrap();
        assert_eq!(other.get("one.test", "/").unwrap().body, "served");
        std::thread::sleep(Duration::from_millis(20));
    }
    for mut one in slow {
        assert_eq!(one.head().map(|reply| reply.status), Some(408));
    }
    assert!(began.elapsed() < 10 * limit, "{:?}", began.elapsed());
    nothing_is_left(&host);
}

#[test]
fn a_head_over_http_2_that_does_not_come_to_its_end_is_ended() {
    let (host, _app, authority) = secure(|limits| {
        limits.header_read = Duration::from_millis(400);
        limits.keep_alive = Duration::from_millis(800);
    });
    for is_first in [true, false] {
        let mut frames = Frames::connect(host.tls, "one.test", &authority.client_config(&["h2"]));
        if !is_first {
            let id = frames.request(&get("/"), true);
            assert_eq!(frames.finish(id).unwrap().body, "served");
        }
        let began = Instant::now();
        frames.send(kind::HEADERS, 0, 7, &get("/").encoded());
        frames.goes_away();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    nothing_is_left(&host);
}

#[test]
fn a_body_that_does_not_come_through_tls_or_http_2_is_given_up() {
    let (host, _app, authority) = secure(|limits| limits.idle = Duration::from_millis(400));
    let mut browser =
        TlsBrowser::connect(host.tls, "one.test", &authority.client_config(&["http/1.1"])).unwrap();
    browser.send("POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 9\r\n\r\nhalf");
    assert_eq!(browser.head().map(|reply| reply.status), Some(408));
    drop(browser);
    let mut frames = Frames::connect(host.tls, "one.test", &authority.client_config(&["h2"]));
    let id = frames.request(&get("/").with(":method", "POST"), false);
    frames.body(id, b"half", false).unwrap();
    assert_eq!(frames.finish(id).map(|reply| reply.status), Ok(408));
    let id = frames.request(&get("/"), true);
    assert_eq!(frames.finish(id).unwrap().body, "served", "others of its connection go on");
    drop(frames);
    eventually("both are told", || host.access_log("one").matches("code=H28").count() == 2);
    nothing_is_left(&host);
}

#[test]
fn an_answer_that_is_not_read_through_tls_or_http_2_is_given_up() {
    let (host, _app, authority) = secure(|limits| limits.idle = Duration::from_millis(400));
    let mut browser =
        TlsBrowser::connect(host.tls, "one.test", &authority.client_config(&["http/1.1"])).unwrap();
    browser.send("GET /large HTTP/1.1\r\nHost: one.test\r\n\r\n");
    // This one opens its window so far that the socket is what is full.
    let mut frames = Frames::connect(host.tls, "one.test", &authority.client_config(&["h2"]));
    frames.open_window(1 << 30).unwrap();
    frames.request(&get("/large"), true);
    eventually("both are given up", || host.access_log("one").matches("code=").count() == 2);
    drop((browser, frames));
    nothing_is_left(&host);
}

#[test]
fn a_body_larger_than_its_stage_takes_gets_413_over_http_2() {
    let (host, app, authority) = secure(|_| {});
    host.route(vec![of_a_kilobyte(&app)]);
    let mut frames = Frames::connect(host.tls, "one.test", &authority.client_config(&["h2"]));
    for (length, status) in [(1024, 200), (1025, 413)] {
        for is_told in [true, false] {
            let mut head = get("/").with(":method", "POST");
            if is_told {
                head = head.and("content-length", &length.to_string());
            }
            let id = frames.request(&head, false);
            frames.body(id, &vec![b'x'; length], true).unwrap();
            assert_eq!(frames.finish(id).map(|reply| reply.status), Ok(status), "{length}, told: {is_told}");
        }
    }
    let bodies: Vec<_> = app.seen.lock().iter().map(|seen| seen.body.len()).collect();
    assert!(bodies.iter().all(|length| *length <= 1024), "{bodies:?}");
}
