//! Which app a request reaches, and with which headers.

use crate::{
    app::{App, Then, say},
    host::{Host, eventually, stage},
};

#[test]
fn a_host_name_reaches_its_app_whatever_its_case_and_port() {
    let (host, one, two) = (Host::start(), App::says("one"), App::says("two"));
    host.route(vec![stage("one", &[("1", one.address)]), stage("two", &[("2", two.address)])]);
    for (name, body) in [("one.test", "one"), ("TWO.Test:8080", "two"), ("two.test.", "two")] {
        assert_eq!(host.get(name, "/").body, body, "{name}");
    }
    assert_eq!(host.get("three.test", "/").status, 404);
    assert_eq!(host.get("x.one.test", "/").status, 404);
}

#[test]
fn the_bare_address_serves_the_only_app() {
    let (host, app) = (Host::start(), App::says("only"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    for name in ["127.0.0.1", "localhost:1212", "[::1]:1212", "server.test", "one.test"] {
        assert_eq!(host.get(name, "/").body, "only", "{name}");
    }
    assert_eq!(host.get("other.test", "/").status, 404);
}

#[test]
fn the_bare_address_lists_several_apps() {
    let (host, app) = (Host::start(), App::says("one"));
    assert!(host.get("localhost", "/").body.contains("No apps yet"));
    host.route(vec![stage("one", &[("1", app.address)]), stage("two", &[])]);
    let page = host.get("localhost:1212", "/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<a href=\"http://one.test:1212/\">one</a>"), "{}", page.body);
    assert!(page.body.contains("http://two.test:1212/"));
    assert_eq!(host.get("localhost", "/other").status, 404);
}

#[test]
fn an_app_gets_our_word_for_where_a_request_came_from() {
    let (host, app) = (Host::start(), App::says("x"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    browser.send(
        "GET http://one.test/p?q=1 HTTP/1.1\r\nHost: one.test\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\n\
         X-Forwarded-Proto: https\r\nX_Forwarded_Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n\
         Forwarded: for=6.6.6.6\r\nX-Request-ID: too-short\r\nX-Request-Start: t=1\r\nProxy: http://evil\r\n\
         Connection: X-Private, close\r\nX-Private: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\nAccept: */*\r\nCookie: a=1\r\n\r\n",
    );
    let reply = browser.reply().unwrap();
    let seen = app.seen.lock()[0].clone();
    assert_eq!(seen.line, "GET /p?q=1 HTTP/1.1");
    for (name, value) in [
        ("host", "one.test"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "one.test"),
        ("x-forwarded-port", &host.address.port().to_string()),
        ("cookie", "a=1"),
    ] {
        let all: Vec<_> =
            seen.headers.iter().filter(|(known, _)| known == name).map(|(_, v)| v.as_str()).collect();
        assert_eq!(all, [value], "{name}");
    }
    for name in ["x_forwarded_proto", "forwarded", "proxy", "x-private", "keep-alive", "te", "connection"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    let id = seen.header("x-request-id").unwrap();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    assert_eq!(reply.header("x-request-id"), Some(id));
    let start = seen.header("x-request-start").unwrap();
    assert!(start.starts_with("t=1") && start.len() == 15, "{start}");
}

#[test]
fn nobody_else_speaks_of_the_client_to_the_app() {
    for host in [Host::start(), Host::behind_a_proxy()] {
        let app = App::says("x");
        host.route(vec![stage("one", &[("1", app.address)])]);
        let mut browser = host.browser();
        browser.send(
            "GET / HTTP/1.1\r\nHost: one.test\r\nX-Forwarded-Ssl: on\r\nX-Forwarded-Scheme: https\r\n\
             X-Forwarded-Prefix: /admin\r\nX-Forwarded-Protocol: ssl\r\nX-Real-IP: 6.6.6.6\r\n\
             X-Scheme: https\r\nX-Url-Scheme: https\r\nFront-End-Https: on\r\nX-Client-IP: 6.6.6.6\r\n\
             SCRIPT_NAME: /admin\r\nX_Real_IP: 6.6.6.6\r\nX-Real-Estate: kept\r\n\r\n",
        );
        browser.reply().unwrap();
        let seen = app.seen.lock()[0].clone();
        let names: Vec<_> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
        let ours = ["for", "proto", "port", "host"].map(|what| format!("x-forwarded-{what}"));
        for name in &names {
            let is_ours = ours.iter().any(|known| known == name);
            assert!(
                is_ours
                    || ["host", "x-real-estate", "traceparent"].contains(name)
                    || name.starts_with("x-request-"),
                "{names:?}"
            );
        }
        assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
        assert_eq!(seen.header("x-real-estate"), Some("kept"));
    }
}

#[test]
fn a_trusted_proxy_may_say_who_its_client_is() {
    let (host, app) = (Host::behind_a_proxy(), App::says("x"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    browser.send(
        "GET / HTTP/1.1\r\nHost: one.test\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil\r\n\r\n",
    );
    browser.reply().unwrap();
    let seen = app.seen.lock()[0].clone();
    for (name, value) in [
        ("x-forwarded-for", "6.6.6.6, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "one.test"),
        ("x-forwarded-port", "443"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
}

#[test]
fn a_safe_request_id_is_kept_and_logged() {
    let host = Host::start();
    let app = App::start(|_, stream| say(stream, "hello"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    let id = "0123456789-abcdef_XY.z";
    let mut browser = host.browser();
    browser.send(&format!("GET /a%20b?secret=1 HTTP/1.1\r\nHost: one.test\r\nX-Request-ID: {id}\r\n\r\n"));
    assert_eq!(browser.reply().unwrap().header("x-request-id"), Some(id));
    assert_eq!(app.seen.lock()[0].header("x-request-id"), Some(id));
    eventually("an access line", || host.access_log("one").ends_with("status=200 bytes=5\n"));
    let log = host.access_log("one");
    let request = format!(" router at=info method=GET path=\"/a%20b\" host=one.test request_id={id} ");
    assert!(log.contains(&request) && !log.contains("secret"), "{log}");
    // How long it took is the machine's affair.
    let (_, times) = log.split_once("fwd=\"127.0.0.1\" instance=web.1 release=v3 connect=").unwrap();
    let (connect, service) = times.split_once("ms service=").unwrap();
    let (service, _) = service.split_once("ms status=").unwrap();
    assert!(connect.parse::<u32>().is_ok() && service.parse::<u32>().is_ok(), "{log}");
}

#[test]
fn an_app_that_closes_each_connection_is_served_as_well() {
    let host = Host::start();
    // As gunicorn's sync workers do.
    let app = App::start(|_, stream| {
        use std::io::Write as _;
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").unwrap();
        Then::Close
    });
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    for round in 0..50 {
        let reply =
            if round % 2 == 0 { browser.get("one.test", "/") } else { browser.post("one.test", "/", "x") };
        let reply = reply.unwrap();
        assert_eq!((reply.status, reply.header("connection")), (200, None), "{round}");
    }
}

#[test]
fn stages_without_instances_answer_at_once_in_the_clients_language() {
    let host = Host::start();
    host.route(vec![stage("one", &[])]);
    let page = host.get("one.test", "/");
    assert_eq!((page.status, page.header("retry-after")), (503, Some("5")));
    assert!(page.body.contains("<h1>503"), "{}", page.body);
    let mut browser = host.browser();
    browser.send("GET / HTTP/1.1\r\nHost: one.test\r\nAccept: application/json\r\n\r\n");
    let reply = browser.reply().unwrap();
    let error = serde_json::from_str::<serde_json::Value>(&reply.body).unwrap()["error"].take();
    assert_eq!(
        (&error["code"], reply.header("x-request-id")),
        (&"not_available".into(), error["request_id"].as_str())
    );
    assert!(error["message"].as_str().unwrap().starts_with("The app is not running"), "{error}");
    eventually("H14", || host.access_log("one").matches("status=503").count() == 2);
    assert!(host.access_log("one").contains("at=error") && host.access_log("one").contains("code=H14"));
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

#[test]
fn a_trace_is_passed_on_as_it_came_and_any_other_is_made_and_both_are_logged() {
    let (host, app) = (Host::start(), App::says("x"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    let ask = |headers: &str| {
        let mut browser = host.browser();
        browser.send(&format!("GET / HTTP/1.1\r\nHost: one.test\r\n{headers}\r\n"));
        browser.reply().unwrap();
        app.seen.lock().pop().unwrap()
    };
    let all = |seen: &crate::app::Seen, name: &str| {
        let of_name = seen.headers.iter().filter(|(known, _)| known == name);
        of_name.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let state = "tracestate: a=1\r\nTraceState: b=2\r\n";
    let seen = ask(&format!("TraceParent: {PARENT}\r\n{state}"));
    assert_eq!(all(&seen, "traceparent"), [PARENT]);
    assert_eq!(all(&seen, "tracestate"), ["a=1", "b=2"]);
    eventually("its line", || {
        host.access_log("one").contains(" trace_id=4bf92f3577b34da6a3ce929d0e0e4736 fwd=")
    });

    let id = "0123456789-abcdef_XY.z";
    for headers in [
        "",
        state,
        &format!("traceparent: {}\r\n{state}", PARENT.to_uppercase()),
        &format!("traceparent: {PARENT}\r\ntraceparent: {PARENT}\r\n{state}"),
        &format!("traceparent: {PARENT}\r\nConnection: traceparent\r\n{state}"),
        &format!("X-Request-ID: {id}\r\n"),
    ] {
        let seen = ask(headers);
        let [made] = &all(&seen, "traceparent")[..] else { panic!("{headers}: {seen:?}") };
        let parts: Vec<&str> = made.split('-').collect();
        assert!(
            parts.len() == 4 && parts[0] == "00" && parts[3] == "01" && !made.contains("4bf92f"),
            "{made}"
        );
        assert_eq!(
            (parts[1].len(), parts[2].len(), all(&seen, "tracestate").len()),
            (32, 16, 0),
            "{headers}"
        );
        let request = seen.header("x-request-id").unwrap();
        // What is made is the same for both, so that one finds the other.
        assert!(request == id || request == parts[1], "{request} {made}");
        eventually("its line", || host.access_log("one").contains(&format!(" trace_id={} ", parts[1])));
    }
}
