//! A client that never retries: a connection of its own or a kept one, one request, one answer.
//!
//! A kept connection that the server has closed while it was idle is replaced before anything is
//! sent. Whatever happens after the first byte is the request's result.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Longer than anything may take that is answered: holds, slow requests and both together.
const PATIENCE: Duration = Duration::from_secs(60);
/// As any client does, an idle connection is given up before the server does so.
const IDLE: Duration = Duration::from_secs(10);

/// A connection's idle siblings, shared by all requests of a load.
#[derive(Debug)]
pub struct Connections {
    port: u16,
    idle: Mutex<Vec<(TcpStream, Instant)>>,
}

/// The part of an answer that a load looks at.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

impl Connections {
    pub fn to(port: u16) -> Self {
        Self { port, idle: Mutex::default() }
    }

    /// Sends a request and takes its answer; `keep` says which kind of connection it goes over.
    pub fn ask(&self, request: &str, keep: bool) -> io::Result<Reply> {
        let kept = if keep { self.take() } else { None };
        let mut stream = match kept {
            Some(stream) => stream,
            None => self.connect()?,
        };
        stream.write_all(request.as_bytes())?;
        let reply = read_reply(&mut stream)?;
        let closes = reply.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if keep && !closes {
            self.idle.lock().push((stream, Instant::now()));
        }
        Ok(reply)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// An idle connection that is open at this moment.
    fn take(&self) -> Option<TcpStream> {
        loop {
            let (stream, since) = self.idle.lock().pop()?;
            if since.elapsed() < IDLE && is_open(&stream) {
                return Some(stream);
            }
        }
    }
}

/// Whether nothing has come since the last answer: neither the end nor bytes.
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).is_ok()
        && matches!(stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        && stream.set_nonblocking(false).is_ok()
}

fn read_reply(stream: &mut TcpStream) -> io::Result<Reply> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        read_more(stream, &mut bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("not an answer: {head:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
    let mut reply = Reply { status, head: head.clone(), body: String::new() };
    if let Some(length) = reply.header("content-length") {
        let length: usize = length.parse().map_err(|_| bad())?;
        while bytes.len() < end + length {
            read_more(stream, &mut bytes)?;
        }
    } else {
        // Chunked: no chunk of these answers ends like the last one.
        while !bytes.ends_with(b"\r\n0\r\n\r\n") {
            read_more(stream, &mut bytes)?;
        }
    }
    reply.body = String::from_utf8_lossy(&bytes[end..]).into_owned();
    Ok(reply)
}

fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut some = [0; 16 << 10];
    match stream.read(&mut some)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            bytes.extend_from_slice(&some[..count]);
            Ok(())
        }
    }
}
