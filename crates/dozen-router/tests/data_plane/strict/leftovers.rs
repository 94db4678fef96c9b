//! What is left on a connection to an app, by the app or by a client, is nobody's answer and nobody's
//! request.

use std::{
    io::{Read as _, Write as _},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use parking_lot::Mutex;

use super::hostile::POISON;
use crate::{
    app::{App, Seen, Then, say},
    host::{Host, eventually, stage},
};

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: one.test\r\n\r\n";

#[test]
fn what_an_app_sends_unasked_is_nobodys_answer() {
    let (poison, told) = mpsc::channel::<()>();
    let (written, done) = mpsc::channel::<()>();
    let told = Arc::new(Mutex::new(told));
    let app = App::start(move |seen: &Seen, stream| {
        let then = say(stream, seen.path());
        if seen.path() == "/first" {
            let (mut stream, told, written) =
                (stream.try_clone().unwrap(), Arc::clone(&told), written.clone());
            thread::spawn(move || {
                told.lock().recv_timeout(Duration::from_secs(30)).unwrap();
                stream.write_all(POISON.as_bytes()).unwrap();
                written.send(()).unwrap();
            });
        }
        then
    });
    let host = Host::start();
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    assert_eq!(browser.get("one.test", "/first").unwrap().body, "/first");
    poison.send(()).unwrap();
    done.recv_timeout(Duration::from_secs(30)).unwrap();
    for path in ["/second", "/third"] {
        assert_eq!(browser.get("one.test", path).unwrap().body, path);
    }
}

#[test]
fn an_answer_to_a_body_that_the_app_took_for_a_request_is_nobodys() {
    let (told, heard) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    // It answers uploads without reading them: their bytes are its next requests.
    let app = App::start(move |seen: &Seen, stream| {
        let then = say(stream, seen.path());
        if seen.path() == "/hidden" {
            told.lock().send(()).unwrap();
        }
        then
    });
    let host = Host::start();
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    assert_eq!(browser.post("one.test", "/stream", HIDDEN).unwrap().body, "/stream");
    // The router may have closed the connection before the app could read it.
    let _ = heard.recv_timeout(Duration::from_secs(1));
    for path in ["/second", "/third"] {
        assert_eq!(browser.get("one.test", path).unwrap().body, path);
    }
}

#[test]
fn the_rest_of_an_answer_whose_client_left_is_nobodys() {
    let big = 4 << 20;
    let app = App::start(move |seen: &Seen, stream| {
        if seen.path() != "/big" {
            return say(stream, seen.path());
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {big}\r\n\r\n");
        let rest = POISON.repeat(big / POISON.len() + 1);
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&rest.as_bytes()[..big]));
        if sent.is_err() { Then::Close } else { Then::KeepAlive }
    });
    let host = Host::start();
    host.route(vec![stage("one", &[("1", app.address)])]);
    for round in 0..20 {
        let mut leaving = host.browser();
        leaving.send("GET /big HTTP/1.1\r\nHost: one.test\r\n\r\n");
        assert_eq!(leaving.head().unwrap().status, 200);
        drop(leaving);
        let path = format!("/{round}");
        assert_eq!(host.get("one.test", &path).body, path);
    }
    eventually("nothing is in flight", || host.client().in_flight().unwrap()["1"].requests == 0);
}

#[test]
fn the_rest_of_an_upload_that_was_answered_early_is_no_request() {
    let app = App::start(|seen: &Seen, stream| say(stream, seen.path()));
    let host = Host::start();
    host.route(vec![stage("one", &[("1", app.address)])]);
    for _ in 0..20 {
        let mut early = host.browser();
        let length = 3 + HIDDEN.len();
        early
            .send(&format!("POST /stream HTTP/1.1\r\nHost: one.test\r\nContent-Length: {length}\r\n\r\nabc"));
        assert_eq!(early.reply().unwrap().body, "/stream");
        // The rest of the body: no request of this client, whatever it looks like.
        let _ = early.stream.write_all(HIDDEN.as_bytes());
        let _ = early.stream.write_all(b"GET /next HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n");
        let rest = early.rest();
        assert!(!rest.contains("/hidden"), "{rest}");
        assert_eq!(host.get("one.test", "/other").body, "/other");
    }
}

#[test]
fn an_upload_that_its_client_breaks_off_is_no_whole_request() {
    let app = App::says("taken");
    let host = Host::start();
    host.route(vec![stage("one", &[("1", app.address)])]);
    for start in [
        "POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 10\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nHost: one.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "POST / HTTP/1.1\r\nHost: one.test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        "POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 10\r\n",
    ] {
        let mut leaving = host.browser();
        leaving.send(start);
        leaving.stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(!leaving.rest().contains(" 200 "), "{start:?}");
        eventually("nothing is in flight", || {
            host.client().in_flight().unwrap().get("1").is_none_or(|load| load.requests == 0)
        });
        assert!(app.seen.lock().is_empty(), "{start:?}");
    }
}

#[test]
fn bytes_behind_an_upgrade_that_is_taken_are_the_apps() {
    let app = App::start(|_, stream| {
        let _ = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst",
        );
        let mut bytes = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut bytes) {
            let _ = stream.write_all(&bytes[..read]);
        }
        Then::Close
    });
    let host = Host::start();
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    let upgrade = "GET /ws HTTP/1.1\r\nHost: one.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    browser.send(&format!("{upgrade}{HIDDEN}"));
    assert_eq!(browser.head().unwrap().status, 101);
    assert_eq!(browser.try_bytes(5).unwrap(), b"first");
    assert_eq!(browser.try_bytes(HIDDEN.len()).unwrap(), HIDDEN.as_bytes());
    assert_eq!(app.seen.lock().len(), 1);
}

#[test]
fn nobody_is_told_to_continue_who_is_refused_or_speaks_http_1_0() {
    let app = App::says("taken");
    let host = Host::start();
    host.route(vec![stage("one", &[("1", app.address)])]);
    for (request, status) in [
        ("POST / HTTP/1.0\r\nHost: one.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab", "200"),
        ("POST / HTTP/1.1\r\nHost: two.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", "404"),
        ("POST / HTTP/1.1\r\nHost: one.test\r\nExpect: 100-continue\r\nContent-Length: +2\r\n\r\n", "400"),
    ] {
        let mut browser = host.browser();
        browser.send(request);
        let head = browser.head().unwrap();
        assert_eq!(head.status.to_string(), status, "{request:?}");
    }
}
