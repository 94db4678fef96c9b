//! Rounds of requests, in which the contenders take turns.
//!
//! The order is turned round after each round, so that whatever else the machine does meets all
//! alike, and ratios are taken within a round. Only the proxy's own processes are counted: the time
//! of its processor, in and outside the kernel, from before the first request to after the last.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    peers::{Contender, Site},
    process::{Server, Used},
    proof::ask,
    report::{Table, median, requests_table},
    stage::Stage,
    workload::Drove,
};
use crate::task::TaskError;

/// For the first answer of a contender.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// What a workload speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Plain,
    Tls,
}

/// A contender that serves.
#[derive(Debug)]
pub(super) struct Running {
    /// What it is called in the table.
    pub(super) name: String,
    pub(super) server: Server,
    pub(super) plain: u16,
    pub(super) tls: u16,
    /// Its memory before the load, in MiB.
    pub(super) idle: f64,
    /// Whether the others are compared with it.
    pub(super) is_reference: bool,
}

/// One contender in one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) drove: Drove,
    pub(super) used: Used,
    /// Its memory late in the round, in MiB.
    pub(super) memory: f64,
}

impl Measured {
    /// Microseconds of its processor for each request.
    pub(super) fn cost(&self) -> f64 {
        self.used.cpu.as_secs_f64() * 1e6 / f64::from(self.drove.requests)
    }
}

/// What a contender's rounds came to.
#[derive(Debug)]
pub(super) struct Outcome<'r> {
    pub(super) running: &'r Running,
    pub(super) rounds: Vec<Measured>,
}

impl Running {
    /// Starts a contender and waits for its first answer.
    pub(super) fn start(contender: &Contender, site: &Site) -> Result<Self, TaskError> {
        let server = Server::start(&mut contender.set_up(site)?, &site.folder, site.plain)?;
        let name = contender.name.clone();
        let began = Instant::now();
        // Some listen before they have read their routes.
        while let Err(error) = ask(site.plain, "/1k") {
            if began.elapsed() > ANSWERS_WITHIN {
                return Err(TaskError::new(format!("{name} does not answer: {error}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        let (idle, is_reference) = (server.memory(), !contender.is_ours());
        Ok(Self { name, server, plain: site.plain, tls: site.tls, idle, is_reference })
    }
}

/// Measures `drive` through each contender that speaks what the workload does.
pub(super) fn requests(
    stage: &Stage,
    over: Over,
    drive: impl Fn(&Running, u32) -> Result<Drove, TaskError> + Sync,
) -> Result<Table, TaskError> {
    let mut absent: Vec<(String, String)> =
        stage.missing.iter().map(|(name, why)| (name.clone(), format!("missing: {why}"))).collect();
    let mut running = Vec::new();
    for contender in &stage.contenders {
        if over == Over::Tls && !contender.peer.speaks_tls {
            absent.push((contender.name.clone(), "not measured: it does not speak TLS".to_owned()));
        } else {
            running.push(Running::start(contender, &stage.site(contender)?)?);
        }
    }
    // Of several builds of ours, the others are compared with the first.
    if let Some(first) = running.first_mut().filter(|_| stage.options.ours.len() > 1) {
        first.is_reference = true;
    }
    take_turns(stage, &running, absent, drive)
}

/// Measures `drive` through each, several times, in turns.
pub(super) fn take_turns(
    stage: &Stage,
    running: &[Running],
    absent: Vec<(String, String)>,
    drive: impl Fn(&Running, u32) -> Result<Drove, TaskError> + Sync,
) -> Result<Table, TaskError> {
    let mut rounds: Vec<Vec<Measured>> = vec![Vec::new(); running.len()];
    for one in running {
        drive(one, 1).map_err(|error| by(one, &error))?;
    }
    for round in 0..stage.options.rounds {
        let mut order: Vec<usize> = (0..running.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let one = &running[index];
            let measured = measure(one, stage.options.seconds, &drive).map_err(|error| by(one, &error))?;
            tell(round, one, &measured);
            rounds[index].push(measured);
        }
    }
    let outcomes = running.iter().zip(rounds).map(|(running, rounds)| Outcome { running, rounds });
    Ok(requests_table(&outcomes.collect::<Vec<_>>(), absent))
}

fn by(one: &Running, error: &TaskError) -> TaskError {
    TaskError::new(format!("{}: {error}", one.name))
}

fn measure(
    one: &Running,
    seconds: u32,
    drive: &(impl Fn(&Running, u32) -> Result<Drove, TaskError> + Sync),
) -> Result<Measured, TaskError> {
    let before = one.server.used();
    let (drove, memory) = thread::scope(|scope| {
        let memory = scope.spawn(|| {
            thread::sleep(Duration::from_millis(u64::from(seconds) * 700));
            one.server.memory()
        });
        let drove = drive(one, seconds);
        (drove, memory.join().unwrap_or_default())
    });
    Ok(Measured { drove: drove?, used: one.server.used().since(before), memory })
}

fn tell(round: usize, one: &Running, measured: &Measured) {
    let drove = &measured.drove;
    println!(
        "  {:>2} {:<20} {:>7.1} µs a request, {:>7.0} a second, p50 {:.2} ms, p99 {:.2} ms",
        round + 1,
        one.name,
        measured.cost(),
        f64::from(drove.requests) / drove.elapsed.as_secs_f64(),
        drove.p50.as_secs_f64() * 1e3,
        drove.p99.as_secs_f64() * 1e3,
    );
}

/// The median over the rounds of how much more one costs than another in the same round.
pub(super) fn ratio(one: &Outcome, other: &Outcome) -> f64 {
    median(one.rounds.iter().zip(&other.rounds).map(|(one, other)| one.cost() / other.cost()))
}
