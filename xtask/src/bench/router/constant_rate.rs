//! Requests at a constant rate, with latencies as those feel them who ask.
//!
//! A load that waits for an answer before it asks again slows down with the proxy, and so leaves out
//! the requests that would have waited. Here each request has its moment, whatever became of the one
//! before it, and its latency counts from that moment.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::{peers::HOST, workload::Drove};
use crate::task::TaskError;

const CONNECTIONS: u32 = 64;
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Asks `rate` times a second for `/1k` over 64 connections.
pub(super) fn constant_rate(port: u16, rate: u32, seconds: u32) -> Result<Drove, TaskError> {
    let interval = Duration::from_secs(1) / rate;
    let each = rate * seconds / CONNECTIONS;
    // All are connected by then.
    let first = Instant::now() + Duration::from_millis(200);
    let asked: io::Result<Vec<Vec<Duration>>> = thread::scope(|scope| {
        let ask = |number| {
            move || {
                let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
                let due = |turn: u32| first + interval * (turn * CONNECTIONS + number);
                (0..each).map(|turn| ask_at(&mut stream, due(turn))).collect::<io::Result<Vec<_>>>()
            }
        };
        let threads: Vec<_> = (0..CONNECTIONS).map(|number| scope.spawn(ask(number))).collect();
        let panicked = |_| Err(io::Error::other("a thread panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    let latencies =
        asked.map_err(|error| TaskError::new(format!("not every request was answered: {error}")))?;
    Drove::of(latencies.concat(), first.elapsed())
}

/// Asks at that moment, or at once where it has passed; how long after it the answer was there.
fn ask_at(stream: &mut TcpStream, due: Instant) -> io::Result<Duration> {
    thread::sleep(due.saturating_duration_since(Instant::now()));
    stream.write_all(format!("GET /1k HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())?;
    let (mut answer, mut filled) = ([0; 8 << 10], 0);
    loop {
        filled += match stream.read(&mut answer[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => count,
        };
        let Some(end) = answer[..filled].windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") || !head.contains("\r\ncontent-length: 1024") {
            return Err(io::Error::other(format!("answered\n{head}")));
        }
        if filled == end + 4 + 1024 {
            return Ok(due.elapsed());
        }
    }
}
