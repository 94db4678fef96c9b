//! How bodies cross, and what becomes of a connection whose request is refused. What is refused is
//! in [`strict`](crate::strict).

use crate::{
    app::App,
    host::{Host, stage},
};

#[test]
fn a_refused_request_is_counted_once() {
    let (host, app) = (Host::start(), App::says("served"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    let refused = [
        "POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "GET / HTTP/1.1\r\nX: y\r\n\r\n",
        "GET / HTTP/1.1\nHost: one.test\n\n",
        "GARBAGE\r\n\r\n",
    ];
    for request in refused {
        let mut browser = host.browser();
        browser.send(request);
        assert!(browser.rest().contains(" 400 "), "{request:?}");
    }
    assert_eq!(host.client().status().unwrap().malformed, refused.len() as u64);
    assert!(app.seen.lock().is_empty());
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
