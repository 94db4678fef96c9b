//! What costs a client little and a server much: each is bounded, and others are served meanwhile.
//!
//! Requests that are broken off (CVE-2023-44487) and heads without an end (CVE-2024-27316) are in
//! `http2.rs`.

use std::time::Duration;

use super::case::{END_HEADERS, FLOW, PADDED, REFUSED, WHOLE, data, frame, get, setting};
use crate::{
    app::App,
    authority::Authority,
    frames::{Ended, Frames, Head, kind},
    host::{Host, eventually, stage},
};

/// More memory than this is no bound, in KiB.
const MEMORY: u64 = 16 << 10;

/// A router with an app, and a stage whose requests are held.
struct Site {
    host: Host,
    authority: Authority,
    _app: App,
}

impl Site {
    fn start() -> Self {
        let (host, authority, app) = (Host::start(), Authority::new(), App::says("served"));
        let mut held = stage("two", &[]);
        held.waiting = true;
        host.route(vec![stage("one", &[("1", app.address)]), held]);
        host.show(vec![authority.certificate(&["one.test", "two.test"])]);
        Self { host, authority, _app: app }
    }

    fn connect(&self) -> Frames {
        let frames = Frames::connect(self.host.tls, "one.test", &self.authority.client_config(&["h2"]));
        frames.wait_for_at_most(Duration::from_secs(20));
        frames
    }

    fn held(&self) -> usize {
        self.host.client().status().unwrap().held
    }

    /// Somebody else is served, and nothing is left of a flood whose client has gone.
    #[track_caller]
    fn is_well(&self, name: &str, before: u64) {
        let more = self.host.memory().saturating_sub(before);
        assert!(more < MEMORY, "{name}: {more} KiB more");
        let mut other = self.connect();
        let id = other.request(&get(), true);
        assert_eq!(other.finish(id).unwrap().body, "served", "{name}");
    }
}

/// A request that is held.
fn held() -> Head {
    get().with(":authority", "two.test").with(":method", "POST")
}

#[test]
fn more_streams_than_may_be_are_refused_and_the_others_stay() {
    let site = Site::start();
    let mut frames = site.connect();
    let ids: Vec<u32> = (0..300).map(|_| frames.request(&held(), true)).collect();
    frames.ping().unwrap();
    for id in &ids[250..] {
        assert_eq!(frames.finish(*id).unwrap_err(), Ended::Reset(REFUSED));
    }
    eventually("the others are held", || site.held() == 250);
    frames.send(kind::RESET, 0, ids[0], &8_u32.to_be_bytes());
    eventually("one has gone", || site.held() == 249);
    let id = frames.request(&get(), true);
    assert_eq!(frames.finish(id).unwrap().body, "served", "its place is free");
}

#[test]
fn frames_without_number_take_no_memory_and_nobody_elses_turn() {
    let site = Site::start();
    let block = held().encoded();
    let open = frame(kind::HEADERS, END_HEADERS, 1, &block);
    let floods: [(&str, Vec<u8>, Vec<u8>); 9] = [
        ("pings", vec![], frame(kind::PING, 0, 0, &[0; 8])),
        ("settings", vec![], setting(4, 65_535)),
        ("settings that change the table", vec![], [setting(1, 0), setting(1, 4096)].concat()),
        ("priorities", vec![], frame(kind::PRIORITY, 0, 101, &[0, 0, 0, 0, 1])),
        ("unknown frames", vec![], frame(0x16, 0, 0, &[0; 8])),
        ("windows", open.clone(), frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ("empty data", open.clone(), data(0, 1, b"")),
        ("data of a byte", open.clone(), data(0, 1, b"x")),
        ("data of padding", open, data(PADDED, 1, &[vec![255], vec![0; 255]].concat())),
    ];
    for (name, start, flood) in floods {
        let before = site.host.memory();
        let mut frames = site.connect();
        // Who does not read its answers is not read from for long.
        frames.takes_at_most(Duration::from_millis(100));
        frames.raw(&start).unwrap();
        let many = flood.repeat(64 << 10 >> flood.len().ilog2());
        let taken = (0..100).take_while(|_| frames.raw(&many).is_ok()).count();
        site.is_well(&format!("{name}, {taken} times {}", many.len() / flood.len()), before);
    }
    eventually("nothing is held", || site.held() == 0);
}

/// CVE-2025-8671: the client makes the router reset a stream, which then counts as none, while what
/// was begun for it goes on.
#[test]
fn streams_that_the_router_is_made_to_reset_end_the_connection() {
    let site = Site::start();
    let window = |id: u32, more: u32| frame(kind::WINDOW_UPDATE, 0, id, &more.to_be_bytes());
    let whole = |id| frame(kind::HEADERS, WHOLE, id, &held().encoded());
    let open = |id, length| {
        let head = held().and("content-length", length).encoded();
        frame(kind::HEADERS, END_HEADERS, id, &head)
    };
    type Made<'a> = Box<dyn Fn(u32) -> Vec<u8> + 'a>;
    let ways: [(&str, Made<'_>); 7] = [
        ("no more window", Box::new(|id| [whole(id), window(id, 0)].concat())),
        ("too much window", Box::new(|id| [whole(id), window(id, (1 << 31) - 1)].concat())),
        ("data behind the end", Box::new(|id| [whole(id), data(0, id, b"x")].concat())),
        ("a head behind the end", Box::new(|id| [whole(id), whole(id)].concat())),
        ("more than its length", Box::new(|id| [open(id, "1"), data(0, id, b"xy")].concat())),
        ("less than its length", Box::new(|id| [open(id, "9"), data(1, id, b"x")].concat())),
        (
            "a malformed head",
            Box::new(|id| {
                let head = held().and("te", "gzip").encoded();
                frame(kind::HEADERS, WHOLE, id, &head)
            }),
        ),
    ];
    for (name, way) in ways {
        let before = site.host.memory();
        let mut frames = site.connect();
        let most = 5000;
        let sent = (0..most).take_while(|n| frames.raw(&way(2 * n + 1)).is_ok() && frames.ping().is_ok());
        let sent = sent.count();
        assert!(sent < 300, "{name}: {sent} were taken");
        assert!(frames.goes_away().is_some(), "{name}: it is told so");
        eventually("nothing is held", || site.held() == 0);
        site.is_well(name, before);
    }
}

#[test]
fn a_small_head_that_is_large_when_it_is_read_is_refused() {
    let site = Site::start();
    let before = site.host.memory();
    let mut frames = site.connect();
    // A field of almost all of the table, and each byte of the next head is that field again.
    let kept = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4000]].concat();
    let kept = [&get().encoded()[..], &kept].concat();
    frames.send(kind::HEADERS, WHOLE, 1, &kept);
    assert_eq!(frames.finish(1).unwrap().status, 200);
    let bomb = [&get().encoded()[..], &[0xbe; 16_000]].concat();
    for id in [3, 5, 7, 9] {
        let _ = frames.try_send(kind::HEADERS, WHOLE, id, &bomb);
    }
    let answered = frames.finish(3).map(|reply| reply.status);
    assert!(matches!(answered, Ok(431) | Err(_)), "{answered:?}");
    site.is_well("fields from the table", before);
}

#[test]
fn more_than_the_window_is_not_taken() {
    let site = Site::start();
    let before = site.host.memory();
    let mut frames = site.connect();
    frames.raw(&frame(kind::HEADERS, END_HEADERS, 1, &held().encoded())).unwrap();
    // It has told its window, and knows that we know.
    frames.ping().unwrap();
    let part = data(0, 1, &[b'x'; 16_384]);
    let sent = (0..1000).take_while(|_| frames.raw(&part).is_ok()).count();
    let told = frames.finish(1).unwrap_err();
    assert!(matches!(told, Ended::Reset(FLOW) | Ended::Gone(FLOW)), "{sent}: {told:?}");
    site.is_well("data past the window", before);
}
