//! What bounds a client: bytes and headers of a head, bytes of a body, connections.

use std::io::Write as _;

use dozen_model::route_table::StageRoute;

use crate::{
    app::App,
    browser::Browser,
    host::{Host, eventually, stage},
};

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
