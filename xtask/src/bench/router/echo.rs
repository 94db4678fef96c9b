//! A small upstream: it echoes WebSockets, and answers any other request with that request's head.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
};

use crate::task::TaskError;

/// The key of RFC 6455's example, which all clients here use, and the answer to it.
pub(super) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// A connection needs little: a thousand of them are open at once.
const STACK: usize = 64 << 10;

/// Serves until the end of the benchmark; the port comes back.
pub(super) fn start() -> Result<u16, TaskError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = move || {
                // A proxy that went away needs no answer.
                let _ = serve(stream);
            };
            let _ = thread::Builder::new().stack_size(STACK).spawn(serve);
        }
    });
    Ok(port)
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(head) = read_head(&mut stream)? {
        if !head.to_ascii_lowercase().contains("\nupgrade: websocket") {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len())?;
            continue;
        }
        write!(
            stream,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
        )?;
        return echo(&mut stream);
    }
    Ok(())
}

/// Sends short frames back, unmasked as a server must.
fn echo(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = [0; 6];
    loop {
        stream.read_exact(&mut head)?;
        let mut payload = vec![0; usize::from(head[1] & 0x7f)];
        stream.read_exact(&mut payload)?;
        for (index, byte) in payload.iter_mut().enumerate() {
            *byte ^= head[2 + index % 4];
        }
        stream.write_all(&[&[head[0], head[1] & 0x7f], payload.as_slice()].concat())?;
    }
}

/// A head, byte by byte so that nothing after it is taken; `None` at the end of the stream.
pub(super) fn read_head(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return if head.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        head.push(byte[0]);
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}
