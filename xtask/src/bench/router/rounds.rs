//! Rounds of requests, in which the contenders take turns.
//!
//! The order is turned round after each round, so that whatever else the machine does meets all
//! alike, and ratios are taken within a round. Only the proxy's own processes are counted: the time
//! of its processor, in and outside the kernel, from before the first request to after the last.

use std::{thread, time::Duration};

use super::{
    peers::Contender,
    process::{Server, Used},
    report::{Table, median, requests_table},
    stage::Stage,
    workload::Drove,
};
use crate::task::TaskError;

/// A contender that serves.
#[derive(Debug)]
pub(super) struct Running<'s> {
    pub(super) contender: &'s Contender,
    pub(super) server: Server,
    pub(super) plain: u16,
    /// Its memory before the first request, in MiB.
    pub(super) idle: f64,
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
pub(super) struct Outcome<'s> {
    pub(super) contender: &'s Contender,
    pub(super) idle: f64,
    pub(super) rounds: Vec<Measured>,
}

impl<'s> Running<'s> {
    /// Starts a contender for requests to the upstream.
    pub(super) fn start(stage: &Stage, contender: &'s Contender) -> Result<Self, TaskError> {
        let site = stage.site(contender)?;
        let server = Server::start(&mut contender.set_up(&site)?, &site.folder, site.plain)?;
        let idle = server.memory();
        Ok(Self { contender, server, plain: site.plain, idle })
    }
}

/// Measures `drive` through each contender, several times, in turns.
pub(super) fn requests(
    stage: &Stage,
    drive: impl Fn(&Running, u32) -> Result<Drove, TaskError> + Sync,
) -> Result<Table, TaskError> {
    let started = stage.contenders.iter().map(|contender| Running::start(stage, contender));
    let running = started.collect::<Result<Vec<_>, _>>()?;
    let mut rounds: Vec<Vec<Measured>> = vec![Vec::new(); running.len()];
    for one in &running {
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
            tell(round, one.contender, &measured);
            rounds[index].push(measured);
        }
    }
    let outcomes: Vec<Outcome> = running
        .iter()
        .zip(rounds)
        .map(|(one, rounds)| Outcome { contender: one.contender, idle: one.idle, rounds })
        .collect();
    Ok(requests_table(&outcomes, &stage.missing))
}

fn by(one: &Running, error: &TaskError) -> TaskError {
    TaskError::new(format!("{}: {error}", one.contender.name))
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

fn tell(round: usize, contender: &Contender, measured: &Measured) {
    let drove = &measured.drove;
    println!(
        "  {:>2} {:<10} {:>7.1} µs a request, {:>7.0} a second, p50 {:.2} ms, p99 {:.2} ms",
        round + 1,
        contender.name,
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
