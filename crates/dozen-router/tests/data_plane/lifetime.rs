//! The router's own life: control's words to it, kill -9, and its end.

use std::{
    io::Write as _,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use dozen_model::route_table::RouteTable;
use dozen_router::{DropTo, ListenerKind};
use parking_lot::Mutex;

use crate::{
    app::{App, Then, say},
    browser::Browser,
    host::{Host, eventually, stage},
};

#[test]
fn a_killed_router_comes_back_with_its_table_and_no_connection_refused() {
    let (host, app) = (Host::start(), App::says("same"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    host.kill();
    // Nobody accepts now; the listeners are the test's, so it is not refused.
    let mut waiting = host.browser();
    let asked = thread::spawn(move || waiting.get("one.test", "/").map(|reply| reply.body));
    host.kill_and_restart();
    assert_eq!(asked.join().unwrap().as_deref(), Some("same"));
    assert_eq!(host.client().status().unwrap().generation, 1);
}

#[test]
fn an_older_table_is_refused_and_the_same_one_is_not() {
    let (host, app) = (Host::start(), App::says("x"));
    let table = |generation, app: &App| RouteTable {
        generation,
        bare_hosts: vec![],
        stages: vec![stage("one", &[("1", app.address)])],
    };
    let mut client = host.client();
    assert_eq!(client.set_table(&table(5, &app)).unwrap(), 5);
    assert_eq!(client.set_table(&table(5, &app)).unwrap(), 5);
    let stale = client.set_table(&table(4, &app)).unwrap_err().to_string();
    assert!(stale.contains("older"), "{stale}");
    let other = App::says("y");
    let conflict = client.set_table(&table(5, &other)).unwrap_err().to_string();
    assert!(conflict.contains("different"), "{conflict}");
    assert_eq!(host.get("one.test", "/").body, "x");
    let stored = std::fs::read_to_string(host.dir.path().join("state/table.json")).unwrap();
    assert_eq!(serde_json::from_str::<RouteTable>(&stored).unwrap(), table(5, &app));
}

#[test]
fn a_new_control_gets_copies_of_the_listeners() {
    let (host, app) = (Host::start(), App::says("x"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    let copies = host.client().listeners().unwrap();
    assert_eq!(copies.len(), 4);
    for copy in copies {
        let address = if copy.kind == ListenerKind::Tls { host.tls } else { host.address };
        assert_eq!(copy.address().unwrap(), address);
    }
    let listeners = host.client().status().unwrap().listeners;
    let named: Vec<_> = listeners.iter().map(|one| (one.address, one.kind)).collect();
    assert_eq!(named, [(host.address, ListenerKind::Plain), (host.tls, ListenerKind::Tls)]);
}

#[test]
fn nonsense_on_the_control_socket_is_refused_and_changes_nothing() {
    let (host, app) = (Host::start(), App::says("x"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut stream = std::os::unix::net::UnixStream::connect(host.dir.path().join("control")).unwrap();
    stream.write_all(b"{\"set_table\": {\"generation\": 99}}\nhello\n{\"status\": {}}\n").unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stream));
    for _ in 0..2 {
        assert!(lines.next().unwrap().unwrap().starts_with("{\"refused\""));
    }
    assert!(lines.next().unwrap().unwrap().contains("\"generation\":1"));
}

#[test]
fn a_table_that_cannot_be_stored_is_not_routed_by() {
    let (host, app) = (Host::start(), App::says("old"));
    host.route(vec![stage("one", &[("1", app.address)])]);
    // A folder in the place of the new file.
    std::fs::create_dir(host.dir.path().join("state/table.json.new")).unwrap();
    let table = RouteTable { generation: 2, bare_hosts: vec![], stages: vec![] };
    let refused = host.client().set_table(&table).unwrap_err().to_string();
    assert!(refused.contains("could not store"), "{refused}");
    assert_eq!(host.get("one.test", "/").body, "old");
}

#[test]
fn sigterm_lets_what_is_in_flight_finish() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let app = App::start(move |seen, stream| {
        if seen.path() == "/slow" {
            wait.lock().recv_timeout(Duration::from_secs(30)).unwrap();
        }
        say(stream, "done")
    });
    let host = Host::start();
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut idle = host.browser();
    assert_eq!(idle.get("one.test", "/").unwrap().status, 200);
    let mut slow = host.browser();
    slow.send("GET /slow HTTP/1.1\r\nHost: one.test\r\n\r\n");
    eventually("it is in flight", || host.client().in_flight().unwrap()["1"].requests == 1);
    host.terminate();
    assert_eq!(idle.rest(), "", "an idle connection is closed");
    // Accepted at the last moment, or by nobody and kept for the next router: answered either way.
    let mut late = Browser::connect(host.address);
    let late = thread::spawn(move || late.get("one.test", "/"));
    assert_eq!(host.exited(), None);
    go.send(()).unwrap();
    assert_eq!(slow.reply().unwrap().body, "done");
    eventually("it ends", || host.exited().is_some());
    assert_eq!(host.exited().unwrap().code(), Some(0));
    assert!(host.access_log("one").contains("path=\"/slow\""), "the log is written to its end");
    host.kill_and_restart();
    assert_eq!(late.join().unwrap().unwrap().status, 200);
}

#[test]
fn at_the_drain_limit_a_websocket_is_told_and_the_router_ends() {
    let app = App::start(|_, stream| {
        stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            )
            .unwrap();
        // Waits for the other side's end.
        let _ = std::io::copy(stream, &mut std::io::sink());
        Then::Close
    });
    let host = Host::with(|limits| limits.drain = Duration::from_millis(300));
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut browser = host.browser();
    browser.send("GET / HTTP/1.1\r\nHost: one.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(browser.head().unwrap().status, 101);
    host.terminate();
    assert_eq!(browser.bytes(4), [0x88, 2, 0x03, 0xe9]);
    eventually("it ends", || host.exited().is_some());
}

#[test]
fn a_request_that_is_cut_at_the_drain_limit_is_logged() {
    let (end, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let app = App::start(move |_, stream| {
        let _ = stream.flush();
        // Until the test's end.
        let _ = wait.lock().recv();
        Then::Close
    });
    let host = Host::with(|limits| limits.drain = Duration::from_millis(200));
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut slow = host.browser();
    slow.send("GET /slow HTTP/1.1\r\nHost: one.test\r\n\r\n");
    eventually("it is in flight", || host.client().in_flight().unwrap()["1"].requests == 1);
    host.terminate();
    eventually("it ends", || host.exited().is_some());
    let log = host.access_log("one");
    assert!(log.contains("path=\"/slow\"") && log.contains("status=503"), "{log}");
    assert!(log.contains("code=H18"), "not by the client: {log}");
    drop(end);
}

#[test]
fn a_router_full_of_connections_ends_at_its_drain_limit() {
    let host = Host::with_descriptors(80, |limits| {
        limits.drain = Duration::from_millis(200);
        limits.header_read = Duration::from_secs(60);
    });
    // More than it takes: none of them says anything, so none of them ends.
    let silent: Vec<_> = (0..40).map(|_| host.browser()).collect();
    eventually("it takes no more", || {
        let open = host.client().status().unwrap().open_connections;
        open == 8
    });
    host.terminate();
    eventually("it ends", || host.exited().is_some());
    assert_eq!(host.exited().unwrap().code(), Some(0));
    drop(silent);
}

#[test]
fn slow_heads_and_silent_clients_are_let_go() {
    let began = Instant::now();
    let host = Host::with(|limits| {
        limits.header_read = Duration::from_secs(1);
        limits.keep_alive = Duration::from_secs(2);
    });
    let app = App::says("x");
    host.route(vec![stage("one", &[("1", app.address)])]);
    let mut silent = host.browser();
    assert_eq!(silent.rest(), "");
    let mut trickling = host.browser();
    trickling.send("GET / HTTP/1.1\r\nHost: one.t");
    assert!(!trickling.rest().contains(" 200 "));
    let mut polite = host.browser();
    for _ in 0..2 {
        assert_eq!(polite.get("one.test", "/").unwrap().status, 200);
    }
    assert_eq!(polite.rest(), "");
    assert!(began.elapsed() < Duration::from_secs(25), "by the router, not by this test's own limit");
    eventually("all are gone", || host.client().status().unwrap().open_connections == 0);
}

#[test]
fn a_router_started_as_root_keeps_nothing_of_it() {
    if !rustix::process::geteuid().is_root() {
        tracing::warn!("skipped: only root can give up root");
        return;
    }
    let host = Host::as_user(DropTo { uid: 64_123, gid: 64_124 });
    let app = App::says("x");
    host.route(vec![stage("one", &[("1", app.address)])]);
    assert_eq!(host.get("one.test", "/").body, "x");
    let pid = host.pid().as_raw_nonzero();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        for line in [
            "Uid:\t64123\t64123\t64123\t64123",
            "Gid:\t64124\t64124\t64124\t64124",
            "CapPrm:\t0000000000000000",
            "CapEff:\t0000000000000000",
            "NoNewPrivs:\t1",
        ] {
            assert!(status.contains(line), "{line} in {status}");
        }
        assert!(status.contains("Groups:\t \n") || status.contains("Groups:\t\n"), "{status}");
    }
    eventually("it may write its log", || host.access_log("one").contains("status=200"));
}
