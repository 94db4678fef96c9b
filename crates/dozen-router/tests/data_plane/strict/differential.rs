//! Generated streams of requests, through the router and through nginx: the app behind the router
//! sees what the streams are known to contain, or what nginx reads in them, and nothing else.
//!
//! Of a stream that is valid the app sees all, byte by byte. Of a broken one it may see less than
//! behind nginx, which repairs a lot; never more, and never another request. nginx frames bodies
//! anew, so a body in chunks and one with a length are the same here.

use std::thread;

use super::{
    Pace,
    case::Case,
    generator::{Numbers, Stream},
    peers::{Peer, skip},
    probe, shown,
    upstream::Upstream,
};
use crate::host::{Host, stage};

/// The router and nginx, each with an app of its own.
struct Pair {
    host: Host,
    ours: Upstream,
    nginx: Peer,
    theirs: Upstream,
}

impl Pair {
    fn start() -> Option<Self> {
        let (host, ours, theirs) = (Host::start(), Upstream::start(), Upstream::start());
        host.route(vec![stage("one", &[("1", ours.address)])]);
        let nginx = Peer::nginx(theirs.address)?;
        Some(Self { host, ours, nginx, theirs })
    }

    /// What is wrong with what becomes of a stream, if anything is.
    fn fault(&self, stream: &Stream) -> Option<String> {
        let case = Case::refused("", stream.bytes.clone());
        let ours = probe(self.host.address, &self.ours, &case, Pace::Whole);
        if let Some(why) = ours.unreadable {
            return Some(format!("the client gets {why}"));
        }
        let garbage = ours.verdict.seen.iter().find(|seen| seen.starts_with("garbage"));
        if let Some(garbage) = garbage {
            return Some(format!("the app gets {garbage}"));
        }
        if stream.is_valid {
            let is_right = ours.verdict.seen == stream.known;
            return (!is_right).then(|| format!("{}; right: {:?}", shown(&ours.verdict), stream.known));
        }
        let mut seen = reframed(&ours.verdict.seen);
        if is_within(&seen, &reframed(&stream.known)) {
            return None;
        }
        if !ours.verdict.seen.iter().all(|seen| is_judged(seen)) {
            return None;
        }
        let theirs = probe(self.nginx.address, &self.theirs, &case, Pace::Whole);
        if ours.verdict.statuses.contains(&404) {
            // It was for nobody here, and the connection goes on; nginx may have refused its method.
            seen.retain(|seen| seen != "GET /last");
        }
        let is_right = is_within(&seen, &reframed(&theirs.verdict.seen));
        (!is_right).then(|| format!("{}; nginx: {}", shown(&ours.verdict), shown(&theirs.verdict)))
    }
}

/// Whether nginx would take a request if nothing else is wrong with it: it knows methods of capital
/// letters only and no `*`, and it decodes paths, which is the app's business here.
fn is_judged(seen: &str) -> bool {
    let mut words = seen.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_hex = |part: &str| part.len() > 1 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    let path = target.split('?').next().unwrap_or_default();
    method.bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte))
        && target != "*"
        && path.split('%').skip(1).all(|part| is_hex(part) && !part.starts_with("00"))
}

/// However its body is framed.
fn reframed(seen: &[String]) -> Vec<String> {
    let plain = |seen: &String| {
        let seen = seen.replacen(" chunked ", " length ", 1);
        // No body and an empty one are the same to an app.
        seen.strip_suffix(" length ").map_or(seen.clone(), str::to_owned)
    };
    seen.iter().map(plain).collect()
}

/// Whether all of `some` are in `all`, in the same order.
fn is_within(some: &[String], all: &[String]) -> bool {
    let mut all = all.iter();
    some.iter().all(|one| all.any(|other| other == one))
}

/// Runs so many streams from a seed, on a pair for each thread.
fn compare(seed: u64, count: usize) -> Option<Vec<String>> {
    const THREADS: usize = 2;
    let pairs: Vec<Pair> = (0..THREADS).map(|_| Pair::start()).collect::<Option<_>>()?;
    let faults = thread::scope(|scope| {
        let runs: Vec<_> = pairs
            .iter()
            .enumerate()
            .map(|(thread, pair)| scope.spawn(move || run(pair, seed, (thread..count).step_by(THREADS))))
            .collect();
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    });
    Some(faults)
}

fn run(pair: &Pair, seed: u64, streams: impl Iterator<Item = usize>) -> Vec<String> {
    let mut faults = Vec::new();
    for number in streams {
        // Each by itself: one can be repeated without those before it.
        let stream = Stream::of(&mut Numbers::from(seed ^ ((number as u64) << 32)), number);
        if let Some(why) = pair.fault(&stream) {
            let bytes = stream.bytes.escape_ascii().to_string();
            faults.push(format!("seed {seed}, stream {number}: {why}\n    {bytes}"));
        }
    }
    faults
}

#[test]
fn an_app_behind_us_sees_no_request_that_is_not_there() {
    let Some(faults) = compare(20_261_123, 6000) else { return skip("nginx is not installed") };
    assert!(faults.is_empty(), "{} streams:\n{}", faults.len(), faults.join("\n"));
}

#[test]
#[ignore = "as long as one likes: `cargo xtask strict --streams COUNT`"]
fn long_run() {
    #![expect(
        clippy::disallowed_methods,
        clippy::disallowed_macros,
        reason = "a long run is asked for, and tells"
    )]
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = number("DOZEN_STRICT_SEED").unwrap_or(now.as_secs());
    let count = usize::try_from(number("DOZEN_STRICT_STREAMS").unwrap_or(100_000)).unwrap();
    println!("{count} streams from seed {seed}");
    let faults = compare(seed, count).expect("nginx");
    assert!(faults.is_empty(), "{} streams:\n{}", faults.len(), faults.join("\n"));
}
