//! The strict table of HTTP/2: frames that break a rule of RFC 9113, 9110 or 7541, and some that only
//! look so, in the order of the sections that h2spec goes by.
//!
//! Each probe is sent over a connection of its own, with a ping behind it: it is answered if, and only
//! if, the connection lives on. Where the RFCs allow two readings, both are right; the table prints
//! which is ours. `cargo xtask strict` prints it.
//!
//! Start reading at [`case::Case`].
#![allow(clippy::disallowed_macros, reason = "it prints")]

mod case;
mod floods;
mod framing;
mod hpack;
mod kinds;
mod messages;

use std::{sync::Arc, time::Duration};

use case::{Case, Right};
use rustls::ClientConfig;

use super::upstream::{Arrived, Upstream};
use crate::{
    authority::Authority,
    frames::{Ended, Frames},
    host::{Host, eventually, stage},
};

/// A router whose app records what it gets.
struct Stand {
    host: Host,
    upstream: Upstream,
    config: Arc<ClientConfig>,
}

impl Stand {
    fn start() -> Self {
        let (host, upstream, authority) = (Host::start(), Upstream::start(), Authority::new());
        host.route(vec![stage("one", &[("1", upstream.address)])]);
        host.show(vec![authority.certificate(&["one.test"])]);
        Self { host, upstream, config: authority.client_config(&["h2"]) }
    }
}

/// What became of a probe.
struct Outcome {
    /// The code of the farewell, or none when the connection ended without one; if it has ended.
    ended: Option<Option<u32>>,
    /// The answers to the streams that the probe is about.
    streams: Vec<(u32, Result<u16, Ended>)>,
    arrived: Arrived,
}

fn all() -> Vec<Case> {
    [framing::cases(), kinds::cases(), messages::cases(), hpack::cases()].concat()
}

fn probe(stand: &Stand, case: &Case) -> Outcome {
    let mut frames = match &case.start {
        Some(start) => Frames::starting_with(start, stand.host.tls, "one.test", &stand.config),
        None => Frames::connect(stand.host.tls, "one.test", &stand.config),
    };
    frames.wait_for_at_most(Duration::from_secs(5));
    // It may be refused, and the connection closed, before all of it is written.
    let _ = frames.raw(&case.bytes);
    let lives = frames.ping().is_ok();
    let ids = match case.right[0] {
        Right::Served(ids) => ids.to_vec(),
        Right::Reset(id, _) | Right::Status(id, _) | Right::Malformed(id) => vec![id],
        // Whatever is answered is answered now.
        Right::Any if !case.seen.is_empty() => vec![1],
        Right::Ends(_) | Right::Any => Vec::new(),
    };
    // An answer may come before its stream turns out to break a rule.
    let finish = |id| (id, frames.outcome(id).map(|reply| reply.status));
    let streams = ids.into_iter().map(finish).collect();
    let lives = lives && frames.ping().is_ok();
    let ended = (!lives).then(|| frames.goes_away());
    drop(frames);
    eventually("the app is done with it", || !stand.upstream.is_reading());
    Outcome { ended, streams, arrived: stand.upstream.take() }
}

impl Right {
    /// Also with the very code that RFC 9113 names.
    fn allows_exactly(self, outcome: &Outcome) -> bool {
        let is_exact = match (self, outcome.ended) {
            (Self::Ends(codes) | Self::Reset(_, codes), Some(Some(code))) => codes.contains(&code),
            _ => true,
        };
        is_exact && self.allows(outcome)
    }

    fn allows(self, outcome: &Outcome) -> bool {
        let ends_with = |codes: &[u32]| match outcome.ended {
            // Without a farewell it is no less an end.
            Some(None) => true,
            // A code may be less exact than there is one (7).
            Some(Some(code)) => codes.contains(&code) || code == case::PROTOCOL,
            None => false,
        };
        let of = |id: u32| outcome.streams.iter().find(|(known, _)| *known == id).map(|(_, ended)| *ended);
        match self {
            Self::Served(ids) => outcome.ended.is_none() && ids.iter().all(|id| of(*id) == Some(Ok(200))),
            Self::Reset(id, codes) => match of(id) {
                Some(Err(Ended::Reset(code))) => codes.contains(&code),
                _ => ends_with(codes),
            },
            Self::Ends(codes) => ends_with(codes),
            Self::Status(id, status) => of(id) == Some(Ok(status)),
            Self::Malformed(id) => match of(id) {
                Some(Ok(status)) => status == 400,
                _ => true,
            },
            Self::Any => true,
        }
    }
}

/// Why an outcome is not right, if it is not.
fn fault(case: &Case, outcome: &Outcome) -> Option<String> {
    if !case.right.iter().any(|right| right.allows(outcome)) {
        return Some(format!("{}; right: {:?}", shown(outcome), case.right));
    }
    let mut seen: Vec<&str> = outcome.arrived.seen.iter().map(String::as_str).map(shortened).collect();
    if !case.may_see_less && seen != case.seen {
        return Some(format!("{}, and the app gets {seen:?}", shown(outcome)));
    }
    seen.retain(|one| !case.seen.contains(one));
    (!seen.is_empty()).then(|| format!("the app gets {seen:?}"))
}

/// A large body is known by its length.
fn shortened(seen: &str) -> &str {
    match seen.strip_prefix("POST / chunked ") {
        Some(body) if body.len() == 16_384 => "POST / chunked 16384",
        _ => seen,
    }
}

/// In few words, for the table.
fn shown(outcome: &Outcome) -> String {
    let stream = |(id, ended): &(u32, Result<u16, Ended>)| match ended {
        Ok(status) => format!("{id}: {status}"),
        Err(Ended::Reset(code)) => format!("{id}: reset {}", word(*code)),
        Err(Ended::Silent) => format!("{id}: open"),
        Err(_) => format!("{id}: -"),
    };
    let mut words: Vec<String> = outcome.streams.iter().map(stream).collect();
    words.extend(outcome.ended.map(|code| match code {
        Some(code) => format!("ends {}", word(code)),
        None => "ends".to_owned(),
    }));
    if words.is_empty() { "goes on".to_owned() } else { words.join(", ") }
}

/// The name of a code.
fn word(code: u32) -> String {
    let names = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
    ];
    names.get(code as usize).map_or_else(|| code.to_string(), |name| (*name).to_owned())
}

#[test]
fn every_probe_of_http_2_is_answered_as_the_rfcs_say() {
    let stand = Stand::start();
    let faults: Vec<String> = all()
        .iter()
        .filter_map(|case| fault(case, &probe(&stand, case)).map(|why| format!("{}: {why}", case.name)))
        .collect();
    assert!(faults.is_empty(), "{} probes:\n{}", faults.len(), faults.join("\n"));
}

#[test]
#[ignore = "prints the whole table: `cargo xtask strict`"]
fn table_of_http_2() {
    let (stand, mut wrong, cases) = (Stand::start(), 0, all());
    println!("\nHTTP/2, by section of RFC 9113: what becomes of a probe's streams and its connection.");
    println!(
        "`!`: not right. `~`: right, with the general code in place of the exact one, or in another way.\n"
    );
    for case in &cases {
        let outcome = probe(&stand, case);
        let is_wrong = fault(case, &outcome).is_some();
        wrong += usize::from(is_wrong);
        let mark = match case.right[0].allows_exactly(&outcome) {
            _ if is_wrong => "!",
            true => " ",
            false => "~",
        };
        println!("{:<58} {mark}{}", case.name, shown(&outcome));
    }
    println!("\n{} probes of HTTP/2; not right: {wrong}", cases.len());
}
