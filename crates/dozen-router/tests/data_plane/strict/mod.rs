//! The strict table: what the router does with bytes that two programs could read in two ways.
//!
//! Each probe is sent over a connection of its own, with one more request behind it: that one is
//! served when the connection lives on, and never when the probe was refused. The app behind the
//! router records what it gets, and reads it by the letter. `cargo xtask strict` prints the table,
//! beside what nginx and haproxy do.
//!
//! Start reading at [`case::Case`]; the probes are in [`probes`], answers of hostile apps in
//! [`hostile`].

mod case;
mod differential;
mod generator;
mod h2;
mod hostile;
mod leftovers;
mod peers;
mod probes;
mod reading;
mod table;
mod upstream;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use case::{Case, LAST, Verdict};
use reading::Answer;
use upstream::{Arrived, Upstream};

use crate::host::{Host, stage};

/// What answers and closes at once does so in this time.
const WAIT: Duration = Duration::from_secs(6);
/// Those that are longer are not sent byte by byte.
const LONGEST_IN_BYTES: usize = 1000;

/// In how many pieces a probe is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Whole,
    ByteByByte,
}

/// What became of a probe.
struct Outcome {
    verdict: Verdict,
    arrived: Arrived,
    answers: Vec<Answer>,
    is_closed: bool,
    /// Answers that no client can read.
    unreadable: Option<String>,
}

/// Sends a probe to the proxy at `address`, whose app is `upstream`.
fn probe(address: SocketAddr, upstream: &Upstream, case: &Case, pace: Pace) -> Outcome {
    let (bytes, is_closed) = exchange(address, &[&case.bytes, LAST].concat(), pace);
    let mut arrived = upstream.take();
    if arrived.seen.last().is_none_or(|last| last != "GET /last") {
        // What arrives behind an answer, if anything does, is this probe's too.
        let late = settle(address, upstream);
        arrived.begun += late.begun;
        arrived.seen.extend(late.seen.into_iter().filter(|seen| seen != "GET /settled"));
        arrived.text.extend(late.text);
    }
    let (answers, unreadable) = match reading::answers(&bytes, &[]) {
        Ok(answers) => (answers, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let statuses = answers.iter().map(|answer| answer.status).collect();
    let verdict = Verdict { statuses, seen: arrived.seen.clone() };
    Outcome { verdict, arrived, answers, is_closed, unreadable }
}

/// Everything that comes back until the connection ends, and whether it ends.
fn exchange(address: SocketAddr, bytes: &[u8], pace: Pace) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    stream.set_write_timeout(Some(WAIT)).unwrap();
    match pace {
        // It may be refused, and the connection closed, before all of it is written.
        Pace::Whole => drop(stream.write_all(bytes)),
        Pace::ByteByByte => drop(bytes.chunks(1).try_for_each(|byte| stream.write_all(byte))),
    }
    let (mut all, mut part) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => return (all, true),
            Ok(count) => all.extend_from_slice(&part[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return (all, false);
            }
            Err(_) => return (all, true),
        }
    }
}

/// Waits until the app has got all there is: no request is half there, and a later one has come.
fn settle(address: SocketAddr, upstream: &Upstream) -> Arrived {
    let deadline = Instant::now() + WAIT;
    let request = b"GET /settled HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n";
    exchange(address, request, Pace::Whole);
    while upstream.is_reading() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    upstream.take()
}

/// Why an outcome is not right, if it is not.
fn fault(case: &Case, outcome: &Outcome) -> Option<String> {
    let Outcome { verdict, arrived, answers, .. } = outcome;
    let holds = |text: &&&str| upstream::find(&arrived.text, text.as_bytes()).is_some();
    if let Some(why) = &outcome.unreadable {
        return Some(format!("the client gets {why}"));
    }
    if !case.right.contains(verdict) {
        return Some(format!("{}; right: {}", shown(verdict), shown(&case.right[0])));
    }
    if !outcome.is_closed {
        return Some("the connection was not closed".to_owned());
    }
    if arrived.begun > 0 {
        return Some(format!("{} and the start of a request at the app", shown(verdict)));
    }
    if let Some(text) = case.never.iter().find(holds) {
        return Some(format!("the app gets {text:?}"));
    }
    if let Some(text) = case.always.iter().find(|text| !holds(text)).filter(|_| !verdict.seen.is_empty()) {
        return Some(format!("the app does not get {text:?}"));
    }
    let good = answers.iter().filter(|answer| answer.status == 200);
    let mixed = good
        .zip(&verdict.seen)
        .find(|(answer, seen)| !answer.is_whole || seen.split(' ').nth(1) != Some(answer.body.as_str()));
    mixed.map(|(answer, seen)| format!("{seen:?} is answered by {answer:?}"))
}

/// A verdict on one line.
fn shown(verdict: &Verdict) -> String {
    let statuses: Vec<String> = verdict.statuses.iter().map(u16::to_string).collect();
    let statuses = if statuses.is_empty() { "no answer".to_owned() } else { statuses.join(" ") };
    let short = |seen: &String| match seen.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &seen[..end]).escape_debug().to_string(),
        None => seen.escape_debug().to_string(),
    };
    match verdict.seen.iter().map(short).collect::<Vec<_>>().join(" | ") {
        seen if seen.is_empty() => statuses,
        seen => format!("{statuses} <- {seen}"),
    }
}

/// All probes through a router; the faults.
fn faults(pace: Pace, wanted: impl Fn(&Case) -> bool) -> Vec<String> {
    let (host, upstream) = (Host::start(), Upstream::start());
    host.route(vec![stage("one", &[("1", upstream.address)])]);
    let cases = probes::all().into_iter().flat_map(|(_, cases)| cases).filter(|case| wanted(case));
    cases
        .filter_map(|case| {
            let outcome = probe(host.address, &upstream, &case, pace);
            fault(&case, &outcome).map(|why| format!("{}: {why}", case.name))
        })
        .collect()
}

#[test]
fn every_probe_is_read_in_one_way_or_refused() {
    let faults = faults(Pace::Whole, |_| true);
    assert!(faults.is_empty(), "{} probes:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_probe_that_comes_byte_by_byte_is_read_like_a_whole_one() {
    let faults = faults(Pace::ByteByByte, |case| case.bytes.len() <= LONGEST_IN_BYTES);
    assert!(faults.is_empty(), "{} probes:\n{}", faults.len(), faults.join("\n"));
}
