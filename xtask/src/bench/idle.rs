//! `cargo xtask bench idle`: what the platform takes while nobody asks for anything, and how long
//! a command takes that does nothing.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::{
    clock::{cpu, print_line, times},
    stand::{Folder, Stand, number_after},
};
use crate::task::TaskError;

const WATCHED: Duration = Duration::from_secs(60);
/// Threads that served commands end after ten seconds, and take their times with them.
const SETTLE: Duration = Duration::from_secs(15);
const RUNS: u32 = 20;

/// A process of the platform.
struct Part {
    name: &'static str,
    pid: u32,
}

/// Measures memory, CPU time of a minute, and the start of commands.
pub(crate) fn bench() -> Result<(), TaskError> {
    let folder = Folder::make()?;
    let stand = Stand::start(&folder)?;
    stand.program("dozen", &["up", "."], &folder.path("blango"))?;
    let help = times(RUNS, |_| stand.dozen(&["--help"]).map(drop))?;
    let ps = times(RUNS, |_| stand.dozen(&["ps", "-a", "blango"]).map(drop))?;
    let parts = parts(&stand)?;
    println!("\nwaiting for {} s", (SETTLE + WATCHED).as_secs());
    thread::sleep(SETTLE);
    let before: Vec<Duration> = parts.iter().map(|part| cpu(part.pid)).collect();
    let began = Instant::now();
    thread::sleep(WATCHED);
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    println!("\n{:<10} {:>8} {:>16}", "process", "PSS", "CPU a minute");
    let (mut memory, mut time) = (0, 0.0);
    for (part, before) in parts.iter().zip(before) {
        let spent = cpu(part.pid).saturating_sub(before).as_secs_f64() * 1000.0 / minutes;
        let pss = pss(part.pid);
        println!("{:<10} {:>5.1} MB {spent:>13.1} ms", part.name, megabytes(pss));
        memory += pss;
        time += spent;
    }
    println!("{:<10} {:>5.1} MB {time:>13.1} ms   goals 25 MB, 60 ms\n", "all", megabytes(memory));
    print_line("dozen --help", &help, "goal 0.020 s");
    print_line("dozen ps", &ps, "goal 0.020 s");
    Ok(())
}

/// Control, the router, and the shim and init of the one instance.
fn parts(stand: &Stand) -> Result<Vec<Part>, TaskError> {
    let missing = || TaskError::new("the status names no process");
    let status = stand.dozen(&["server", "status", "--json"])?;
    let router = number_after(&status, "\"router_pid\":").ok_or_else(missing)?;
    let processes = stand.dozen(&["ps", "-a", "blango", "--json"])?;
    let main = number_after(&processes, "\"pid\":").ok_or_else(missing)?;
    let init = parent(main).ok_or_else(missing)?;
    let shim = parent(init).ok_or_else(missing)?;
    let part = |(name, pid)| Part { name, pid };
    Ok([("control", stand.control_pid()), ("router", router), ("shim", shim), ("init", init)]
        .map(part)
        .into())
}

fn parent(pid: u32) -> Option<u32> {
    number_after(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "PPid:")
}

/// Its share of memory, in kB.
fn pss(pid: u32) -> u32 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    number_after(&text, "\nPss:").unwrap_or_default()
}

fn megabytes(kilobytes: u32) -> f64 {
    f64::from(kilobytes) / 1024.0
}
