//! A thousand WebSockets that say nothing: what each of them takes of a proxy's memory.
//!
//! Each echoes once after its handshake and once more after all have been counted, so all of them
//! were open. What the kernel keeps for their sockets is not counted, at any proxy.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    thread,
    time::Duration,
};

use super::{
    echo::{self, KEY, read_head},
    peers::HOST,
    report::Table,
    rounds::Running,
    stage::Stage,
};
use crate::task::TaskError;

const COUNT: u16 = 1000;
/// For whatever a proxy gives back once a handshake is done.
const SETTLE: Duration = Duration::from_secs(1);
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn websockets(stage: &Stage) -> Result<Table, TaskError> {
    let upstream = echo::start()?;
    let head = ["proxy", "MiB idle", "MiB with 1,000", "KiB each"].map(str::to_owned).to_vec();
    let mut lines = Vec::new();
    for contender in &stage.contenders {
        let mut site = stage.site(contender)?;
        site.upstream = upstream;
        let running = Running::start(contender, &site)?;
        let by = |error: io::Error| TaskError::new(format!("{}: a WebSocket: {error}", contender.name));
        let mut open = (0..COUNT).map(|_| open(running.plain)).collect::<Result<Vec<_>, _>>().map_err(by)?;
        thread::sleep(SETTLE);
        let memory = running.server.memory();
        open.iter_mut().try_for_each(echoes).map_err(by)?;
        let each = (memory - running.idle) * 1024.0 / f64::from(COUNT);
        println!("  {:<10} {each:.1} KiB each", contender.name);
        let cells = [format!("{:.1}", running.idle), format!("{memory:.1}"), format!("{each:.1}")];
        lines.push([vec![contender.name.clone()], cells.to_vec()].concat());
    }
    lines.extend(stage.missing.iter().map(|(name, why)| vec![name.clone(), format!("missing: {why}")]));
    Ok(Table { head, lines })
}

fn open(port: u16) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
    write!(
        stream,
        "GET /socket HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )?;
    let head = read_head(&mut stream)?.unwrap_or_default();
    if !head.starts_with("HTTP/1.1 101 ") {
        return Err(io::Error::other(format!("answered\n{head}")));
    }
    echoes(&mut stream)?;
    Ok(stream)
}

/// Sends `hi`, masked with zeros, and takes it back.
fn echoes(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"\x81\x82\0\0\0\0hi")?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    if &answer == b"\x81\x02hi" { Ok(()) } else { Err(io::Error::other("it does not echo")) }
}
