//! The words on `shim.sock`: one JSON line for each request, one for each answer.
//!
//! ```text
//! {"do":"status"}                      -> {"state":{…}}
//! {"do":"stop","grace_millis":5000}    -> {"state":{…}}      it has begun, not ended
//! {"do":"kill"}                        -> {"state":{…}}
//! {"do":"signal","number":1}           -> {"state":{…}}
//! {"do":"subscribe"}                   -> {"state":{…}} now and at each change, until it is over
//! {"do":"attach"}                      -> {"state":{…}}, then frames both ways
//! anything else                        -> {"refused":"why"}
//! ```
//!
//! The socket belongs to the shim's user and to root; the kernel tells who is calling.
//! A line is at most [`MAX_LINE_BYTES`] long. After `attach` the connection carries [`Frame`]s.

use serde::{Deserialize, Serialize};

use crate::{
    spec::TerminalSize,
    state::{ExitStatus, InstanceState},
};

/// The longest request or answer.
pub const MAX_LINE_BYTES: usize = 64 << 10;
/// The longest payload of a frame.
pub const MAX_FRAME_BYTES: usize = 64 << 10;
/// What stands before a frame's payload: its kind, and its length in little-endian order.
pub const FRAME_HEADER_BYTES: usize = 5;

/// What can be asked of a shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How it stands.
    Status {},
    /// Stop the instance and do not start it again.
    Stop {
        /// Another grace period than the spec's.
        #[serde(default)]
        grace_millis: Option<u64>,
    },
    /// Kill everything inside and do not start it again.
    Kill {},
    /// Send a signal to the main process, or to all.
    Signal {
        /// 1 to 31.
        number: i32,
        /// To every process inside.
        #[serde(default)]
        all: bool,
    },
    /// Send the state at each change.
    Subscribe {},
    /// Connect this socket to the process; only for a spec with `attach`, one at a time.
    Attach {
        /// The terminal's size now.
        #[serde(default)]
        terminal: Option<TerminalSize>,
    },
}

/// What a shim answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Done or begun; this is the state.
    State(Box<InstanceState>),
    /// Not done, and why.
    Refused(String),
}

/// One piece of an attached conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// To the shim: standard input.
    Input(Vec<u8>),
    /// To the shim: there is no more input.
    EndOfInput,
    /// To the shim: the terminal has a new size.
    Resize(TerminalSize),
    /// To the shim: a signal for the main process.
    Signal(i32),
    /// From the shim: standard output, or what the terminal shows.
    Output(Vec<u8>),
    /// From the shim: error output.
    ErrorOutput(Vec<u8>),
    /// From the shim, last: how it ended, and why a launch came to nothing.
    Exit(ExitStatus, Option<String>),
}

/// What is not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an attached connection carries something that is not a frame")]
pub struct NotAFrame;

impl Frame {
    /// Appends the frame to `out`. Data is cut into several frames where it is too long for one.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Input(data) => encode_data(0, data, out),
            Self::EndOfInput => encode_one(1, &[], out),
            Self::Resize(size) => {
                let [rows, columns] = [size.rows.to_le_bytes(), size.columns.to_le_bytes()];
                encode_one(2, &[rows[0], rows[1], columns[0], columns[1]], out);
            }
            Self::Signal(number) => encode_one(3, &number.to_le_bytes(), out),
            Self::Output(data) => encode_data(16, data, out),
            Self::ErrorOutput(data) => encode_data(17, data, out),
            Self::Exit(status, reason) => {
                let json = serde_json::to_vec(&(status, reason)).unwrap_or_default();
                encode_one(18, &json, out);
            }
        }
    }

    /// The first frame in `bytes` and its length; `None` while it is incomplete.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, NotAFrame> {
        let Some((header, rest)) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(NotAFrame);
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let frame = Self::decode_payload(header[0], payload)?;
        Ok(Some((frame, FRAME_HEADER_BYTES + length)))
    }

    fn decode_payload(kind: u8, payload: &[u8]) -> Result<Self, NotAFrame> {
        match (kind, payload) {
            (0, data) => Ok(Self::Input(data.to_vec())),
            (1, []) => Ok(Self::EndOfInput),
            (2, &[r0, r1, c0, c1]) => {
                let [rows, columns] = [[r0, r1], [c0, c1]].map(u16::from_le_bytes);
                Ok(Self::Resize(TerminalSize { rows, columns }))
            }
            (3, &[a, b, c, d]) => Ok(Self::Signal(i32::from_le_bytes([a, b, c, d]))),
            (16, data) => Ok(Self::Output(data.to_vec())),
            (17, data) => Ok(Self::ErrorOutput(data.to_vec())),
            (18, json) => {
                let (status, reason) = serde_json::from_slice(json).map_err(|_| NotAFrame)?;
                Ok(Self::Exit(status, reason))
            }
            _ => Err(NotAFrame),
        }
    }
}

fn encode_data(kind: u8, data: &[u8], out: &mut Vec<u8>) {
    for piece in data.chunks(MAX_FRAME_BYTES) {
        encode_one(kind, piece, out);
    }
}

fn encode_one(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    // At most MAX_FRAME_BYTES by the callers above, so the length fits.
    let length = payload.len() as u32;
    out.push(kind);
    out.extend(length.to_le_bytes());
    out.extend(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_was_written() {
        for frame in [
            Frame::Input(vec![0, 255]),
            Frame::EndOfInput,
            Frame::Resize(TerminalSize { rows: 24, columns: 300 }),
            Frame::Signal(2),
            Frame::Output(vec![1; MAX_FRAME_BYTES]),
            Frame::ErrorOutput(Vec::from("x")),
            Frame::Exit(ExitStatus::Code(42), None),
        ] {
            let mut bytes = Vec::new();
            frame.encode_into(&mut bytes);
            assert_eq!(Frame::decode(&bytes[..bytes.len() - 1]), Ok(None));
            assert_eq!(Frame::decode(&bytes), Ok(Some((frame, bytes.len()))));
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_kept() {
        assert_eq!(Frame::decode(&[0, 255, 255, 255, 255]), Err(NotAFrame));
        assert_eq!(Frame::decode(&[99, 0, 0, 0, 0]), Err(NotAFrame));
        assert_eq!(Frame::decode(&[2, 1, 0, 0, 0, 9]), Err(NotAFrame));
    }

    #[test]
    fn a_request_with_an_unknown_word_is_refused() {
        assert!(serde_json::from_str::<Request>(r#"{"do":"stop","grace_millis":1}"#).is_ok());
        assert!(serde_json::from_str::<Request>(r#"{"do":"stop","grace":1}"#).is_err());
        assert!(serde_json::from_str::<Request>(r#"{"do":"dance"}"#).is_err());
    }
}
