//! One connection to an app, and the answer that comes over it.

use std::{
    io,
    os::fd::AsFd,
    task::{Context, Poll, ready},
};

use http::StatusCode;
use rustix::net::{RecvFlags, recv};
use tokio::net::TcpStream;

use crate::http1::{
    Framing, MAX_HEAD, Malformed,
    body::{BodyError, BodyReader},
    buffer::Buffer,
    fields::{FieldRange, Fields},
    response::{self, ResponseHead},
};

/// Interim answers (1xx) before the real one.
const MAX_INTERIM: u32 = 16;

/// A connection to an app.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) stream: TcpStream,
    inbox: Buffer,
    /// How far the inbox was searched for a head's end.
    searched: usize,
    interim: u32,
    /// The head of the answer, which the ranges refer to.
    head: Vec<u8>,
    ranges: Vec<FieldRange>,
    said: Option<ResponseHead>,
    body: BodyReader,
}

/// Why there is no head of an answer.
#[derive(Debug)]
pub(crate) enum HeadError {
    /// The connection was closed before the head was whole.
    Ended,
    /// It broke, as a reset does: the other side's kernel had bytes that nobody read.
    Broken(io::Error),
    /// What came is no answer.
    Malformed,
}

impl From<Malformed> for HeadError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl Upstream {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            inbox: Buffer::default(),
            searched: 0,
            interim: 0,
            head: Vec::new(),
            ranges: Vec::new(),
            said: None,
            body: BodyReader::new(Framing::None),
        }
    }

    /// Makes ready for another answer.
    pub(crate) fn reset(&mut self) {
        (self.searched, self.interim, self.said) = (0, 0, None);
    }

    /// Whether the app has neither closed the connection nor sent what nobody asked for, as far as
    /// the runtime has come to notice.
    pub(crate) fn seems_quiet(&self) -> bool {
        let read = self.stream.try_read(&mut [0]);
        matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The same, asked of the kernel now.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut byte = [0_u8; 1];
        let seen = recv(self.stream.as_fd(), &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(seen, Err(rustix::io::Errno::AGAIN))
    }

    /// The head of the answer; `is_head` says whether the request was HEAD. Interim answers are
    /// left out, but for 101, which is the last thing that is HTTP.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        is_head: bool,
    ) -> Poll<Result<ResponseHead, HeadError>> {
        loop {
            if let Some(length) = response::end(self.inbox.bytes(), &mut self.searched) {
                let said = self.take_head(length, is_head)?;
                if !said.status.is_informational() || said.status == StatusCode::SWITCHING_PROTOCOLS {
                    self.body = BodyReader::new(said.framing);
                    self.said = Some(said);
                    return Poll::Ready(Ok(said));
                }
                self.interim += 1;
                if self.interim > MAX_INTERIM {
                    return Poll::Ready(Err(HeadError::Malformed));
                }
            } else if self.inbox.bytes().len() > MAX_HEAD {
                return Poll::Ready(Err(HeadError::Malformed));
            } else {
                match ready!(self.inbox.poll_fill(cx, &mut self.stream)) {
                    Ok(0) => return Poll::Ready(Err(HeadError::Ended)),
                    Ok(_) => {}
                    Err(error) => return Poll::Ready(Err(HeadError::Broken(error))),
                }
            }
        }
    }

    fn take_head(&mut self, length: usize, is_head: bool) -> Result<ResponseHead, HeadError> {
        if length > MAX_HEAD {
            return Err(HeadError::Malformed);
        }
        self.head.clear();
        self.head.extend_from_slice(&self.inbox.bytes()[..length]);
        self.inbox.consume(length);
        self.searched = 0;
        Ok(response::parse(&self.head, is_head, &mut self.ranges)?)
    }

    /// The headers of the last head.
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields::new(&self.head, &self.ranges)
    }

    /// The next piece of the answer's body, empty at its end.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], BodyError>> {
        self.body.poll_data(cx, &mut self.inbox, &mut self.stream)
    }

    /// What is here of the body's next piece, without asking for more.
    pub(crate) fn at_hand(&mut self) -> &[u8] {
        let count = self.body.at_hand(&mut self.inbox).unwrap_or(0);
        &self.inbox.bytes()[..count]
    }

    /// Drops the first bytes of the last piece.
    pub(crate) fn consume(&mut self, count: usize) {
        self.body.consume(&mut self.inbox, count);
    }

    /// Whether the answer has come to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.said.is_some() && self.body.is_done()
    }

    /// The trailers of the answer.
    pub(crate) fn trailers(&self) -> &[u8] {
        self.body.trailers()
    }

    /// Whether another request may follow: the answer is over, nothing stands behind it, and the
    /// app said nothing of closing.
    pub(crate) fn is_reusable(&self) -> bool {
        self.is_done() && self.inbox.is_empty() && self.said.is_some_and(|said| said.keeps_open)
    }

    /// Gives up the connection, with what was read behind the head: it speaks another protocol now.
    pub(crate) fn into_tunnel(self) -> (TcpStream, Buffer) {
        (self.stream, self.inbox)
    }
}
