//! Traffic without pause: 50 `GET` and 20 `POST` a second, sent on time whatever becomes of them.
//!
//! Half of each kind goes over new connections, half over kept ones. Every `POST` has a uid of its
//! own; every tenth takes 1 to 5 seconds in the app.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::never_retry::{Connections, Reply};

const A_SECOND: u32 = 70;

/// Traffic under way.
#[derive(Debug)]
pub struct Traffic {
    began: Instant,
    stop: Arc<AtomicBool>,
    ticker: JoinHandle<()>,
    served: Receiver<Served>,
}

/// One request and what became of it.
#[derive(Debug)]
pub struct Served {
    pub what: String,
    /// The uid of a `POST`.
    pub uid: Option<String>,
    pub is_slow: bool,
    pub sent: Instant,
    pub took: Duration,
    /// The status, or why there is none.
    pub outcome: Result<u16, String>,
    pub release: Option<u64>,
    /// What `/version` said.
    pub version: Option<Value>,
}

impl Served {
    pub fn is_good(&self) -> bool {
        matches!(self.outcome, Ok(200 | 201))
    }
}

/// Everything that was sent.
#[derive(Debug)]
pub struct Log(pub Vec<Served>);

impl Traffic {
    /// Begins to ask `host` on the router's port.
    pub fn start(port: u16, host: &str) -> Self {
        let (stop, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let (sender, served) = channel();
        let (stopping, host) = (Arc::clone(&stop), host.to_owned());
        let connections = Arc::new(Connections::to(port));
        let ticker = std::thread::spawn(move || tick(&stopping, began, &host, &connections, &sender));
        Self { began, stop, ticker, served }
    }

    /// Ends it when everything that was sent is answered.
    pub fn stop(self) -> Log {
        self.stop.store(true, Ordering::SeqCst);
        self.ticker.join().expect("the ticker");
        Log(self.served.iter().collect())
    }

    pub fn began(&self) -> Instant {
        self.began
    }
}

fn tick(
    stop: &AtomicBool,
    began: Instant,
    host: &str,
    connections: &Arc<Connections>,
    sender: &Sender<Served>,
) {
    for number in 0.. {
        let due = began + Duration::from_secs(1) * number / A_SECOND;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let request = Request::of(number, host);
        let (connections, sender) = (Arc::clone(connections), sender.clone());
        std::thread::spawn(move || {
            // The receiver goes only when a test has failed already.
            let _ = sender.send(request.send(&connections));
        });
    }
}

struct Request {
    what: String,
    text: String,
    uid: Option<String>,
    is_slow: bool,
    keep: bool,
}

impl Request {
    /// Five `GET`s and two `POST`s in turn.
    fn of(number: u32, host: &str) -> Self {
        let (round, turn) = (number / 7, number % 7);
        let keep = (round + turn) % 2 == 0;
        let connection = if keep { "keep-alive" } else { "close" };
        if turn != 2 && turn != 5 {
            let path = if turn == 0 { "/" } else { "/version" };
            let text = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n\r\n");
            return Self { what: format!("GET {path}"), text, uid: None, is_slow: false, keep };
        }
        let post = round * 2 + u32::from(turn == 5);
        let seconds = if post % 10 == 0 { 1 + post / 10 % 5 } else { 0 };
        let uid = format!("{:08x}-0000-4000-8000-{post:012x}", std::process::id());
        let form = format!("uid={uid}&sleep={seconds}");
        let text = format!(
            "POST /hits/ HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
            form.len()
        );
        Self { what: format!("POST of {seconds} s"), text, uid: Some(uid), is_slow: seconds > 0, keep }
    }

    fn send(self, connections: &Connections) -> Served {
        let sent = Instant::now();
        let reply = connections.ask(&self.text, self.keep);
        let release = |reply: &Reply| reply.header("x-blango-release")?.strip_prefix('v')?.parse().ok();
        Served {
            what: format!("{}{}", self.what, if self.keep { " on a kept connection" } else { "" }),
            uid: self.uid,
            is_slow: self.is_slow,
            sent,
            took: sent.elapsed(),
            release: reply.as_ref().ok().and_then(release),
            version: reply.as_ref().ok().and_then(|reply| serde_json::from_str(&reply.body).ok()),
            outcome: reply.map(|reply| reply.status).map_err(|error| error.to_string()),
        }
    }
}

impl Log {
    /// The requests that were not answered as they should be, in words, with when they were sent.
    pub fn failures(&self, began: Instant) -> Vec<String> {
        let told = |one: &Served| {
            let at = one.sent.saturating_duration_since(began).as_secs_f64();
            format!("{at:.2} s: {} took {:.2} s: {:?}", one.what, one.took.as_secs_f64(), one.outcome)
        };
        self.0.iter().filter(|one| !one.is_good()).map(told).collect()
    }

    /// How many `POST`s were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.0.iter().filter(|one| one.uid.is_some() && one.is_good()).count() as u64
    }

    /// Median, 99th percentile and longest, in milliseconds, of `GET`s and quick `POST`s.
    pub fn latencies(&self) -> BTreeMap<&'static str, [u128; 3]> {
        let of = |posts: bool| {
            let quick = self.0.iter().filter(|one| !one.is_slow && one.uid.is_some() == posts);
            let mut took: Vec<u128> = quick.map(|one| one.took.as_millis()).collect();
            took.sort_unstable();
            let at = |share: usize| {
                took.get((took.len() * share / 100).min(took.len().saturating_sub(1))).copied()
            };
            [50, 99, 100].map(|share| at(share).unwrap_or(0))
        };
        BTreeMap::from([("GET", of(false)), ("POST", of(true))])
    }
}
