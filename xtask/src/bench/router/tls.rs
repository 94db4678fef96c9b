//! Loads over TLS: `h2load` on kept connections, `curl` for new handshakes.
//!
//! Not wrk: it names no host in its handshakes, and goes on with earlier sessions.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{peers::HOST, rounds::Running, stage::Stage, workload::Drove};
use crate::task::{TaskError, output};

/// So many clients make handshakes at once.
const CLIENTS: usize = 4;
/// Requests of a client before it looks at the clock.
const BATCH: usize = 50;

/// Asks for `/1k` over kept connections with so many streams in each; HTTP/1.1 when there is one.
pub(super) fn h2load(
    folder: &Path,
    port: u16,
    (connections, streams): (u32, u32),
    seconds: u32,
) -> Result<Drove, TaskError> {
    let log = folder.join("h2load.log");
    // It appends.
    let _ = fs::remove_file(&log);
    let mut command = Command::new("h2load");
    command.arg(format!("--log-file={}", log.display())).arg(format!("--connect-to=127.0.0.1:{port}"));
    command.args([format!("-c{connections}"), format!("-m{streams}"), format!("-D{seconds}")]);
    if streams == 1 {
        command.arg("--h1");
    }
    all_answered(command.arg(format!("https://{HOST}/1k")))?;
    let text = fs::read_to_string(&log)?;
    // Start, status, microseconds.
    let latency = |line: &str| line.split('\t').nth(2)?.parse().ok().map(Duration::from_micros);
    Drove::of(text.lines().filter_map(latency).collect(), Duration::from_secs(u64::from(seconds)))
}

/// A load that is a number of requests, not a time.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) scheme: &'static str,
    pub(super) connections: u32,
    /// HTTP/1.1 when there is one in each connection.
    pub(super) streams: u32,
}

/// Asks for `/1k` so many times.
pub(super) fn h2load_exactly(running: &Running, load: &Load, requests: u32) -> Result<(), TaskError> {
    let Load { scheme, connections, streams } = load;
    let port = if *scheme == "https" { running.tls } else { running.plain };
    let mut command = Command::new("h2load");
    command.arg(format!("--connect-to=127.0.0.1:{port}"));
    command.args([format!("-c{connections}"), format!("-m{streams}"), format!("-n{requests}")]);
    if *streams == 1 {
        command.arg("--h1");
    }
    all_answered(command.arg(format!("{scheme}://{HOST}/1k")))
}

fn all_answered(h2load: &mut Command) -> Result<(), TaskError> {
    let told = output(h2load)?;
    let failed = told.lines().find(|line| line.starts_with("requests:")).unwrap_or_default();
    if !failed.contains(" 0 failed, 0 errored, 0 timeout") || !told.contains(" 0 3xx, 0 4xx, 0 5xx") {
        return Err(TaskError::new(format!("not every request was answered:\n{told}")));
    }
    Ok(())
}

/// Asks for `/1k` with a whole handshake each time: no session is gone on with.
pub(super) fn handshakes(stage: &Stage, port: u16, seconds: u32) -> Result<Drove, TaskError> {
    let began = Instant::now();
    let mut latencies = Vec::new();
    while began.elapsed() < Duration::from_secs(u64::from(seconds)) {
        let batch = || curl(stage, port).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let clients = (0..CLIENTS).map(|_| batch()).collect::<Result<Vec<_>, _>>()?;
        for client in clients {
            let ended = client.wait_with_output()?;
            let told = String::from_utf8_lossy(&ended.stdout);
            if !ended.status.success() || told.lines().any(|line| !line.starts_with("200 1 1024 ")) {
                let why = String::from_utf8_lossy(&ended.stderr);
                return Err(TaskError::new(format!("not every request was answered:\n{told}{why}")));
            }
            let seconds = told.lines().filter_map(|line| line.rsplit(' ').next()?.parse().ok());
            latencies.extend(seconds.map(Duration::from_secs_f64));
        }
    }
    Drove::of(latencies, began.elapsed())
}

fn curl(stage: &Stage, port: u16) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--http1.1", "--no-sessionid", "-H", "Connection: close"]);
    curl.arg("--cacert").arg(stage.certificates().join("certificate.pem"));
    curl.args(["-o", "/dev/null", "-w", "%{http_code} %{num_connects} %{size_download} %{time_total}\\n"]);
    curl.args(["--resolve", &format!("{HOST}:{port}:127.0.0.1")]);
    curl.arg(format!("https://{HOST}:{port}/1k?[1-{BATCH}]"));
    curl
}
