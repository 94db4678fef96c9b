//! A message's body, taken piece by piece out of a buffer that its stream fills.

use std::task::{Context, Poll, ready};

use tokio::io::AsyncRead;

use super::{
    Framing,
    buffer::Buffer,
    chunks::{Chunks, Piece},
};

/// How far a body has been read.
#[derive(Debug)]
pub(crate) struct BodyReader {
    state: State,
    trailers: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Done,
    Length(u64),
    Chunked(Box<Chunks>),
    UntilClose,
}

/// Why a body has no next piece.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The stream broke or ended too early.
    Broken,
    /// It is framed badly.
    Malformed,
}

impl BodyReader {
    pub(crate) fn new(framing: Framing) -> Self {
        Self {
            state: match framing {
                Framing::None | Framing::Length(0) => State::Done,
                Framing::Length(length) => State::Length(length),
                Framing::Chunked => State::Chunked(Box::default()),
                Framing::UntilClose => State::UntilClose,
            },
            trailers: Vec::new(),
        }
    }

    /// The trailers behind a chunked body, as lines that each end in CRLF.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Whether its end has been read.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The next piece; empty once it is over. Nothing is read from the stream while the buffer has
    /// something.
    pub(crate) fn poll_data<'b, S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &'b mut Buffer,
        stream: &mut S,
    ) -> Poll<Result<&'b [u8], BodyError>> {
        loop {
            let ready = self.at_hand(buffer)?;
            if ready > 0 || self.is_done() {
                return Poll::Ready(Ok(&buffer.bytes()[..ready]));
            }
            match ready!(buffer.poll_fill(cx, stream)) {
                Ok(0) if matches!(self.state, State::UntilClose) => self.state = State::Done,
                Ok(0) | Err(_) => return Poll::Ready(Err(BodyError::Broken)),
                Ok(_) => {}
            }
        }
    }

    /// How many bytes of the body stand at the front of the buffer, after framing was dropped.
    pub(crate) fn at_hand(&mut self, buffer: &mut Buffer) -> Result<usize, BodyError> {
        let length = buffer.bytes().len();
        match &mut self.state {
            State::Done => Ok(0),
            State::UntilClose => Ok(length),
            // It fits: it is at most the length of a slice.
            State::Length(left) => Ok((*left).min(length as u64) as usize),
            State::Chunked(_) if length == 0 => Ok(0),
            State::Chunked(chunks) => {
                let (framing, piece) = chunks.advance(buffer.bytes()).map_err(|_| BodyError::Malformed)?;
                buffer.consume(framing);
                match piece {
                    Piece::More => Ok(0),
                    Piece::Data(count) => Ok(count),
                    Piece::End => {
                        self.trailers = chunks.take_trailers();
                        self.state = State::Done;
                        Ok(0)
                    }
                }
            }
        }
    }

    /// Drops so many bytes of the last piece.
    pub(crate) fn consume(&mut self, buffer: &mut Buffer, count: usize) {
        buffer.consume(count);
        match &mut self.state {
            State::Length(left) => {
                *left = left.saturating_sub(count as u64);
                if *left == 0 {
                    self.state = State::Done;
                }
            }
            State::Chunked(chunks) => chunks.consume(count),
            State::Done | State::UntilClose => {}
        }
    }
}
