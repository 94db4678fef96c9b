//! `wrk`, and what it tells.

use std::{process::Command, time::Duration};

use super::workload::Drove;
use crate::task::{TaskError, output};

/// Asks for `url` over 64 connections for so many seconds.
///
/// A request that failed or was not answered with 2xx is an error: what answers wrongly must not
/// look quick.
pub(super) fn wrk(url: &str, host: &str, seconds: u32, headers: &[&str]) -> Result<Drove, TaskError> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c64", &format!("-d{seconds}s"), "--latency", "-H", &format!("Host: {host}")]);
    for header in headers {
        command.args(["-H", header]);
    }
    read(&output(command.arg(url))?)
}

fn read(told: &str) -> Result<Drove, TaskError> {
    if told.contains("Non-2xx") || told.contains("Socket errors") {
        return Err(TaskError::new(format!("not every request was answered:\n{told}")));
    }
    let all = || {
        let line = told.lines().find(|line| line.contains(" requests in "))?;
        let (requests, rest) = line.trim().split_once(" requests in ")?;
        let requests = requests.parse().ok().filter(|requests| *requests > 0)?;
        let elapsed = duration(rest.split_once(',')?.0)?;
        let latency = |part| {
            let line = told.lines().find_map(|line| line.trim().strip_prefix(part))?;
            duration(line.trim())
        };
        Some(Drove { requests, elapsed, p50: latency("50%")?, p99: latency("99%")? })
    };
    all().ok_or_else(|| TaskError::new(format!("wrk measured nothing:\n{told}")))
}

/// `812.00us`, `1.35ms`, `2.00s` or `1.05m`.
fn duration(text: &str) -> Option<Duration> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
    units.iter().find_map(|(unit, seconds)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(Duration::from_secs_f64(number * seconds))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "Running 2s test @ http://127.0.0.1:8001/1k\n  1 threads and 64 connections\n  \
        Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     1.44ms    1.02ms  19.50ms   92.01%\n    \
        Req/Sec    45.83k     3.15k   50.46k    75.00%\n  Latency Distribution\n     50%    1.35ms\n     \
        75%    1.62ms\n     90%    2.05ms\n     99%  812.00us\n  91246 requests in 2.01s, 115.48MB read\n\
        Requests/sec:  45406.92\nTransfer/sec:     57.47MB\n";

    #[test]
    fn what_wrk_tells_is_read() {
        let drove = read(TOLD).unwrap();
        assert_eq!(drove.requests, 91_246);
        assert_eq!(drove.elapsed, Duration::from_millis(2010));
        assert_eq!(drove.p50, Duration::from_micros(1350));
        assert_eq!(drove.p99, Duration::from_micros(812));
    }

    #[test]
    fn a_request_that_failed_is_an_error() {
        for line in
            ["  Non-2xx or 3xx responses: 4", "  Socket errors: connect 0, read 1, write 0, timeout 0"]
        {
            assert!(read(&format!("{TOLD}{line}\n")).is_err(), "{line}");
        }
        assert!(read("unable to connect").is_err());
    }
}
