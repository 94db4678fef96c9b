//! In-place upgrades: a successor with exactly the old listeners takes over, again and again, and
//! nobody who asks notices.

use std::{
    fmt::Debug,
    io::{Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    app::{App, Seen, Then, say},
    browser::Browser,
    host::{Host, eventually, stage},
};

const UPGRADES: usize = 20;
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

/// What clients of one kind have had.
#[derive(Default)]
struct Count {
    served: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

/// Clients of several kinds that ask without pause.
struct Load {
    stop: Arc<AtomicBool>,
    counts: Vec<(&'static str, Arc<Count>)>,
    clients: Vec<JoinHandle<()>>,
}

/// One turn of a client: over the connection it has, if any.
type Turn = fn(&Host, &mut Option<Browser>) -> Result<(), String>;

impl Load {
    fn start(host: &Arc<Host>, kinds: &[(&'static str, Turn)]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut counts, mut clients) = (Vec::new(), Vec::new());
        for &(name, turn) in kinds {
            let count = Arc::<Count>::default();
            counts.push((name, Arc::clone(&count)));
            for _ in 0..2 {
                let (host, stop, count) = (Arc::clone(host), Arc::clone(&stop), Arc::clone(&count));
                clients.push(thread::spawn(move || {
                    let mut connection = None;
                    while !stop.load(SeqCst) {
                        match turn(&host, &mut connection) {
                            Ok(()) => drop(count.served.fetch_add(1, SeqCst)),
                            Err(why) => {
                                connection = None;
                                count.failed.lock().push(why);
                            }
                        }
                    }
                }));
            }
        }
        Self { stop, counts, clients }
    }

    /// How many turns each kind has had.
    fn served(&self) -> Vec<usize> {
        self.counts.iter().map(|(_, count)| count.served.load(SeqCst)).collect()
    }

    /// Ends it; what failed, by kind.
    fn stop(mut self) -> Vec<String> {
        self.end();
        let told = |(name, count): &(&str, Arc<Count>)| {
            let failed = count.failed.lock();
            let of = failed.len() + count.served.load(SeqCst);
            (!failed.is_empty())
                .then(|| format!("{name}: {} of {of} failed, first {:?}", failed.len(), failed[0]))
        };
        self.counts.iter().filter_map(told).collect()
    }
}

impl Load {
    fn end(&mut self) {
        self.stop.store(true, SeqCst);
        for client in self.clients.drain(..) {
            // One that panicked has told so.
            let _ = client.join();
        }
    }
}

impl Drop for Load {
    /// Also when the test fails: its clients keep the router alive.
    fn drop(&mut self) {
        self.end();
    }
}

fn wanted<T: PartialEq + Debug>(what: &str, seen: T, right: T) -> Result<(), String> {
    if seen == right { Ok(()) } else { Err(format!("{what}: {seen:?}")) }
}

fn over_a_kept_connection(host: &Host, kept: &mut Option<Browser>) -> Result<(), String> {
    let is_new = kept.is_none();
    let browser = kept.get_or_insert_with(|| host.browser());
    let reply = browser.get("one.test", "/").ok_or_else(|| format!("no answer, new connection: {is_new}"))?;
    if reply.header("connection") == Some("close") {
        *kept = None;
    }
    wanted("kept", (reply.status, reply.body.as_str()), (200, "ok"))
}

fn over_a_new_connection(host: &Host, _: &mut Option<Browser>) -> Result<(), String> {
    let reply = host.browser().post("one.test", "/", "body").ok_or("no answer")?;
    wanted("new", (reply.status, reply.body.as_str()), (200, "ok"))
}

/// Ten echoes; then it leaves.
fn over_a_websocket(host: &Host, _: &mut Option<Browser>) -> Result<(), String> {
    let mut browser = host.browser();
    browser.send("GET /ws HTTP/1.1\r\nHost: one.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    wanted("upgrade", browser.head().ok_or("no answer")?.status, 101)?;
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(5));
        browser.stream.write_all(b"\x81\x02hi").map_err(|error| error.to_string())?;
        wanted("echo", browser.try_bytes(4), Some(b"\x81\x02hi".to_vec()))?;
    }
    Ok(())
}

fn download(host: &Host, _: &mut Option<Browser>) -> Result<(), String> {
    let reply = host.get_or_none("one.test", "/download").ok_or("no answer")?;
    let is_whole = reply.body.len() == UPLOAD && reply.body.bytes().all(|byte| byte == b'd');
    wanted("download", (reply.status, reply.body.len(), is_whole), (200, UPLOAD, true))
}

fn upload(host: &Host, _: &mut Option<Browser>) -> Result<(), String> {
    let mut browser = host.browser();
    browser.send(&format!("POST /stream HTTP/1.1\r\nHost: one.test\r\nContent-Length: {UPLOAD}\r\n\r\n"));
    for _ in 0..PARTS {
        thread::sleep(Duration::from_millis(3));
        browser.stream.write_all(&vec![b'u'; PART]).map_err(|error| error.to_string())?;
    }
    let reply = browser.reply().ok_or("no answer")?;
    wanted("upload", (reply.status, reply.body.as_str()), (200, "taken"))
}

/// Upgrades under the load of clients of these kinds; what failed.
fn upgrade_under(kinds: &[(&'static str, Turn)]) -> Vec<String> {
    let (host, app) = (Arc::new(Host::start()), app());
    host.route(vec![stage("one", &[("1", app.address)])]);
    let load = Load::start(&host, kinds);
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
    let failed = upgrade_under(&[
        ("new connections", over_a_new_connection),
        ("websockets", over_a_websocket),
        ("downloads", download),
        ("uploads", upload),
    ]);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_kept_connection_is_not_closed_under_a_request_by_an_upgrade() {
    let failed = upgrade_under(&[("kept connections", over_a_kept_connection)]);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
