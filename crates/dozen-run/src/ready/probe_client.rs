//! One request of a readiness probe: as much HTTP/1.1 as that needs, and no more.
//!
//! The answer comes from an app, so it is hostile: its head is bounded, its status line is read
//! strictly, what is shown of it has no control characters, and every wait ends at a deadline.
//! The request looks as the router's would (the app's real host, the scheme of its visitors),
//! since a framework that checks either would refuse another one.
//!
//! Start reading at [`ask`].

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// Largest head that is read.
const MOST_HEAD: usize = 16 << 10;

/// Most of a body that is read before the connection is closed.
const MOST_BODY: u64 = 256 << 10;

/// Longest that a body is waited for: the answer is known already.
const BODY_WAIT: Duration = Duration::from_millis(100);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// Nobody accepts connections there.
    Refused,
    /// It was accepted, and nothing came back in time.
    Silent,
    /// It was accepted and closed without an answer.
    Closed,
    /// What came back is not HTTP; its first bytes, printable.
    NotHttp(String),
    /// An answer.
    Answer {
        /// Its status.
        status: u16,
        /// Its `Location`, printable and cut short.
        location: Option<String>,
    },
}

/// What to ask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// Where the instance listens.
    pub(super) address: SocketAddr,
    /// The path, from `/`.
    pub(super) path: &'a str,
    /// The app's real host.
    pub(super) host: &'a str,
    /// The scheme of its visitors, `http` or `https`.
    pub(super) proto: &'a str,
}

/// Asks once and returns what came back within `limit`.
pub(super) fn ask(question: &Question<'_>, limit: Duration) -> Reply {
    let deadline = Instant::now() + limit;
    let mut stream = match TcpStream::connect_timeout(&question.address, limit.max(Duration::from_millis(1)))
    {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::TimedOut => return Reply::Silent,
        Err(_) => return Reply::Refused,
    };
    let written = stream.set_write_timeout(Some(limit)).and_then(|()| stream.write_all(&request(question)));
    if let Err(error) = written {
        return outcome_of(&error);
    }
    match read_answer(&mut stream, deadline) {
        Ok(reply) => reply,
        Err(error) => outcome_of(&error),
    }
}

/// The bytes of the request.
///
/// Whatever could end a line early is encoded or left out, so neither a path from a repository
/// nor a host can add a header.
fn request(question: &Question<'_>) -> Vec<u8> {
    let mut path = String::from(if question.path.starts_with('/') { "" } else { "/" });
    for byte in question.path.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'#' => path.push(char::from(byte)),
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    let plain = |text: &str| text.chars().filter(char::is_ascii_graphic).collect::<String>();
    let (host, proto) = (plain(question.host), plain(question.proto));
    let port = if proto == "https" { 443 } else { 80 };
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).unwrap_or(port);
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: dozen-probe\r\nAccept: */*\r\n\
         X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: {host}\r\nX-Forwarded-Port: {port}\r\n\
         X-Forwarded-Proto: {proto}\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

/// Reads heads until one is final: an app may send 103 before its answer.
fn read_answer(stream: &mut TcpStream, deadline: Instant) -> io::Result<Reply> {
    let mut bytes = Vec::new();
    loop {
        let Some(end) = head_end(&bytes) else {
            if bytes.len() >= MOST_HEAD || not_http(&bytes) {
                return Ok(Reply::NotHttp(printable(&bytes)));
            }
            if read_some(stream, &mut bytes, deadline)? == 0 {
                return Ok(if bytes.is_empty() { Reply::Closed } else { Reply::NotHttp(printable(&bytes)) });
            }
            continue;
        };
        let Some(status) = status_of(&bytes[..end]) else { return Ok(Reply::NotHttp(printable(&bytes))) };
        if (100..200).contains(&status) && status != 101 {
            bytes.drain(..end);
            continue;
        }
        let head = &bytes[..end];
        let location = header(head, "location").map(|value| printable(value.as_bytes()));
        let length = header(head, "content-length").and_then(|value| value.parse::<u64>().ok());
        let unread = length.unwrap_or(MOST_BODY).min(MOST_BODY).saturating_sub((bytes.len() - end) as u64);
        read_body(stream, unread, deadline);
        return Ok(Reply::Answer { status, location });
    }
}

/// Reads what is left of the body, as far as it comes at once: a server that is cut off in the
/// middle of an answer would log an error for a probe that went well.
fn read_body(stream: &mut TcpStream, unread: u64, deadline: Instant) {
    let deadline = deadline.min(Instant::now() + BODY_WAIT);
    let mut left = unread;
    let mut bytes = Vec::new();
    while left > 0 {
        bytes.clear();
        match read_some(stream, &mut bytes, deadline) {
            Ok(0) | Err(_) => return,
            Ok(count) => left = left.saturating_sub(count as u64),
        }
    }
}

/// Reads once, waiting until `deadline` at most.
fn read_some(stream: &mut TcpStream, into: &mut Vec<u8>, deadline: Instant) -> io::Result<usize> {
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(count) => {
                into.extend_from_slice(&buffer[..count]);
                return Ok(count);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A deadline that passed is silence; every other end of the connection is one without an answer.
fn outcome_of(error: &io::Error) -> Reply {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Reply::Silent,
        _ => Reply::Closed,
    }
}

/// The length of the first head in `bytes`, its empty line included.
fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Whether these first bytes can no longer become a status line.
fn not_http(bytes: &[u8]) -> bool {
    let start = b"HTTP/1.";
    let common = bytes.len().min(start.len());
    bytes[..common] != start[..common]
}

/// The status of a head whose first line is `HTTP/1.x SSS` and an optional reason.
fn status_of(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let rest = line.strip_prefix(b"HTTP/1.0 ").or_else(|| line.strip_prefix(b"HTTP/1.1 "))?;
    let (digits, reason) = rest.split_at_checked(3)?;
    let plain = digits.iter().all(u8::is_ascii_digit) && (reason.is_empty() || reason[0] == b' ');
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (plain && (100..=599).contains(&status)).then_some(status)
}

/// The value of the first header of that name (in lower case).
fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(head).ok()?;
    text.split("\r\n").skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// At most 80 characters, none of which moves the cursor.
fn printable(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take(80)
        .map(|byte| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    fn reply_to(answer: &'static [u8]) -> (Reply, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let app = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while head_end(&request).is_none() {
                let mut some = [0; 1024];
                let count = stream.read(&mut some).unwrap();
                request.extend_from_slice(&some[..count]);
            }
            stream.write_all(answer).unwrap();
            String::from_utf8(request).unwrap()
        });
        let question = Question { address, path: "/up\r\nX: y", host: "blog.localhost:1212", proto: "https" };
        let reply = ask(&question, Duration::from_secs(5));
        (reply, app.join().unwrap())
    }

    #[test]
    fn the_request_names_the_real_host_and_no_path_adds_a_header() {
        let (reply, request) = reply_to(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(reply, Reply::Answer { status: 200, location: None });
        let lines: Vec<&str> = request.split("\r\n").collect();
        assert_eq!(lines[0], "GET /up%0D%0AX:%20y HTTP/1.1");
        assert!(lines.contains(&"Host: blog.localhost:1212"), "{request}");
        assert!(lines.contains(&"X-Forwarded-Proto: https"), "{request}");
        assert!(!lines.iter().any(|line| line.starts_with("X:")), "{request}");
    }

    #[test]
    fn informational_answers_are_passed_over() {
        let (reply, _) = reply_to(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.0 302\r\nLocation: /in\x1b\r\n\r\n",
        );
        assert_eq!(reply, Reply::Answer { status: 302, location: Some("/in.".into()) });
    }

    #[test]
    fn what_is_not_http_is_shown_without_control_characters() {
        for (bytes, shown) in [
            (&b"\x15\x03\x01\x00\x02\x02\x50"[..], "......P"),
            (b"SSH-2.0-OpenSSH\r\n", "SSH-2.0-OpenSSH.."),
            (b"HTTP/2 200\r\n\r\n", "HTTP/2 200...."),
            (b"HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 2000 OK...."),
            (b"HTTP/1.1 +20 OK\r\n\r\n", "HTTP/1.1 +20 OK...."),
            (b"HTTP/1.1 999 OK\r\n\r\n", "HTTP/1.1 999 OK...."),
            (b"HTTP/1.1 200 OK\r\nA: ", "HTTP/1.1 200 OK..A: "),
        ] {
            assert_eq!(reply_to(bytes).0, Reply::NotHttp(shown.into()));
        }
    }

    #[test]
    fn an_endless_head_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let question =
            Question { address: listener.local_addr().unwrap(), path: "/", host: "a", proto: "http" };
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nA: ").unwrap();
            while stream.write_all(&[b'a'; 1024]).is_ok() {}
        });
        assert!(matches!(ask(&question, Duration::from_secs(5)), Reply::NotHttp(_)));
    }

    #[test]
    fn a_closed_connection_and_silence_are_told_apart() {
        assert_eq!(reply_to(b"").0, Reply::Closed);
        let quiet = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = quiet.local_addr().unwrap();
        let question = Question { address, path: "/", host: "a", proto: "http" };
        assert_eq!(ask(&question, Duration::from_millis(50)), Reply::Silent);
        drop(quiet);
        assert_eq!(ask(&question, Duration::from_secs(5)), Reply::Refused);
    }
}
