//! A request on its way to an app: its head, and its body as the client sends it.
//!
//! The head stays with the caller, who may send it again; what was taken of a body is gone. So a
//! body is touched only once the connection has taken the head's first bytes, or will not refuse it
//! without saying so.

use std::{
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{io::AsyncWrite, net::TcpStream, time::Instant};

use crate::{
    body_source::{BodySource, ClientBroke},
    headers,
    http1::Framing,
};

/// The most of a body that goes into one chunk.
const CHUNK: usize = 32 << 10;

/// How far a request has come.
#[derive(Debug)]
pub(crate) struct Upload {
    framing: Framing,
    /// Bytes that a body without a length may still have.
    allowance: u64,
    /// Bytes of the head that were written.
    head_written: usize,
    /// Bytes of the body that were taken from the client.
    body_bytes: u64,
    /// A chunk, framed, of which so much was written.
    chunk: Vec<u8>,
    chunk_written: usize,
    stage: Stage,
    /// When something last moved.
    moved: Instant,
    /// Whether the client is the one that is waited for.
    awaits_client: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Sending,
    /// The last chunk is being written.
    LastChunk,
    Done,
    Broken,
}

/// Why a request does not get any further.
#[derive(Debug)]
pub(crate) enum UploadError {
    /// The app's connection takes nothing.
    App(io::Error),
    /// The client's body broke.
    Client,
    /// It has more bytes than its stage takes.
    TooLarge,
}

impl From<ClientBroke> for UploadError {
    fn from(ClientBroke: ClientBroke) -> Self {
        Self::Client
    }
}

impl Upload {
    /// Begins with the first byte of the head.
    pub(crate) fn new(framing: Framing, max_body: Option<u64>) -> Self {
        Self {
            framing,
            allowance: max_body.unwrap_or(u64::MAX),
            head_written: 0,
            body_bytes: 0,
            chunk: Vec::new(),
            chunk_written: 0,
            stage: Stage::Sending,
            moved: Instant::now(),
            awaits_client: false,
        }
    }

    /// Whether all was handed to the kernel.
    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Whether nothing more will be sent.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Done | Stage::Broken)
    }

    /// Whether the app cannot have seen anything of it.
    pub(crate) fn is_unsent(&self) -> bool {
        self.head_written == 0
    }

    /// Bytes of the body that were taken from the client.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// When a part of it last moved.
    pub(crate) fn moved(&self) -> Instant {
        self.moved
    }

    /// Whether the app would take more than the client has sent.
    pub(crate) fn awaits_client(&self) -> bool {
        self.awaits_client
    }

    /// Moves what can be moved; ready when all was, or nothing more ever will be.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        source: &mut dyn BodySource,
        app: &mut TcpStream,
    ) -> Poll<Result<(), UploadError>> {
        let polled = self.poll_parts(cx, head, source, app);
        if let Poll::Ready(Err(_)) = polled {
            self.stage = Stage::Broken;
        }
        polled
    }

    fn poll_parts(
        &mut self,
        cx: &mut Context<'_>,
        head: &[u8],
        source: &mut dyn BodySource,
        app: &mut TcpStream,
    ) -> Poll<Result<(), UploadError>> {
        loop {
            let rest = head.get(self.head_written..).unwrap_or_default();
            if !rest.is_empty() {
                ready!(self.poll_head(cx, rest, source, app))?;
                continue;
            }
            if self.chunk_written < self.chunk.len() {
                let written = ready!(Pin::new(&mut *app).poll_write(cx, &self.chunk[self.chunk_written..]));
                self.chunk_written += taken(written)?;
                self.moved = Instant::now();
                continue;
            }
            match (self.stage, self.framing) {
                (Stage::Broken, _) => return Poll::Ready(Ok(())),
                (Stage::Done, _) => return Poll::Ready(Ok(())),
                (Stage::LastChunk, _) | (_, Framing::None | Framing::UntilClose) => self.stage = Stage::Done,
                (Stage::Sending, Framing::Length(_)) => ready!(self.poll_length(cx, source, app))?,
                (Stage::Sending, Framing::Chunked) => ready!(self.poll_chunk(cx, source))?,
            }
        }
    }

    /// Writes of the head, together with what is at hand of a body of known length.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        rest: &[u8],
        source: &mut dyn BodySource,
        app: &mut TcpStream,
    ) -> Poll<Result<(), UploadError>> {
        if !matches!(self.framing, Framing::Length(_)) {
            let written = taken(ready!(Pin::new(app).poll_write(cx, rest)))?;
            self.head_written += written;
            return Poll::Ready(Ok(()));
        }
        let body = match source.poll_data(cx) {
            Poll::Ready(body) => body?,
            Poll::Pending => &[],
        };
        let parts = [IoSlice::new(rest), IoSlice::new(body)];
        let written = taken(ready!(Pin::new(app).poll_write_vectored(cx, &parts)))?;
        self.head_written += written.min(rest.len());
        let of_body = written.saturating_sub(rest.len());
        source.consume(of_body);
        self.body_bytes += of_body as u64;
        self.moved = Instant::now();
        Poll::Ready(Ok(()))
    }

    fn poll_length(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn BodySource,
        app: &mut TcpStream,
    ) -> Poll<Result<(), UploadError>> {
        let data = ready!(self.poll_client(cx, source))?;
        if data.is_empty() {
            self.stage = Stage::Done;
            return Poll::Ready(Ok(()));
        }
        let written = taken(ready!(Pin::new(app).poll_write(cx, data)))?;
        source.consume(written);
        self.body_bytes += written as u64;
        self.moved = Instant::now();
        Poll::Ready(Ok(()))
    }

    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut dyn BodySource,
    ) -> Poll<Result<(), UploadError>> {
        let data = ready!(self.poll_client(cx, source))?;
        let count = data.len().min(CHUNK);
        let allowance = self.allowance.checked_sub(count as u64).ok_or(UploadError::TooLarge)?;
        self.chunk.clear();
        self.chunk_written = 0;
        if count > 0 {
            // Writing to a Vec cannot go wrong.
            let _ = write!(self.chunk, "{count:x}\r\n");
            self.chunk.extend_from_slice(&data[..count]);
            self.chunk.extend_from_slice(b"\r\n");
            source.consume(count);
            self.body_bytes += count as u64;
            self.allowance = allowance;
        } else {
            self.chunk.extend_from_slice(b"0\r\n");
            headers::write_trailers(&mut self.chunk, source.trailers());
            self.chunk.extend_from_slice(b"\r\n");
            self.stage = Stage::LastChunk;
        }
        self.moved = Instant::now();
        Poll::Ready(Ok(()))
    }

    fn poll_client<'s>(
        &mut self,
        cx: &mut Context<'_>,
        source: &'s mut dyn BodySource,
    ) -> Poll<Result<&'s [u8], UploadError>> {
        let polled = source.poll_data(cx);
        self.awaits_client = polled.is_pending();
        polled.map_err(UploadError::from)
    }
}

fn taken(written: io::Result<usize>) -> Result<usize, UploadError> {
    match written {
        Ok(0) => Err(UploadError::App(io::ErrorKind::WriteZero.into())),
        Ok(count) => Ok(count),
        Err(error) => Err(UploadError::App(error)),
    }
}
