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

mod options;
mod peers;
mod process;
mod report;
mod rounds;
mod stage;
mod upstream;
mod venv;
mod workload;
mod wrk;

use options::Options;
use stage::Stage;
use workload::WORKLOADS;

use crate::task::TaskError;

/// Measures what was asked for, and prints a table for each workload.
pub(crate) fn bench(words: &[&str]) -> Result<(), TaskError> {
    let stage = Stage::set(Options::parse(words)?)?;
    println!();
    for contender in &stage.contenders {
        println!("{:<10} {}", contender.name, contender.version);
    }
    for (name, why) in &stage.missing {
        println!("{name:<10} missing: {why}");
    }
    for workload in WORKLOADS.iter().filter(|workload| stage.options.wants(workload.name)) {
        println!("\n{} (`{}`)", workload.title, workload.name);
        let table = (workload.measure)(&stage)?;
        println!("\n{}", table.text());
    }
    Ok(())
}
