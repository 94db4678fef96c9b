//! An answer that comes as lines of JSON while work goes on.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::ClientError;

/// The longest line that is accepted.
const LINE_LIMIT: usize = 4 << 20;

/// Lines of JSON as they come.
pub(crate) struct Lines {
    body: Incoming,
    buffer: BytesMut,
    /// How far the buffer is known to hold no newline.
    searched: usize,
    ended: bool,
}

impl Lines {
    /// The lines of an answer's body.
    pub(super) fn of(body: Incoming) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0, ended: false }
    }

    /// The next line, read as `T`; `None` when the answer is complete.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            while let Some(line) = self.buffered() {
                if !line.is_empty() {
                    return serde_json::from_slice(&line).map(Some).map_err(ClientError::NotUnderstood);
                }
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// All lines that can be had without waiting, at least one unless the answer is complete.
    pub(crate) async fn batch<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, ClientError> {
        let mut batch = Vec::new();
        batch.extend(self.next().await?);
        while let Some(line) = self.buffered() {
            if !line.is_empty() {
                batch.push(serde_json::from_slice(&line).map_err(ClientError::NotUnderstood)?);
            }
        }
        Ok(batch)
    }

    /// A line that is there already, without its newline.
    fn buffered(&mut self) -> Option<Bytes> {
        let found = self.buffer[self.searched..].iter().position(|b| *b == b'\n');
        let Some(at) = found.map(|at| at + self.searched) else {
            self.searched = self.buffer.len();
            return None;
        };
        self.searched = 0;
        let line = self.buffer.split_to(at).freeze();
        self.buffer.advance(1);
        Some(line)
    }

    /// Waits for more bytes; false at the end. A last line without its newline was cut off: it is
    /// reported as a broken answer and never taken for a whole one.
    async fn read(&mut self) -> Result<bool, ClientError> {
        if self.ended {
            return Ok(false);
        }
        match self.body.frame().await {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.buffer.extend_from_slice(data);
                }
                if self.buffer.len() > LINE_LIMIT && self.searched == self.buffer.len() {
                    return Err(ClientError::Answer("a line is too long".into()));
                }
                Ok(true)
            }
            Some(Err(error)) => Err(ClientError::Broken(error)),
            None if self.buffer.is_empty() => {
                self.ended = true;
                Ok(false)
            }
            None => Err(ClientError::Answer("the last line is cut off".into())),
        }
    }
}
