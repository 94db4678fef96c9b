//! Requests that are sent elsewhere, and what browsers are told about HTTPS: over both versions of
//! HTTP alike.

use std::io::Write as _;

use dozen_model::{
    certificates::{CertificateSet, HttpChallenge},
    manifest::{Hsts, HttpsRedirect, Redirect, RouterSettings, Www},
    route_policy::RoutePolicy,
    route_table::StageRoute,
};

use crate::{
    app::{App, Then},
    authority::{Authority, TlsBrowser},
    browser::Reply,
    frames::{Frames, Head},
    host::{Host, eventually, stage},
};

fn declaring(declared: RouterSettings, route: StageRoute) -> StageRoute {
    StageRoute { policy: RoutePolicy { declared, ..RoutePolicy::default() }, ..route }
}

/// An answer over HTTP/2 on a connection of its own.
fn over_h2(host: &Host, authority: &Authority, method: &str, name: &str, path: &str) -> Reply {
    let mut frames = Frames::connect(host.tls, name, &authority.client_config(&["h2"]));
    let head = Head::new(&[(":method", method), (":scheme", "https"), (":authority", name), (":path", path)]);
    let id = frames.request(&head, true);
    frames.reply(id).unwrap()
}

fn over_tls(host: &Host, authority: &Authority, name: &str, path: &str) -> Reply {
    let mut browser = TlsBrowser::connect(host.tls, name, &authority.client_config(&[])).unwrap();
    browser.get(name, path).unwrap()
}

fn moved(reply: &Reply) -> (u16, Option<&str>) {
    (reply.status, reply.header("location"))
}

#[test]
fn what_is_elsewhere_is_answered_without_the_app_over_both_versions_alike() {
    let (host, authority, app) = (Host::start(), Authority::new(), App::says("hello"));
    let rule = |from, to, status| Redirect::read(from, to, status, true).unwrap();
    let declared = RouterSettings {
        redirects: vec![rule("/old/*", "/new/*", 301), rule("/x", "https://other.test/y", 302)],
        www: Some(Www::ToBare),
        https: Some(HttpsRedirect::Off),
        ..RouterSettings::default()
    };
    let mut one = declaring(declared, stage("one", &[("1", app.address)]));
    one.domains.push("www.one.test".parse().unwrap());
    host.route(vec![one]);
    host.show(vec![authority.certificate(&["one.test", "www.one.test"])]);

    let mut browser = host.browser();
    let reply = browser.get("one.test", "/old/a?b=c").unwrap();
    assert_eq!(moved(&reply), (301, Some("/new/a?b=c")));
    assert_eq!(reply.header("cache-control"), Some("max-age=3600"));
    let reply = host.browser().post("one.test", "/x", "body").unwrap();
    assert_eq!(moved(&reply), (302, Some("https://other.test/y")));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(moved(&browser.get("www.one.test:81", "/a").unwrap()), (301, Some("http://one.test:81/a")));
    assert_eq!(browser.get("one.test", "/new/a").unwrap().body, "hello", "the connection goes on");

    for (method, name, path, expected) in [
        ("GET", "one.test", "/old/a?b=c", (301, Some("/new/a?b=c"))),
        ("POST", "one.test", "/x", (302, Some("https://other.test/y"))),
        ("GET", "www.one.test", "/a", (301, Some("https://one.test/a"))),
        ("DELETE", "www.one.test", "/a", (308, Some("https://one.test/a"))),
        ("HEAD", "one.test", "/old/", (301, Some("/new/"))),
    ] {
        let reply = over_h2(&host, &authority, method, name, path);
        assert_eq!(moved(&reply), expected, "{method} {name}{path}");
        assert!(reply.header("x-request-id").is_some());
    }
    assert_eq!(app.seen.lock().len(), 1);
    eventually("the log", || host.access_log("one").matches("code=H90 desc=\"Redirected\"").count() == 8);
    assert!(!host.access_log("one").contains("at=error"));
}

#[test]
fn in_the_clear_a_host_with_a_certificate_is_sent_to_https() {
    let (host, authority, app) = (Host::start(), Authority::new(), App::says("hello"));
    let with = |https| RouterSettings { https: Some(https), ..RouterSettings::default() };
    let endpoints = [("1", app.address)];
    host.route(vec![
        stage("one", &endpoints),
        declaring(with(HttpsRedirect::Off), stage("two", &[("2", app.address)])),
        declaring(with(HttpsRedirect::Redirect), stage("three", &[("3", app.address)])),
    ]);
    assert_eq!(host.get("one.test", "/a?b").body, "hello", "without a certificate there is nowhere to go");
    let port = host.tls.port();
    let three = format!("https://three.test:{port}/");
    assert_eq!(moved(&host.get("three.test", "/")), (301, Some(three.as_str())));

    host.set_certificates(|set| {
        let challenge = HttpChallenge { token: "tok".into(), answer: "tok.print".into() };
        let certificates = vec![authority.certificate(&["one.test", "two.test", "three.test"])];
        *set = CertificateSet { certificates, http_challenges: vec![challenge], ..std::mem::take(set) };
    });
    let there = format!("https://one.test:{port}/a?b");
    assert_eq!(moved(&host.get("one.test", "/a?b")), (301, Some(there.as_str())));
    assert_eq!(moved(&host.get("ONE.test.:80", "/a?b")), (301, Some(there.as_str())));
    let mut browser = host.browser();
    let reply = browser.post("one.test", "/a?b", "body").unwrap();
    assert_eq!(moved(&reply), (308, Some(there.as_str())));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(host.get("one.test", "/.well-known/acme-challenge/tok").body, "tok.print");
    assert_eq!(host.get("one.test", "/.well-known/acme-challenge/other").body, "hello");
    assert_eq!(host.get("two.test", "/").body, "hello", "it is off");
    assert_eq!(over_tls(&host, &authority, "one.test", "/").body, "hello");
    assert_eq!(over_h2(&host, &authority, "GET", "three.test", "/").body, "hello");

    // What stands before the machine has another port.
    let policy = RoutePolicy { https_port: Some(443), ..RoutePolicy::default() };
    host.route(vec![StageRoute { policy, ..stage("one", &endpoints) }]);
    assert_eq!(moved(&host.get("one.test", "/")), (301, Some("https://one.test/")));
    eventually("the log", || host.access_log("one").contains("code=H91 desc=\"Redirected to HTTPS\""));
}

#[test]
fn nobody_behind_a_front_is_sent_in_circles() {
    let ask = |host: &Host, line: &str| {
        let mut browser = host.browser();
        browser.send(&format!("GET / HTTP/1.1\r\nHost: one.test\r\n{line}\r\n"));
        browser.reply().unwrap().status
    };
    let authority = Authority::new();
    for (host, cases) in [
        (
            Host::start(),
            [
                ("", 301),
                ("X-Forwarded-Proto: http\r\n", 301),
                ("X-Forwarded-Proto: https\r\n", 200),
                ("Forwarded: proto=http\r\n", 301),
            ],
        ),
        (
            Host::behind_a_proxy(),
            [
                ("", 200),
                ("X-Forwarded-Proto: http\r\n", 301),
                ("X-Forwarded-Proto: https\r\n", 200),
                ("Forwarded: for=192.0.2.1;proto=https\r\n", 200),
            ],
        ),
    ] {
        let app = App::says("hello");
        host.route(vec![stage("one", &[("1", app.address)])]);
        host.show(vec![authority.certificate(&["one.test"])]);
        for (line, status) in cases {
            assert_eq!(ask(&host, line), status, "{line}");
        }
    }
}

#[test]
fn a_front_that_is_not_trusted_is_not_believed_either() {
    let (host, authority, app) = (Host::start(), Authority::new(), App::says("hello"));
    let hsts =
        Hsts { max_age: std::time::Duration::from_secs(60), include_subdomains: false, preload: false };
    let declared = RouterSettings { hsts: Some(hsts), ..RouterSettings::default() };
    host.route(vec![declaring(declared, stage("one", &[("1", app.address)]))]);
    host.show(vec![authority.certificate(&["one.test"])]);
    let mut browser = host.browser();
    browser.send("GET / HTTP/1.1\r\nHost: one.test\r\nX-Forwarded-Proto: https\r\n\r\n");
    let reply = browser.reply().unwrap();
    assert_eq!((reply.status, reply.header("strict-transport-security")), (200, None));
    assert_eq!(app.seen.lock()[0].header("x-forwarded-proto"), Some("http"));
}

#[test]
fn browsers_are_told_of_https_once_and_only_over_it() {
    let (host, authority) = (Host::start(), Authority::new());
    let app = App::start(|seen, stream| {
        let own = if seen.path() == "/own" { "strict-Transport-security: max-age=5\r\n" } else { "" };
        write!(stream, "HTTP/1.1 200 OK\r\n{own}Content-Length: 0\r\n\r\n").unwrap();
        Then::KeepAlive
    });
    let hsts =
        Hsts { max_age: std::time::Duration::from_secs(86_400), include_subdomains: true, preload: false };
    let declared =
        RouterSettings { hsts: Some(hsts), https: Some(HttpsRedirect::Off), ..RouterSettings::default() };
    let one = declaring(declared.clone(), stage("one", &[("1", app.address)]));
    host.route(vec![one, declaring(declared, stage("none", &[])), stage("two", &[("2", app.address)])]);
    host.show(vec![authority.certificate(&["one.test", "two.test", "none.test"])]);
    let ours = "max-age=86400; includeSubDomains";
    for (name, path, value) in [
        ("one.test", "/", Some(ours)),
        ("one.test", "/own", Some("max-age=5")),
        ("none.test", "/", Some(ours)),
        ("two.test", "/", None),
    ] {
        let name_of = "strict-transport-security";
        for reply in [over_tls(&host, &authority, name, path), over_h2(&host, &authority, "GET", name, path)]
        {
            let told: Vec<_> = reply.headers.iter().filter(|(known, _)| known == name_of).collect();
            assert_eq!(told.len(), usize::from(value.is_some()), "{name}{path}: {reply:?}");
            assert_eq!(reply.header(name_of), value, "{name}{path}");
        }
        let clear = host.get(name, path);
        let expected = if path == "/own" { Some("max-age=5") } else { None };
        assert_eq!(clear.header(name_of), expected, "{name}{path} in the clear");
    }
}
