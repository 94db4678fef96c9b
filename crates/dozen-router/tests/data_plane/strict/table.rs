//! The strict table in print: a line for each probe, and what dozen's router, nginx and haproxy
//! make of it. `cargo xtask strict` runs it.
#![allow(clippy::disallowed_macros, reason = "it prints")]

use std::net::SocketAddr;

use super::{
    Pace,
    case::{Case, Verdict},
    fault, hostile,
    peers::Peer,
    probe, probes,
    upstream::Upstream,
};
use crate::host::{Host, stage};

/// A proxy and the app behind it.
struct Proxy {
    name: &'static str,
    address: SocketAddr,
    upstream: Upstream,
    /// Answers that are not right.
    wrong: usize,
}

#[test]
#[ignore = "prints the whole table: `cargo xtask strict`"]
fn table_of_what_each_proxy_does() {
    let host = Host::start();
    let ours = Upstream::start();
    host.route(vec![stage("one", &[("1", ours.address)])]);
    let mut proxies = vec![Proxy { name: "dozen", address: host.address, upstream: ours, wrong: 0 }];
    // Alive until the end.
    let mut peers = Vec::new();
    for start in [Peer::nginx, Peer::haproxy] {
        let upstream = Upstream::start();
        if let Some(peer) = start(upstream.address) {
            proxies.push(Proxy { name: peer.name, address: peer.address, upstream, wrong: 0 });
            peers.push(peer);
        }
    }
    println!("\nThe statuses of the answers, then the requests that reach the app whole, without the one");
    println!("that ends each probe. `!`: not right. `?`: refused as it should be, in another way.");
    let mut count = 0;
    for (about, cases) in probes::all() {
        let names: String = proxies.iter().map(|proxy| format!("{:<18}", proxy.name)).collect();
        println!("\n{about:<44}{:<14}{names}", "right");
        for case in &cases {
            count += 1;
            let cells: String = proxies.iter_mut().map(|proxy| cell(proxy, case)).collect();
            println!("{:<43} {:<14}{cells}", shortened(&case.name), brief(&case.right[0]));
        }
    }
    println!("\n{count} probes; not right:");
    for proxy in &proxies {
        println!("  {:<8} {}", proxy.name, proxy.wrong);
    }
}

#[test]
#[ignore = "prints the whole table: `cargo xtask strict`"]
fn table_of_what_each_proxy_passes_on() {
    let host = Host::start();
    println!("\nWhat a client gets of an answer. `!`: not right; `poisoned`: another one's bytes.");
    println!("\n{:<44}{:<14}{:<18}{:<18}haproxy", "answer", "right", "dozen", "nginx");
    for (number, answered) in hostile::all().enumerate() {
        let app = hostile::app(&answered);
        host.route(vec![stage("one", &[(&number.to_string(), app.address)])]);
        // A proxy of its own for each answer: none begins with what another one has left.
        let peers = [Peer::nginx(app.address), Peer::haproxy(app.address)];
        let peers = peers.iter().flatten().map(|peer| peer.address);
        let cells: String = std::iter::once(host.address)
            .chain(peers)
            .map(|address| hostile::ask(address, &answered))
            .map(|met| format!("{}{:<17}", if met.fault.is_some() { "!" } else { " " }, met.brief))
            .collect();
        println!("{:<43} {:<14}{cells}", shortened(answered.name), answered.right.to_string());
    }
}

/// What one proxy makes of a probe.
fn cell(proxy: &mut Proxy, case: &Case) -> String {
    let mut case = case.clone();
    if proxy.name != "dozen" {
        // How it names its client to the app, and frames a body anew, is its own affair.
        (case.never, case.always) = (Vec::new(), Vec::new());
        let reframed = case.right.clone().into_iter().map(|right| {
            let seen = right.seen.iter().map(|seen| seen.replacen(" chunked ", " length ", 1));
            Verdict { seen: seen.collect(), ..right }
        });
        case.right.extend(reframed);
    }
    let outcome = probe(proxy.address, &proxy.upstream, &case, Pace::Whole);
    let mark = match fault(&case, &outcome) {
        None => " ",
        Some(_) if is_refused(&outcome.verdict) && is_refused(&case.right[0]) => "?",
        Some(_) => "!",
    };
    proxy.wrong += usize::from(mark == "!");
    format!("{mark}{:<17}", brief(&outcome.verdict))
}

/// Whether nothing of it reached the app whole, and nobody was told that it did.
fn is_refused(verdict: &Verdict) -> bool {
    verdict.seen.is_empty() && verdict.statuses.iter().all(|status| *status >= 400)
}

fn brief(verdict: &Verdict) -> String {
    let statuses: Vec<String> = verdict.statuses.iter().map(u16::to_string).collect();
    let seen = verdict.seen.iter().filter(|seen| *seen != "GET /last").count();
    let statuses = match statuses.len() {
        0 => "closed".to_owned(),
        5.. => format!("{} … x{}", statuses[0], statuses.len()),
        _ => statuses.join(" "),
    };
    if seen == 0 { statuses } else { format!("{statuses} <- {seen}") }
}

fn shortened(name: &str) -> String {
    let name = name.replace("\r\n", "; ").replace('\r', "\\r").replace('\0', "\\0").replace('\t', "\\t");
    match name.char_indices().nth(41) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}
