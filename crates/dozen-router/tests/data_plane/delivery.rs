//! No request is lost: tried elsewhere, held, sent again where that is safe, and never otherwise.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use dozen_model::route_table::{Hold, StageRoute};

use crate::{
    app::{App, Then, say},
    host::{ClosedPort, Host, eventually, stage},
};

/// Starts a request on a thread of its own.
fn ask(host: &Host, method: &'static str) -> thread::JoinHandle<u16> {
    let mut browser = host.browser();
    thread::spawn(move || {
        let reply = if method == "GET" {
            browser.get("one.test", "/")
        } else {
            browser.post("one.test", "/", "body")
        };
        reply.unwrap().status
    })
}

fn held(host: &Host) -> usize {
    host.client().status().unwrap().held
}

#[test]
fn a_refused_connection_goes_to_another_instance() {
    let (host, app, closed) = (Host::start(), App::says("alive"), ClosedPort::take());
    host.route(vec![stage("one", &[("dead", closed.address()), ("alive", app.address)])]);
    let mut browser = host.browser();
    for _ in 0..10 {
        assert_eq!(browser.get("one.test", "/").unwrap().body, "alive");
        assert_eq!(browser.post("one.test", "/", "x").unwrap().body, "alive");
    }
}

#[test]
fn a_request_waits_for_the_first_instance() {
    let (host, app) = (Host::start(), App::says("ready"));
    host.route(vec![StageRoute { waiting: true, ..stage("one", &[]) }]);
    let asked: Vec<_> = ["GET", "POST"].map(|method| ask(&host, method)).into();
    eventually("both are held", || held(&host) == 2);
    host.route(vec![stage("one", &[("1", app.address)])]);
    for request in asked {
        assert_eq!(request.join().unwrap(), 200);
    }
    assert_eq!(app.seen.lock().iter().find(|seen| seen.is_post()).unwrap().body, b"body");
    assert_eq!(held(&host), 0);
}

#[test]
fn a_crashed_instance_is_found_again_on_its_port() {
    let host = Host::start();
    let mut app = App::says("first");
    host.route(vec![stage("one", &[("1", app.address)])]);
    assert_eq!(host.get("one.test", "/").body, "first");
    app.stop();
    let asked: Vec<_> = ["GET", "POST"].map(|method| ask(&host, method)).into();
    eventually("both are held", || held(&host) == 2);
    let again = App::start_at(app.address, |_, stream| say(stream, "again"));
    for request in asked {
        assert_eq!(request.join().unwrap(), 200);
    }
    assert_eq!(again.seen.lock().len(), 2);
}

#[test]
fn a_request_is_not_held_for_ever() {
    let (host, closed) = (Host::with(|limits| limits.held_per_stage = 1), ClosedPort::take());
    let limit = Duration::from_millis(300);
    host.route(vec![
        StageRoute { hold_limit: limit, ..stage("one", &[("1", closed.address())]) },
        StageRoute { hold_limit: limit, waiting: true, ..stage("two", &[]) },
    ]);
    let began = Instant::now();
    let reply = host.get("one.test", "/");
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
    assert!(began.elapsed() >= limit);
    assert_eq!(host.get("two.test", "/").status, 503);
    eventually("the reasons", || {
        host.access_log("one").contains("code=H10") && host.access_log("two").contains("code=H20")
    });

    // One place only: whoever comes second is not held at all.
    host.route(vec![StageRoute { waiting: true, ..stage("one", &[]) }]);
    let first = ask(&host, "GET");
    eventually("it is held", || held(&host) == 1);
    assert_eq!(host.get("one.test", "/").status, 503);
    let app = App::says("ready");
    host.route(vec![stage("one", &[("1", app.address)])]);
    assert_eq!(first.join().unwrap(), 200);
}

#[test]
fn unsafe_requests_are_held_while_safe_ones_pass() {
    let (host, app) = (Host::start(), App::says("ok"));
    let endpoints = [("1", app.address)];
    host.route(vec![StageRoute { hold: Hold::Unsafe, ..stage("one", &endpoints) }]);
    let write = ask(&host, "POST");
    eventually("the write is held", || held(&host) == 1);
    assert_eq!(host.get("one.test", "/").status, 200);
    assert_eq!(app.seen.lock().len(), 1);
    host.route(vec![stage("one", &endpoints)]);
    assert_eq!(write.join().unwrap(), 200);
}

#[test]
fn a_read_that_met_a_dying_connection_is_sent_again_and_a_write_is_not() {
    let host = Host::start();
    // The second request of each connection is read and then met with silence.
    let app = App::start(|seen, stream| match seen.path() {
        "/die" => Then::Close,
        "/once" if seen.header("x-request-id").is_some_and(|id| id.starts_with("first")) => Then::Close,
        _ => say(stream, "ok"),
    });
    host.route(vec![stage("one", &[("1", app.address)])]);
    let calls = |path: &str| app.seen.lock().iter().filter(|seen| seen.path() == path).count();
    let mut browser = host.browser();

    assert_eq!(browser.get("one.test", "/").unwrap().status, 200);
    assert_eq!(browser.get("one.test", "/die").unwrap().status, 502);
    assert_eq!(calls("/die"), 2, "once on the pooled connection, once on a new one");

    assert_eq!(browser.get("one.test", "/").unwrap().status, 200);
    app.seen.lock().clear();
    assert_eq!(browser.post("one.test", "/die", "x").unwrap().status, 502);
    assert_eq!(calls("/die"), 1, "a POST is never sent twice");
    eventually("the reason", || host.access_log("one").matches("status=502").count() == 2);
    assert!(host.access_log("one").contains("code=H13"));
}

#[test]
fn a_read_that_was_taken_by_a_process_that_then_died_is_sent_again() {
    let host = Host::start();
    let died = AtomicBool::new(false);
    let app = App::start(move |_, stream| match died.swap(true, SeqCst) {
        false => Then::Close,
        true => say(stream, "ok"),
    });
    host.route(vec![stage("one", &[("1", app.address)])]);
    assert_eq!(host.get("one.test", "/").status, 200, "on a new connection as well");
    assert_eq!(app.seen.lock().len(), 2);
}

#[test]
fn a_read_whose_answer_broke_off_after_its_head_is_sent_again_and_a_write_is_not() {
    let host = Host::start();
    let deaths = AtomicUsize::new(0);
    let app = App::start(move |_, stream| match deaths.fetch_add(1, SeqCst) {
        1 => say(stream, "ok"),
        _ => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").unwrap();
            Then::Close
        }
    });
    host.route(vec![stage("one", &[("1", app.address)])]);
    let reply = host.get("one.test", "/");
    assert_eq!((reply.status, reply.body.as_str()), (200, "ok"));
    assert_eq!(app.seen.lock().len(), 2);

    // Twice is once too often; nothing has been answered yet, so the status is still true.
    assert_eq!(host.get("one.test", "/").status, 502);
    assert_eq!(app.seen.lock().len(), 4);

    assert!(host.browser().post("one.test", "/", "x").is_none(), "its head was passed on");
    assert_eq!(app.seen.lock().len(), 5, "a POST is never sent twice");
}

#[test]
fn an_app_that_drops_idle_connections_without_a_word_loses_nothing() {
    let host = Host::start();
    // Promises keep-alive and closes: the worst that an app server's keep-alive limit can do.
    let app = App::start(|_, stream| {
        say(stream, "ok");
        Then::Close
    });
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut failed = Vec::new();
    let mut browser = host.browser();
    for round in 0..400 {
        let reply =
            if round % 2 == 0 { browser.get("one.test", "/") } else { browser.post("one.test", "/", "x") };
        match reply {
            Some(reply) if reply.status == 200 => {}
            other => failed.push((round, other.map(|reply| reply.status))),
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn route_changes_under_load_lose_no_request() {
    let host = Arc::new(Host::start());
    let stop = Arc::new(AtomicBool::new(false));
    let (served, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let slow = || {
        App::start(|_, stream| {
            thread::sleep(Duration::from_millis(2));
            say(stream, "ok")
        })
    };
    let mut current = (String::from("0"), slow());
    host.route(vec![stage("one", &[(&current.0, current.1.address)])]);
    let clients: Vec<_> = (0..6)
        .map(|index| {
            let (host, stop) = (Arc::clone(&host), Arc::clone(&stop));
            let (served, failed) = (Arc::clone(&served), Arc::clone(&failed));
            thread::spawn(move || {
                let mut browser = host.browser();
                while !stop.load(SeqCst) {
                    let reply = if index % 2 == 0 {
                        browser.get("one.test", "/")
                    } else {
                        browser.post("one.test", "/", "abc")
                    };
                    match reply {
                        Some(reply) if reply.status == 200 => served.fetch_add(1, SeqCst),
                        other => {
                            tracing::error!(?other, "a request was lost");
                            browser = host.browser();
                            failed.fetch_add(1, SeqCst)
                        }
                    };
                }
            })
        })
        .collect();
    for change in 1..=30 {
        let next = (change.to_string(), slow());
        host.route(vec![stage("one", &[(&next.0, next.1.address)])]);
        // What control does: the old instance is stopped once nothing is in flight to it.
        let old = std::mem::replace(&mut current, next);
        eventually("the old instance is free", || {
            host.client().in_flight().unwrap().get(&old.0).is_none_or(|load| load.requests == 0)
        });
        drop(old);
        let goal = change * 100;
        eventually("load on the new one", || served.load(SeqCst) >= goal);
    }
    stop.store(true, SeqCst);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(failed.load(SeqCst), 0, "of {}", served.load(SeqCst));
    assert!(served.load(SeqCst) >= 3000);
}

#[test]
fn requests_spread_over_instances_by_what_they_have_in_flight() {
    let host = Host::start();
    let release = Arc::new(AtomicBool::new(false));
    let blocked = Arc::clone(&release);
    let busy = App::start(move |_, stream| {
        while !blocked.load(SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        say(stream, "busy")
    });
    let free = App::says("free");
    host.route(vec![stage("one", &[("busy", busy.address), ("free", free.address)])]);
    // Ties go in turn, so one of the first two meets the busy one and stays there.
    let stuck: Vec<_> = (0..2).map(|_| ask(&host, "GET")).collect();
    eventually("one is stuck and the other answered", || {
        let loads = host.client().in_flight().unwrap();
        let counts = ["busy", "free"].map(|id| loads[id].requests);
        counts == [1, 0] && free.seen.lock().len() == 1
    });
    let mut browser = host.browser();
    for _ in 0..10 {
        assert_eq!(browser.get("one.test", "/").unwrap().body, "free");
    }
    release.store(true, SeqCst);
    for request in stuck {
        assert_eq!(request.join().unwrap(), 200);
    }
}

#[test]
fn who_stalls_an_upload_is_the_one_that_is_blamed() {
    let host = Host::with(|limits| limits.idle = Duration::from_secs(1));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let app = App::start(move |seen, stream| {
        let mut some = [0; 10];
        while !stopped.load(SeqCst) {
            // One reads nothing, the other all there is.
            if seen.header("x-reads").is_none() || std::io::Read::read(stream, &mut some).is_err() {
                thread::sleep(Duration::from_millis(5));
            }
        }
        Then::Close
    });
    host.route(vec![stage("one", &[("1", app.address)])]);
    let length = 64 << 20;
    let mut browser = host.browser();
    browser.send(&format!("POST /stream HTTP/1.1\r\nHost: one.test\r\nContent-Length: {length}\r\n\r\n"));
    let mut sending = browser.stream.try_clone().unwrap();
    // It ends with the connection at the latest.
    let sender = thread::spawn(move || drop(sending.write_all(&vec![b'x'; length])));
    eventually("the app is blamed", || host.access_log("one").contains("status=504"));
    assert!(host.access_log("one").contains("code=H12"), "{}", host.access_log("one"));
    // The client does not stay with an app that may never read.
    sender.join().unwrap();
    eventually("it was let go", || host.client().status().unwrap().open_connections == 0);

    let mut browser = host.browser();
    browser.send("POST /stream HTTP/1.1\r\nHost: one.test\r\nX-Reads: 1\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(browser.reply().unwrap().status, 408);
    eventually("the client is blamed", || host.access_log("one").contains("code=H28"));
    stop.store(true, SeqCst);
}

#[test]
fn a_slow_app_gets_504_and_a_babbling_one_502() {
    let host = Host::with(|limits| limits.first_byte = Duration::from_secs(1));
    let app = App::start(|seen, stream| {
        if seen.path() == "/slow" {
            thread::sleep(Duration::from_secs(5));
        } else if seen.path() == "/half" {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
        } else {
            stream.write_all(b"what?\r\n\r\n").unwrap();
        }
        Then::Close
    });
    host.route(vec![stage("one", &[("1", app.address)])]);
    assert_eq!(host.get("one.test", "/slow").status, 504);
    assert_eq!(host.get("one.test", "/babble").status, 502);
    let mut browser = host.browser();
    browser.send("GET /half HTTP/1.1\r\nHost: one.test\r\n\r\n");
    assert_eq!(browser.head().unwrap().status, 200);
    assert_eq!(browser.rest(), "half", "a broken answer ends with its connection");
    eventually("the reasons", || {
        let log = host.access_log("one");
        ["code=H12", "code=H17", "code=H18"].iter().all(|code| log.contains(code))
    });
}
