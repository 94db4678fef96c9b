//! Requests that could be read in two ways never reach an app.

use std::io::Write as _;

use crate::{
    app::App,
    host::{Host, stage},
};

const REFUSED: &[(&str, &str)] = &[
    (
        "length and coding",
        "POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
    ),
    (
        "coding and length",
        "POST / HTTP/1.1\r\nHost: one.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX",
    ),
    ("two lengths", "POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    (
        "one length twice",
        "POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    ),
    ("signed length", "POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: +2\r\n\r\nab"),
    ("unknown coding", "POST / HTTP/1.1\r\nHost: one.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("two codings", "POST / HTTP/1.1\r\nHost: one.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (
        "coding twice",
        "POST / HTTP/1.1\r\nHost: one.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    ("coding in 1.0", "POST / HTTP/1.0\r\nHost: one.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("space before colon", "POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length : 2\r\n\r\nab"),
    ("folded line", "GET / HTTP/1.1\r\nHost: one.test\r\nX: a\r\n b\r\n\r\n"),
    ("bare LF", "GET / HTTP/1.1\nHost: one.test\n\n"),
    ("one bare LF", "GET / HTTP/1.1\r\nHost: one.test\nX: y\r\n\r\n"),
    ("bare CR", "GET / HTTP/1.1\r\nHost: one.test\r\nX: a\rY: b\r\n\r\n"),
    ("NUL", "GET / HTTP/1.1\r\nHost: one.test\r\nX: a\0b\r\n\r\n"),
    ("two hosts", "GET / HTTP/1.1\r\nHost: one.test\r\nHost: two.test\r\n\r\n"),
    ("no host", "GET / HTTP/1.1\r\nX: y\r\n\r\n"),
    ("no host in 1.0", "GET / HTTP/1.0\r\nX: y\r\n\r\n"),
    ("odd host", "GET / HTTP/1.1\r\nHost: one.test/x\r\n\r\n"),
    ("two hosts, URI", "GET http://two.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n"),
    ("CONNECT", "CONNECT one.test:80 HTTP/1.1\r\nHost: one.test\r\n\r\n"),
    ("no request", "GARBAGE\r\n\r\n"),
    ("TLS", "\x16\x03\x01\r\n\r\n"),
];

#[test]
fn an_ambiguous_request_gets_400_and_nothing_behind_it_is_served() {
    let (host, app) = (Host::start(), App::says("served"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    for (what, request) in REFUSED {
        let mut browser = host.browser();
        browser.send(request);
        // The router may have closed before the second one.
        let _ = browser.stream.write_all(b"GET /smuggled HTTP/1.1\r\nHost: one.test\r\n\r\n");
        let answer = browser.rest();
        assert!(
            answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.0 400 "),
            "{what}: {answer:?}"
        );
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{what}: {answer:?}");
        assert!(app.seen.lock().is_empty(), "{what}: {:?}", app.seen.lock());
    }
    let count = host.client().status().unwrap().malformed;
    assert_eq!(count, REFUSED.len() as u64, "each is counted once");
}

#[test]
fn requests_before_an_ambiguous_one_are_answered() {
    let (host, app) = (Host::start(), App::says("served"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    browser.send("GET /1 HTTP/1.1\r\nHost: one.test\r\n\r\nGET /2 HTTP/1.1\nHost: one.test\n\nGET /3 HTTP/1.1\r\nHost: one.test\r\n\r\n");
    let answers = browser.rest();
    assert_eq!((answers.matches(" 200 OK").count(), answers.matches(" 400 ").count()), (1, 1), "{answers}");
    assert_eq!(app.seen.lock().len(), 1);
}

#[test]
fn a_broken_chunk_ends_the_connection_without_a_whole_body() {
    let (host, app) = (Host::start(), App::says("served"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    for chunk in ["2;\nxx\r\nab\r\n", "0x2\r\nab\r\n", "2\r\nabc\r\n"] {
        let mut browser = host.browser();
        browser.send(&format!(
            "POST / HTTP/1.1\r\nHost: one.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
        ));
        let answer = browser.rest();
        assert!(!answer.contains(" 200 "), "{chunk:?}: {answer}");
        assert!(app.seen.lock().is_empty(), "{chunk:?}");
    }
}

#[test]
fn a_connection_header_cannot_unframe_a_body() {
    let (host, app) = (Host::start(), App::says("served"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: one.test\r\n\r\n";
    let length = hidden.len();
    let mut browser = host.browser();
    browser.send(&format!(
        "POST /a HTTP/1.1\r\nHost: one.test\r\nConnection: content-length, host\r\nContent-Length: {length}\r\n\r\n{hidden}"
    ));
    assert_eq!(browser.reply().unwrap().status, 200);
    let seen = app.seen.lock().clone();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((seen[0].body.as_slice(), seen[0].header("host")), (hidden.as_bytes(), Some("one.test")));
}

#[test]
fn bodies_and_trailers_cross_whole() {
    let (host, app) = (Host::start(), App::says("served"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    for method in ["POST", "GET", "DELETE"] {
        browser.send(&format!(
            "{method} / HTTP/1.1\r\nHost: one.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
             3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n"
        ));
        assert_eq!(browser.reply().unwrap().status, 200, "{method}");
        let seen = app.seen.lock().pop().unwrap();
        assert_eq!((seen.body.as_slice(), seen.header("x-sum")), (&b"abcde"[..], Some("5")), "{method}");
    }
    browser.send("POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(browser.reply().unwrap().status, 200);
    assert_eq!(app.seen.lock().pop().unwrap().header("content-length"), Some("0"));
}
