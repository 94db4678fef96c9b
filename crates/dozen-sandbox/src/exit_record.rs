//! How an incarnation ended, in one small file that init writes before it exits.
//!
//! The shim opens `exit.<incarnation>` before it builds the walls and hands it to init, so the
//! record survives the death of shim and control. It is written at its full size when it is
//! made: a full disk cannot keep init from writing it later.

use crate::state::{Exit, ExitStatus};

/// The size of the file.
pub(crate) const EXIT_RECORD_BYTES: usize = 512;
const MAGIC: &[u8; 8] = b"dzexit01";
const HEADER_BYTES: usize = 32;

/// The record of one end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExitRecord {
    /// How and when.
    pub(crate) exit: Exit,
    /// Why the launch came to nothing.
    pub(crate) launch_error: Option<String>,
}

impl ExitRecord {
    /// The file's content.
    pub(crate) fn encode(&self) -> [u8; EXIT_RECORD_BYTES] {
        let (kind, value): (u32, i32) = match self.exit.status {
            ExitStatus::Code(code) => (1, code),
            ExitStatus::Signal(signal) => (2, signal),
            ExitStatus::LaunchFailed => (3, 0),
            ExitStatus::Unknown => (4, 0),
        };
        let message = self.launch_error.as_deref().unwrap_or_default();
        let message = &message[..message.floor_char_boundary(EXIT_RECORD_BYTES - HEADER_BYTES)];
        let mut record = [0; EXIT_RECORD_BYTES];
        record[..8].copy_from_slice(MAGIC);
        record[8..12].copy_from_slice(&kind.to_le_bytes());
        record[12..16].copy_from_slice(&value.to_le_bytes());
        record[16..24].copy_from_slice(&self.exit.at.to_le_bytes());
        record[24..32].copy_from_slice(&(message.len() as u64).to_le_bytes());
        record[HEADER_BYTES..HEADER_BYTES + message.len()].copy_from_slice(message.as_bytes());
        record
    }

    /// The record in the file's content; `None` while init has not written one.
    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        let record: &[u8; EXIT_RECORD_BYTES] = record.try_into().ok()?;
        let word =
            |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        let long = |at: usize| u64::from(word(at + 4)) << 32 | u64::from(word(at));
        let value = word(12).cast_signed();
        let status = match word(8) {
            1 => ExitStatus::Code(value),
            2 => ExitStatus::Signal(value),
            3 => ExitStatus::LaunchFailed,
            4 => ExitStatus::Unknown,
            _ => return None,
        };
        let length = usize::try_from(long(24)).ok()?;
        let message = record[HEADER_BYTES..].get(..length)?;
        let message = String::from_utf8_lossy(message).into_owned();
        let launch_error = (!message.is_empty()).then_some(message);
        (record[..8] == *MAGIC).then_some(Self { exit: Exit { status, at: long(16) }, launch_error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        for status in
            [ExitStatus::Code(42), ExitStatus::Signal(9), ExitStatus::LaunchFailed, ExitStatus::Unknown]
        {
            let record =
                ExitRecord { exit: Exit { status, at: u64::MAX - 5 }, launch_error: Some("é".into()) };
            assert_eq!(ExitRecord::decode(&record.encode()), Some(record));
        }
    }

    #[test]
    fn a_file_without_a_record_is_none() {
        assert_eq!(ExitRecord::decode(&[0; EXIT_RECORD_BYTES]), None);
        assert_eq!(ExitRecord::decode(b""), None);
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let exit = Exit { status: ExitStatus::LaunchFailed, at: 1 };
        let record = ExitRecord { exit, launch_error: Some("é".repeat(400)) };
        assert_eq!(ExitRecord::decode(&record.encode()).unwrap().launch_error.unwrap(), "é".repeat(240));
    }
}
