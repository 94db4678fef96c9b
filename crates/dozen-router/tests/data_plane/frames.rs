//! HTTP/2 frames written and read by hand, also those that no library would send.

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use httlib_hpack::Decoder;
use rustls::{ClientConfig, ClientConnection};

use crate::{authority::TlsBrowser, browser::Reply};

/// Types of frames.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RESET: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GO_AWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const LARGEST: usize = 16 << 10;

/// The fields of a head, in their order.
#[derive(Debug, Clone)]
pub(crate) struct Head(Vec<(String, String)>);

impl Head {
    pub(crate) fn new(fields: &[(&str, &str)]) -> Self {
        Self(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// With one more field at the end.
    pub(crate) fn and(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With another value for a field that is there.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        let field = self.0.iter_mut().find(|(known, _)| known == name).unwrap();
        field.1 = value.to_owned();
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self
    }

    /// As literals without indexing (RFC 7541, 6.2.2).
    pub(crate) fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in &self.0 {
            out.push(0);
            for text in [name, value] {
                length(&mut out, text.len());
                out.extend_from_slice(text.as_bytes());
            }
        }
        out
    }
}

/// A length with a prefix of seven bits (RFC 7541, 5.1).
fn length(out: &mut Vec<u8>, length: usize) {
    if length < 127 {
        out.push(length as u8);
        return;
    }
    out.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        out.push(128 | (rest & 127) as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// What came for one stream.
#[derive(Debug, Default)]
struct Stream {
    reply: Reply,
    is_over: bool,
    reset: Option<u32>,
    /// Bytes that we may send more, or fewer, than every stream may.
    window: i64,
}

/// Why a stream has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was reset, with this code.
    Reset(u32),
    /// The router went away, with this code, and has not looked at it: it may be asked again.
    Untouched(u32),
    /// The router went away, with this code, in the middle of it.
    Gone(u32),
    /// The connection ended without a word.
    Cut,
    /// Nothing more has come.
    Silent,
}

/// TLS that reads although nobody takes what it has to write: the last words of who ends it.
struct Session {
    tls: ClientConnection,
    stream: TcpStream,
}

impl Read for Session {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            if self.tls.read_tls(&mut self.stream)? == 0 {
                return Ok(0);
            }
            self.tls.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl Write for Session {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.tls.writer().write(bytes)?;
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.stream)?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection that speaks HTTP/2.
pub(crate) struct Frames {
    stream: BufReader<Session>,
    next: u32,
    decoder: Decoder<'static>,
    streams: BTreeMap<u32, Stream>,
    /// The last stream that was looked at, and the code.
    gone: Option<(u32, u32)>,
    pongs: usize,
    /// Bytes that we may send on all streams, and on each at first.
    windows: (i64, i64),
    /// Whether the router may send as much again as it has sent.
    credits: bool,
}

impl Frames {
    pub(crate) fn connect(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Self {
        Self::try_connect(address, name, config).unwrap()
    }

    pub(crate) fn try_connect(
        address: SocketAddr,
        name: &str,
        config: &Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let mut frames = Self::begin(address, name, config)?;
        frames.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        // No table: heads that come are then easy to read.
        frames.try_send(kind::SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0])?;
        Ok(frames)
    }

    /// Begins with these bytes, and nothing else.
    pub(crate) fn starting_with(
        bytes: &[u8],
        address: SocketAddr,
        name: &str,
        config: &Arc<ClientConfig>,
    ) -> Self {
        let mut frames = Self::begin(address, name, config).unwrap();
        frames.raw(bytes).unwrap();
        frames
    }

    fn begin(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let owned = TlsBrowser::connect(address, name, config)?.stream.into_inner();
        let (tls, stream) = (owned.conn, owned.sock);
        assert_eq!(tls.alpn_protocol(), Some(&b"h2"[..]));
        let stream = BufReader::new(Session { tls, stream });
        Ok(Self {
            stream,
            next: 1,
            decoder: Decoder::with_dynamic_size(0),
            streams: BTreeMap::new(),
            gone: None,
            pongs: 0,
            windows: (65_535, 65_535),
            credits: false,
        })
    }

    /// How long nothing may come where something should.
    pub(crate) fn wait_for_at_most(&self, limit: Duration) {
        self.stream.get_ref().stream.set_read_timeout(Some(limit)).unwrap();
    }

    /// How long the router may take nothing of what is sent.
    pub(crate) fn takes_at_most(&self, limit: Duration) {
        self.stream.get_ref().stream.set_write_timeout(Some(limit)).unwrap();
    }

    /// Sends bytes that need be no frames.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, bytes: &[u8]) {
        self.try_send(kind, flags, stream, bytes).unwrap();
    }

    pub(crate) fn try_send(&mut self, kind: u8, flags: u8, stream: u32, bytes: &[u8]) -> io::Result<()> {
        let mut frame = (bytes.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend_from_slice(bytes);
        self.raw(&frame)
    }

    /// Sends a request's head; the stream's number.
    pub(crate) fn request(&mut self, head: &Head, is_whole: bool) -> u32 {
        let id = self.next;
        self.next += 2;
        self.head(id, head, if is_whole { END_STREAM } else { 0 });
        id
    }

    /// Ends a request with trailers.
    pub(crate) fn trailers(&mut self, id: u32, head: &Head) {
        self.head(id, head, END_STREAM);
    }

    fn head(&mut self, id: u32, head: &Head, flags: u8) {
        let block = head.encoded();
        let mut parts = block.chunks(LARGEST).peekable();
        let mut kind = kind::HEADERS;
        while let Some(part) = parts.next() {
            let end = if parts.peek().is_none() { END_HEADERS } else { 0 };
            let flags = if kind == kind::HEADERS { flags } else { 0 };
            // The router may have ended the connection: who waits for the answer finds out.
            let _ = self.try_send(kind, flags | end, id, part);
            kind = kind::CONTINUATION;
        }
    }

    /// Lets the router send so many bytes without a word from us, on each stream and on all.
    pub(crate) fn open_window(&mut self, bytes: u32) -> io::Result<()> {
        let settings = [&[0, 4][..], &bytes.to_be_bytes()].concat();
        self.try_send(kind::SETTINGS, 0, 0, &settings)?;
        self.try_send(kind::WINDOW_UPDATE, 0, 0, &(bytes - 65_535).to_be_bytes())
    }

    /// Opens the window of the connection again from now on, as far as the router uses it.
    pub(crate) fn give_credit(&mut self) {
        self.credits = true;
    }

    /// Sends a part of a request's body as the router takes it.
    pub(crate) fn body(&mut self, id: u32, mut bytes: &[u8], is_last: bool) -> io::Result<()> {
        while !bytes.is_empty() {
            let own = self.streams.entry(id).or_default().window + self.windows.1;
            let room = usize::try_from(own.min(self.windows.0)).unwrap_or(0).min(LARGEST);
            let (part, rest) = bytes.split_at(room.min(bytes.len()));
            if part.is_empty() {
                self.read()?;
                continue;
            }
            let flags = if is_last && rest.is_empty() { END_STREAM } else { 0 };
            self.try_send(kind::DATA, flags, id, part)?;
            self.windows.0 -= part.len() as i64;
            self.streams.entry(id).or_default().window -= part.len() as i64;
            bytes = rest;
        }
        Ok(())
    }

    /// Reads until a stream has its whole answer, or the code that it, or all of them, ended with.
    pub(crate) fn reply(&mut self, id: u32) -> Result<Reply, u32> {
        self.finish(id).map_err(|ended| match ended {
            Ended::Reset(code) | Ended::Untouched(code) | Ended::Gone(code) => code,
            Ended::Cut | Ended::Silent => panic!("no answer for {id}"),
        })
    }

    /// What has become of a stream: like [`finish`](Self::finish), and if it was reset behind its
    /// answer, so much.
    pub(crate) fn outcome(&mut self, id: u32) -> Result<Reply, Ended> {
        let reply = self.finish(id)?;
        match self.streams.get(&id).and_then(|stream| stream.reset) {
            Some(code) => Err(Ended::Reset(code)),
            None => Ok(reply),
        }
    }

    /// Reads until a stream has its whole answer, or will have none.
    pub(crate) fn finish(&mut self, id: u32) -> Result<Reply, Ended> {
        loop {
            if let Some(stream) = self.streams.get_mut(&id) {
                if let Some(code) = stream.reset {
                    return Err(Ended::Reset(code));
                }
                if stream.is_over {
                    return Ok(std::mem::take(&mut stream.reply));
                }
            }
            if let Err(error) = self.read() {
                let is_silent = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                return Err(match self.gone {
                    _ if is_silent => Ended::Silent,
                    Some((last, code)) if last < id => Ended::Untouched(code),
                    Some((_, code)) => Ended::Gone(code),
                    None => Ended::Cut,
                });
            }
        }
    }

    /// Whether the router has said that it goes away.
    pub(crate) fn is_told_to_go(&self) -> bool {
        self.gone.is_some()
    }

    /// Reads to the end of the connection and ends it too; the last code it was told to go away with.
    pub(crate) fn goes_away(&mut self) -> Option<u32> {
        while self.read().is_ok() {}
        // It may be reset by now.
        let _ = self.stream.get_ref().stream.shutdown(Shutdown::Both);
        self.gone.map(|(_, code)| code)
    }

    /// Asks whether the router is there, and reads until it says so.
    pub(crate) fn ping(&mut self) -> io::Result<()> {
        let before = self.pongs;
        self.try_send(kind::PING, 0, 0, &[0; 8])?;
        while self.pongs == before {
            self.read()?;
        }
        Ok(())
    }

    /// Reads one frame.
    fn read(&mut self) -> io::Result<()> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let size = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut bytes = vec![0; size];
        self.stream.read_exact(&mut bytes)?;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let (kind, flags) = (head[3], head[4]);
        match kind {
            kind::DATA => {
                let stream = self.streams.entry(id).or_default();
                stream.reply.body += &String::from_utf8_lossy(&bytes);
                stream.is_over |= flags & END_STREAM != 0;
                if self.credits && !bytes.is_empty() {
                    let more = (bytes.len() as u32).to_be_bytes();
                    // The router may have nothing more to send.
                    let _ = self.try_send(kind::WINDOW_UPDATE, 0, 0, &more);
                }
            }
            kind::HEADERS => {
                assert!(flags & END_HEADERS != 0, "heads are short here");
                let stream = self.streams.entry(id).or_default();
                let mut fields = Vec::new();
                self.decoder.decode(&mut bytes, &mut fields).unwrap();
                for (name, value, _) in fields {
                    let [name, value] = [name, value].map(|text| String::from_utf8(text).unwrap());
                    match name.as_str() {
                        ":status" => stream.reply.status = value.parse().unwrap(),
                        _ => stream.reply.headers.push((name, value)),
                    }
                }
                assert!(stream.reply.status >= 200, "{}", stream.reply.status);
                stream.is_over |= flags & END_STREAM != 0;
            }
            kind::RESET => self.streams.entry(id).or_default().reset = Some(word(&bytes)),
            // The router may take nothing more, and still have something to say.
            kind::SETTINGS if flags & ACK == 0 => {
                let at_first = |setting: &[u8]| (setting[..2] == [0, 4]).then(|| word(&setting[2..]));
                if let Some(window) = bytes.chunks_exact(6).filter_map(at_first).next_back() {
                    self.windows.1 = window.into();
                }
                let _ = self.try_send(kind::SETTINGS, ACK, 0, &[]);
            }
            kind::WINDOW_UPDATE if id == 0 => self.windows.0 += i64::from(word(&bytes)),
            kind::WINDOW_UPDATE => self.streams.entry(id).or_default().window += i64::from(word(&bytes)),
            kind::PING if flags & ACK == 0 => drop(self.try_send(kind::PING, ACK, 0, &bytes)),
            kind::PING => self.pongs += 1,
            kind::GO_AWAY => self.gone = Some((word(&bytes), word(&bytes[4..]))),
            _ => {}
        }
        Ok(())
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
