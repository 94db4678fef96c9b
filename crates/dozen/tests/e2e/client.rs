//! A small HTTP/1.1 client that never retries: what it reports is what happened.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

/// An answer, or what kept it from coming.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

/// `GET` on a connection of its own.
#[track_caller]
pub fn get(port: u16, host: &str, path: &str) -> Answer {
    try_request(port, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
        .unwrap_or_else(|error| panic!("GET {path} of {host}: {error}"))
}

/// A `POST` whose last byte is still to be sent: it is in flight for as long as the test wants.
pub struct Held(TcpStream);

impl Held {
    #[track_caller]
    pub fn at(port: u16, host: &str) -> Self {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the router");
        let head =
            format!("POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 4\r\n\r\n");
        stream.write_all(format!("{head}abc").as_bytes()).expect("most of a request");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        Self(stream)
    }

    /// Nothing comes back for so long.
    #[track_caller]
    pub fn is_held_for(&mut self, time: Duration) {
        self.0.set_read_timeout(Some(time)).expect("a limit");
        self.0.peek(&mut [0]).expect_err("neither an answer nor an end");
        self.0.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    }

    /// Sends the rest of it; what was answered, head and body.
    #[track_caller]
    pub fn finish(mut self) -> String {
        self.0.write_all(b"d").expect("its last byte");
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

/// One request as it is, one answer to the end of the connection.
pub fn try_request(port: u16, request: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
