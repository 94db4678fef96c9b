//! The app behind a router under test: records what it gets, byte by byte, and reads it strictly.
//!
//! It answers a request when it has all of it, with the request's target as the body. What it can
//! not read by the letter it records as garbage: no proxy may send such a thing.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::Mutex;

use super::case::MAY_BREAK;

/// What has arrived since the last look.
#[derive(Debug, Default, Clone)]
pub(crate) struct Arrived {
    /// The requests that were whole, as a verdict names them.
    pub(crate) seen: Vec<String>,
    /// Requests that were broken off, without those that say that they may be.
    pub(crate) begun: usize,
    /// All of it, in lower case; what is not ASCII is kept.
    pub(crate) text: Vec<u8>,
    /// Connections whose request is not whole yet.
    halves: usize,
}

/// A recording app, alive until the process ends.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    arrived: Arc<Mutex<Arrived>>,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let arrived = Arc::<Mutex<Arrived>>::default();
        let shared = Arc::clone(&arrived);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, arrived) = (stream.unwrap(), Arc::clone(&shared));
                thread::spawn(move || serve(stream, &arrived));
            }
        });
        Self { address, arrived }
    }

    /// What has arrived since the last look.
    pub(crate) fn take(&self) -> Arrived {
        let mut arrived = self.arrived.lock();
        let halves = arrived.halves;
        std::mem::replace(&mut *arrived, Arrived { halves, ..Arrived::default() })
    }

    /// Whether a request has begun and is not whole.
    pub(crate) fn is_reading(&self) -> bool {
        self.arrived.lock().halves > 0
    }
}

fn serve(mut stream: TcpStream, arrived: &Mutex<Arrived>) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (mut bytes, mut part) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        match read_request(&bytes) {
            Ok(Some((request, used))) => {
                bytes.drain(..used);
                if bytes.is_empty() {
                    arrived.lock().halves -= 1;
                }
                let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
                arrived.lock().seen.push(request);
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len());
                if stream.write_all(answer.as_bytes()).is_err() {
                    arrived.lock().halves -= usize::from(!bytes.is_empty());
                    return;
                }
                continue;
            }
            Ok(None) => {}
            Err(why) => {
                let mut arrived = arrived.lock();
                arrived.seen.push(format!("garbage: {why}"));
                arrived.halves -= 1;
                return;
            }
        }
        match stream.read(&mut part) {
            Ok(count @ 1..) => {
                let mut arrived = arrived.lock();
                arrived.halves += usize::from(bytes.is_empty());
                bytes.extend_from_slice(&part[..count]);
                arrived.text.extend(part[..count].to_ascii_lowercase());
            }
            _ => {
                let mut arrived = arrived.lock();
                let may_break = find(&bytes.to_ascii_lowercase(), MAY_BREAK.as_bytes()).is_some();
                arrived.begun += usize::from(!bytes.is_empty() && !may_break);
                arrived.halves -= usize::from(!bytes.is_empty());
                return;
            }
        }
    }
}

/// Reads one whole request: how a verdict names it, and its length in bytes.
fn read_request(bytes: &[u8]) -> Result<Option<(String, usize)>, String> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).or(Err("a head that is not UTF-8"));
    // Values may hold any byte above 127; nothing else may.
    let head =
        head.map_or_else(|_| bytes[..end].iter().map(|byte| char::from(*byte)).collect(), str::to_owned);
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let words: Vec<&str> = first.split(' ').collect();
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = words[..] else { return Err(format!("{first:?}")) };
    let (mut hosts, mut lengths, mut codings) = (0, Vec::new(), Vec::new());
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("{line:?}"))?;
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let is_plain = |c: char| c == '\t' || (c >= ' ' && c != '\u{7f}');
        if name.is_empty() || !name.chars().all(is_token) || !value.chars().all(is_plain) {
            return Err(format!("{line:?}"));
        }
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "content-length" => lengths.push(value.trim()),
            "transfer-encoding" => codings.push(value.trim()),
            _ => {}
        }
    }
    if hosts != 1 {
        return Err(format!("{hosts} hosts"));
    }
    let rest = &bytes[end + 4..];
    let name = format!("{method} {target}");
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(Some((name, end + 4))),
        ([length], []) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length: usize = length.parse().map_err(|_| format!("a length of {length:?}"))?;
            let Some(body) = rest.get(..length) else { return Ok(None) };
            let body = String::from_utf8_lossy(body);
            Ok(Some((format!("{name} length {body}"), end + 4 + length)))
        }
        ([], ["chunked"]) => Ok(read_chunks(rest)?.map(|(body, used)| {
            (format!("{name} chunked {}", String::from_utf8_lossy(&body)), end + 4 + used)
        })),
        other => Err(format!("framed by {other:?}")),
    }
}

/// Reads a whole chunked body with its trailers: the body, and its length as written.
pub(super) fn read_chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[at..at + end]).unwrap_or("not ASCII");
        let is_hex = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
        let parsed = usize::from_str_radix(size, 16).ok().filter(|_| is_hex);
        let parsed = parsed.ok_or_else(|| format!("a chunk of {size:?}"))?;
        at += end + 2;
        if parsed == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at + parsed + 2) else { return Ok(None) };
        let data = chunk.strip_suffix(b"\r\n").ok_or("a chunk without an end")?;
        body.extend_from_slice(data);
        at += parsed + 2;
    }
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        at += end + 2;
        if end == 0 {
            return Ok(Some((body, at)));
        }
    }
}

pub(super) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
