//! What each contender adds to a request and its answer, seen by an upstream that tells.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use super::{echo, peers::HOST, rounds::Running, stage::Stage};
use crate::task::TaskError;

/// What all should add.
const ADDED: &[&str] =
    &["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-request-id"];

/// Prints what a contender leaves out: it then does less work than the others.
pub(super) fn prove(stage: &Stage) -> Result<(), TaskError> {
    let upstream = echo::start()?;
    for contender in &stage.contenders {
        let mut site = stage.site(contender)?;
        site.upstream = upstream;
        let running = Running::start(contender, &site)?;
        let answer = ask(running.plain, "/1k")?.to_ascii_lowercase();
        let (head, forwarded) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if !forwarded.starts_with("get /1k http/1.1\r\n") {
            return Err(TaskError::new(format!("{} forwarded\n{forwarded}", contender.name)));
        }
        let mut left_out: Vec<&str> =
            ADDED.iter().filter(|line| !forwarded.contains(&format!("\n{line}: "))).copied().collect();
        if !head.contains("\nx-request-id: ") {
            left_out.push("x-request-id to the answer");
        }
        if !left_out.is_empty() {
            println!("{:<10} does not add `{}`", contender.name, left_out.join("`, `"));
        }
    }
    Ok(())
}

/// One request on a connection of its own; the whole answer comes back, which must be 200.
pub(super) fn ask(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200 ") { Ok(answer) } else { Err(io::Error::other(answer)) }
}
