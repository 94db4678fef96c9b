//! What the router decides before, or in place of, passing a request on: per stage, from
//! `[router]` of dozen.toml and by verbs, and for the whole server.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use crate::{
    client::{self, Answer},
    host::{TestHost, wait_for},
    project::Project,
};

/// A small app that declares this in dozen.toml.
fn declaring(name: &str, dozen_toml: &str) -> Project {
    let project = Project::small(name);
    project.write("dozen.toml", dozen_toml).commit("declared");
    project
}

/// A request with these header lines.
fn ask(host: &TestHost, first_line: &str, headers: &str) -> Answer {
    let request = format!("{first_line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    client::try_request(host.port(), &request).unwrap_or_else(|error| panic!("{first_line}: {error}"))
}

fn post(host: &TestHost, app: &str, bytes: usize) -> Answer {
    let head = format!("Host: {app}.localhost\r\nContent-Length: {bytes}\r\n");
    let request = format!("POST / HTTP/1.1\r\nConnection: close\r\n{head}\r\n{}", "x".repeat(bytes));
    client::try_request(host.port(), &request).unwrap_or_else(|error| panic!("POST: {error}"))
}

#[test]
fn a_release_brings_its_limits_and_the_next_one_takes_them_away() {
    let host = TestHost::start();
    let project = declaring("shop", "[router]\nmax_body = \"1K\"\nfirst_byte = \"300ms\"\n");
    host.up(&project);
    assert_eq!(post(&host, "shop", 1024).status, 200);
    let refused = post(&host, "shop", 1025);
    assert_eq!((refused.status, refused.header("connection")), (413, Some("close")));
    let late = host.get("shop", "/slow");
    assert_eq!((late.status, host.get("shop", "/").status), (504, 200));

    project.write("dozen.toml", "[stages.production.router]\nfirst_byte = \"20s\"\n").commit("patient");
    host.up(&project);
    assert_eq!((post(&host, "shop", 1025).status, host.get("shop", "/slow").status), (200, 200));
}

#[test]
fn only_listed_addresses_are_served_and_a_trusted_range_of_proxies_says_whose_it_is() {
    let host = TestHost::start_with(&[("DOZEN_TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.1")]);
    host.up(&declaring("shop", "[router]\nallow = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n"));
    for (headers, status) in [
        ("", 403),
        ("X-Forwarded-For: 192.0.2.7\r\n", 200),
        ("X-Forwarded-For: 192.0.2.7, 6.6.6.6\r\n", 403),
        ("X-Forwarded-For: 6.6.6.6, 192.0.2.8, 10.0.0.1\r\n", 200),
        ("Forwarded: for=\"[2001:db8::9]\";proto=https\r\n", 200),
        ("Forwarded: for=192.0.2.7\r\nX-Forwarded-For: 6.6.6.6\r\n", 403),
    ] {
        let answer = ask(&host, "GET /", &format!("Host: shop.localhost\r\n{headers}"));
        assert_eq!(answer.status, status, "{headers}");
    }
    let json = ask(&host, "GET /", "Host: shop.localhost\r\nAccept: application/json\r\n");
    assert_eq!((json.status, json.header("content-type")), (403, Some("application/json")));
    wait_for("the client's address in the log", Duration::from_secs(10), || {
        let log = host.dozen(["logs", "-a", "shop"]).succeeds().stdout;
        (log.contains("fwd=\"192.0.2.8\"") && log.contains("status=403")).then_some(())
    });
}

/// How long a connection lives on which half a head was sent.
fn half_a_head_lives(host: &TestHost) -> Duration {
    let began = Instant::now();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, host.port())).expect("the router");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop").expect("half a head");
    let _ = stream.read_to_end(&mut Vec::new());
    began.elapsed()
}

#[test]
fn another_limit_of_the_server_is_another_router_and_no_limit_is_refused_by_name() {
    let mut host = TestHost::start_with(&[("DOZEN_ROUTER_HEADER_READ", "5s")]);
    host.up(&Project::small("shop"));
    let first = host.router_pid();
    host.kill_control();
    host.start_server();
    assert_eq!(host.router_pid(), first, "the same limits are the same router");

    host.kill_control();
    host.set_env("DOZEN_ROUTER_HEADER_READ", "300ms");
    host.start_server();
    assert_ne!(host.router_pid(), first);
    let lived = half_a_head_lives(&host);
    assert!(lived < Duration::from_secs(4), "{lived:?}");
    assert_eq!(host.get("shop", "/").status, 200);

    let mut other = TestHost::without_server();
    other.set_env("DOZEN_ROUTER_CONNECT", "5");
    let refused = other.refused_start();
    let said = "error: `DOZEN_ROUTER_CONNECT`: `5` is not a duration";
    assert!(refused.stderr.starts_with(said), "{refused:#?}");
}
