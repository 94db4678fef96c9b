//! Times of a benchmark, and the table they are printed in.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::task::TaskError;

/// Takes `runs` times of `work`.
pub(super) fn times(
    runs: u32,
    mut work: impl FnMut(u32) -> Result<(), TaskError>,
) -> Result<Vec<Duration>, TaskError> {
    (0..runs)
        .map(|number| {
            let began = Instant::now();
            work(number)?;
            Ok(began.elapsed())
        })
        .collect()
}

/// A line of the table: the median, the shortest and the longest, and the goal.
pub(super) fn print_line(what: &str, times: &[Duration], goal: &str) {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default().as_secs_f64();
    let (median, longest) = (at(sorted.len() / 2), at(sorted.len().saturating_sub(1)));
    println!("{what:<46} {median:>8.3} s   {:>8.3} - {longest:.3} s   {goal}", at(0));
}

/// The CPU time of all threads of a process, to the nanosecond.
pub(super) fn cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let spent = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
    });
    spent.sum()
}
