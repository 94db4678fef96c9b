//! What a client gets of the last answer over an HTTP/2 connection, and of its first.

use std::{io::Write as _, sync::mpsc, time::Duration};

use parking_lot::Mutex;

use crate::{
    app::{App, Then, say},
    authority::Authority,
    frames::{Frames, Head},
    host::{Host, eventually, stage},
};

/// Fits into the buffers of two sockets, and not into one of them.
const LENGTH: usize = 3 << 20;

fn get() -> Head {
    Head::new(&[(":method", "GET"), (":scheme", "https"), (":authority", "one.test"), (":path", "/")])
}

#[test]
fn a_client_that_reads_the_last_answer_late_gets_all_of_it() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let app = App::start(move |_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").unwrap();
        wait.lock().recv_timeout(Duration::from_secs(30)).unwrap();
        stream.write_all(&vec![b'x'; LENGTH]).unwrap();
        Then::KeepAlive
    });
    let (host, authority) = (Host::start(), Authority::new());
    host.route(vec![stage("one", &[("1", app.address)])]);
    host.show(vec![authority.certificate(&["one.test"])]);
    let mut frames = Frames::connect(host.tls, "one.test", &authority.client_config(&["h2"]));
    frames.open_window(8 << 20).unwrap();
    frames.give_credit();
    let id = frames.request(&get(), true);
    eventually("it is in flight", || host.client().in_flight().unwrap()["1"].requests == 1);
    host.terminate();
    while !frames.is_told_to_go() {
        frames.ping().unwrap();
    }
    // From here on nothing but the stream keeps the connection.
    frames.ping().unwrap();
    go.send(()).unwrap();
    eventually("all of it was handed over", || {
        host.client().in_flight().map_or(true, |all| all.get("1").is_none_or(|load| load.requests == 0))
    });
    let reply = frames.finish(id).map(|reply| reply.body.len());
    assert_eq!(reply, Ok(LENGTH));
    assert_eq!(frames.goes_away(), Some(0));
    eventually("the router ends", || host.exited().is_some());
}

#[test]
fn a_client_that_came_before_the_end_is_served_although_it_asks_late() {
    let app = App::start(|_, stream| say(stream, "served"));
    let (host, authority) = (Host::start(), Authority::new());
    host.route(vec![stage("one", &[("1", app.address)])]);
    host.show(vec![authority.certificate(&["one.test"])]);
    let mut frames = Frames::connect(host.tls, "one.test", &authority.client_config(&["h2"]));
    frames.ping().unwrap();
    host.terminate();
    eventually("it drains", || host.client().status().is_ok_and(|status| status.draining));
    frames.ping().unwrap();
    assert!(!frames.is_told_to_go(), "it has asked for nothing yet");
    let id = frames.request(&get(), true);
    assert_eq!(frames.finish(id).unwrap().body, "served");
    assert_eq!(frames.goes_away(), Some(0));
    eventually("the router ends", || host.exited().is_some());
}
