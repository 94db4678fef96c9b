//! In-place upgrades: a successor with exactly the old listeners takes over, again and again, and
//! nobody who asks notices.

mod h2;
mod last_words;
mod load;
mod plain;
mod secure;

use std::{
    fmt::Debug,
    io::{Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use dozen_model::{
    manifest::{HttpsRedirect, RouterSettings},
    route_policy::RoutePolicy,
    route_table::StageRoute,
};
use load::{Kind, Load};

use crate::{
    app::{App, Seen, Then, say},
    authority::Authority,
    host::{Host, eventually, stage},
};

const UPGRADES: usize = 20;
const KILLS: usize = 8;
/// A download is so many parts of so many bytes.
const PARTS: usize = 30;
const PART: usize = 32 << 10;
const UPLOAD: usize = PARTS * PART;

/// An app that answers, streams, takes uploads, and echoes.
fn app() -> App {
    App::start(|seen: &Seen, stream| match seen.path() {
        "/download" => {
            let sent = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let part = format!("{PART:x}\r\n{}\r\n", "d".repeat(PART));
            let slowly = |_| {
                thread::sleep(Duration::from_millis(3));
                stream.write_all(part.as_bytes())
            };
            // A client that left is not this app's matter.
            let sent = sent.and_then(|()| (0..PARTS).try_for_each(slowly));
            if sent.and_then(|()| stream.write_all(b"0\r\n\r\n")).is_err() {
                Then::Close
            } else {
                Then::KeepAlive
            }
        }
        "/sized" => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {UPLOAD}\r\n\r\n");
            let sent = stream.write_all(head.as_bytes());
            let slowly = |_| {
                thread::sleep(Duration::from_millis(3));
                stream.write_all(&[b'd'; PART])
            };
            let sent = sent.and_then(|()| (0..PARTS).try_for_each(slowly));
            if sent.is_err() { Then::Close } else { Then::KeepAlive }
        }
        "/stream" => {
            let mut upload = vec![0; UPLOAD];
            if stream.read_exact(&mut upload).is_err() || upload.iter().any(|byte| *byte != b'u') {
                return Then::Close;
            }
            say(stream, "taken")
        }
        "/ws" => {
            let _ = stream.write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            );
            let mut bytes = [0; 1024];
            while let Ok(read @ 1..) = stream.read(&mut bytes) {
                if stream.write_all(&bytes[..read]).is_err() {
                    break;
                }
            }
            Then::Close
        }
        _ => say(stream, "ok"),
    })
}

/// A router with an app, and those who vouch for it.
struct Site {
    host: Host,
    authority: Authority,
    _app: App,
    /// Handshakes of clients that offered an earlier session: with all of it, and with that session.
    full: AtomicUsize,
    resumed: AtomicUsize,
}

impl Site {
    fn start() -> Arc<Self> {
        let (host, authority, app) = (Host::start(), Authority::new(), app());
        // Its clients come in the clear as well as by TLS.
        let declared = RouterSettings { https: Some(HttpsRedirect::Off), ..RouterSettings::default() };
        let policy = RoutePolicy { declared, ..RoutePolicy::default() };
        host.route(vec![StageRoute { policy, ..stage("one", &[("1", app.address)]) }]);
        host.show(vec![authority.certificate(&["one.test"])]);
        let [full, resumed] = [const { AtomicUsize::new(0) }; 2];
        Arc::new(Self { host, authority, _app: app, full, resumed })
    }
}

fn wanted<T: PartialEq + Debug>(what: &str, seen: T, right: T) -> Result<(), String> {
    if seen == right { Ok(()) } else { Err(format!("{what}: {seen:?}")) }
}

/// Upgrades under the load of clients of these kinds; what failed.
fn upgrade_under(site: &Arc<Site>, kinds: &[Kind], of_each: usize) -> Vec<String> {
    let host = &site.host;
    let load = Load::start(site, kinds, of_each);
    let mut old = Vec::new();
    for _ in 0..UPGRADES {
        let before = load.served();
        eventually("every kind of client is served", || {
            load.served().iter().zip(&before).all(|(now, before)| now > before)
        });
        old.push(host.upgrade());
        // The one that ends may have taken the question with it.
        eventually("it routes by the same table", || {
            host.client().status().is_ok_and(|status| status.generation == 1)
        });
    }
    let failed = load.stop();
    for mut router in old {
        eventually("an old router ends when it has nothing left", || router.try_wait().unwrap().is_some());
        assert_eq!(router.try_wait().unwrap().unwrap().code(), Some(0));
    }
    failed
}

#[test]
fn twenty_upgrades_in_place_refuse_hang_and_cut_nobody() {
    let failed = upgrade_under(&Site::start(), plain::ALL, 2);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_kept_connection_is_not_closed_under_a_request_by_an_upgrade() {
    let failed = upgrade_under(&Site::start(), &[plain::KEPT], 2);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn twenty_upgrades_under_tls_refuse_hang_and_cut_nobody() {
    let site = Site::start();
    let failed = upgrade_under(&site, secure::ALL, 1);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let [full, resumed] = [&site.full, &site.resumed].map(|count| count.load(SeqCst));
    // A successor has keys of its own: who comes with a ticket of the one before it makes a new one.
    assert!(full >= UPGRADES && resumed > 0, "{full} in full, {resumed} resumed");
}

#[test]
fn twenty_upgrades_under_http_2_lose_no_stream() {
    let failed = upgrade_under(&Site::start(), h2::ALL, 1);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_killed_router_loses_what_was_in_flight_and_serves_tls_and_http_2_again() {
    let site = Site::start();
    let kinds = [secure::ALL, h2::ALL].concat();
    let load = Load::start(&site, &kinds, 1);
    let served_again = |what: &str, before: &[usize]| {
        eventually(what, || load.served().iter().zip(before).all(|(now, before)| now > before));
    };
    for kill in 1..=KILLS {
        served_again("every kind of client is served", &load.served());
        let before = load.failed();
        site.host.kill_and_restart();
        served_again("it is served again", &load.served());
        // Whoever came after it has waited in the queue of the listener.
        let lost = load.failed() - before;
        assert!(lost <= kinds.len(), "kill {kill}: {lost} turns of {} clients", kinds.len());
    }
}
