//! `cargo xtask bench router`: what a request costs in dozen's router, beside other proxies.
//!
//! All contenders stand before the same upstream and do the same work ([`peers`]). They take turns in
//! one run ([`rounds`]), each on processor 0, with the load and the upstream on processor 1. A
//! request that fails, at any of them, ends the run.
//!
//! ```text
//! options -> stage (tools, peers, ours, upstream) -> workload -> rounds -> report
//! ```
//!
//! Start reading at [`bench()`], then [`workload`].

mod constant_rate;
mod docs;
mod echo;
pub(crate) mod instructions;
mod options;
mod peers;
mod process;
mod proof;
mod report;
mod rounds;
mod stage;
mod tls;
mod upstream;
mod venv;
mod websockets;
mod workload;
mod wrk;

use options::Options;
use stage::Stage;
use workload::WORKLOADS;

use crate::task::TaskError;

/// Measures what was asked for, and prints a table for each workload; a whole run is written to the
/// documentation too.
pub(crate) fn bench(words: &[&str]) -> Result<(), TaskError> {
    let stage = Stage::set(Options::parse(words)?)?;
    println!();
    for contender in &stage.contenders {
        println!("{:<10} {}", contender.name, contender.version);
    }
    for (name, why) in &stage.missing {
        println!("{name:<10} missing: {why}");
    }
    proof::prove(&stage)?;
    let mut tables = String::new();
    for workload in WORKLOADS.iter().filter(|workload| stage.options.wants(workload.name)) {
        println!("\n{} (`{}`)", workload.title, workload.name);
        let table = (workload.measure)(&stage)?.text();
        println!("\n{table}");
        tables += &format!("**{}** (`{}`)\n\n{table}\n", workload.title, workload.name);
    }
    if stage.options.is_whole() { docs::write(&stage, &tables) } else { Ok(()) }
}
