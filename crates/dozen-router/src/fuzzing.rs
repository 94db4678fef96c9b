//! What the fuzz targets of the router feed: its own parsers of bytes from outside. Not for others.
//!
//! Each takes a stream in the pieces it arrives in and says where it came to, so that a target can
//! compare two ways of cutting the same bytes.

use crate::{
    http1::{
        Framing, MAX_HEAD,
        chunks::{Chunks, Piece},
        head_end::HeadEnd,
        request,
    },
    websocket::Frames,
};

/// Reads the requests of a connection: how each was understood, and what it stopped at.
pub fn read_requests<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut reading = Reading::default();
    let outcome = pieces.into_iter().try_for_each(|piece| reading.feed(piece));
    format!("{outcome:?} after {:?}", reading.seen)
}

/// A connection's requests, read as the router reads them.
#[derive(Default)]
struct Reading {
    held: Vec<u8>,
    head_end: HeadEnd,
    chunks: Option<Chunks>,
    body: u64,
    seen: Vec<String>,
}

impl Reading {
    fn feed(&mut self, piece: &[u8]) -> Result<(), String> {
        self.held.extend_from_slice(piece);
        loop {
            if self.body > 0 {
                // It fits: it is at most the length of a slice.
                let taken = self.body.min(self.held.len() as u64);
                self.held.drain(..taken as usize);
                self.body -= taken;
            }
            if self.held.is_empty() {
                return Ok(());
            }
            let done = if self.chunks.is_some() { self.chunk() } else { self.head() }?;
            if !done {
                return Ok(());
            }
        }
    }

    fn chunk(&mut self) -> Result<bool, String> {
        let Some(chunks) = &mut self.chunks else { return Ok(true) };
        let (framing, piece) = chunks.advance(&self.held).map_err(|error| format!("{error:?}"))?;
        self.held.drain(..framing);
        match piece {
            Piece::More => return Ok(false),
            Piece::Data(count) => {
                self.held.drain(..count);
                chunks.consume(count);
            }
            Piece::End => self.chunks = None,
        }
        Ok(true)
    }

    fn head(&mut self) -> Result<bool, String> {
        let Some(length) = self.head_end.find(&self.held).map_err(|error| format!("{error:?}"))? else {
            return if self.held.len() > MAX_HEAD { Err("too large".into()) } else { Ok(false) };
        };
        if length > MAX_HEAD {
            return Err("too large".into());
        }
        let mut ranges = Vec::new();
        let head =
            request::parse(&self.held[..length], &mut ranges).map_err(|refusal| format!("{refusal:?}"))?;
        self.seen.push(format!("{} {} {:?} {:?}", head.method, head.target, head.framing, head.host));
        match head.framing {
            Framing::Length(length) => self.body = length,
            Framing::Chunked => self.chunks = Some(Chunks::default()),
            Framing::None | Framing::UntilClose => {}
        }
        self.held.drain(..length);
        Ok(true)
    }
}

/// Follows one direction of a WebSocket: whether a frame may be inserted behind these bytes.
pub fn follow_frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let mut frames = Frames::default();
    pieces.into_iter().for_each(|piece| frames.follow(piece));
    frames.may_insert()
}
