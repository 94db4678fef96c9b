//! The platform stream of a stage: what dozen itself has to say about an app, written by control.
//!
//! Writing never blocks on a reader and never fails its caller: a deploy must not stop because
//! the disk is full. A line that could not be written is counted, and the count is the first
//! thing written once there is room again. Each line is one append, so a reader sees whole lines.
//!
//! There must be one writer of a stream at a time; control's lock on its home sees to that.
//!
//! Start reading at [`PlatformLog::write`].

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use dozen_model::segment::{self, StreamLine, unix_nanos};
use parking_lot::Mutex;

use crate::LogError;

/// A file ends after about this many bytes.
const FILE_BYTES: u64 = 8 << 20;

/// Writes the platform stream of one stage.
#[derive(Debug)]
pub struct PlatformLog {
    folder: PathBuf,
    open: Mutex<CurrentFile>,
}

#[derive(Debug)]
struct CurrentFile {
    file: File,
    number: u64,
    bytes: u64,
    /// The file ends in the middle of a line.
    torn: bool,
    /// Lines that could not be written since the last one that could.
    dropped: u64,
}

impl PlatformLog {
    /// Opens the stream in `folder` to write on; makes the folder if need be.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        let refused = |source| LogError::PlatformLog { path: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(refused)?;
        let mut number = 1;
        for entry in folder.read_dir().map_err(refused)? {
            let name = entry.map_err(refused)?.file_name();
            number = name.to_str().and_then(segment::parse_stream_name).unwrap_or(0).max(number);
        }
        let open = CurrentFile::open(folder, number).map_err(refused)?;
        Ok(Self { folder: folder.to_owned(), open: Mutex::new(open) })
    }

    /// Writes `text` as said by `process`, such as `control` or `web.1`, at this moment.
    pub fn write(&self, process: &str, text: &str) {
        let at = unix_nanos(SystemTime::now());
        let mut open = self.open.lock();
        if open.bytes >= FILE_BYTES {
            // Where no new file can be made, the old one grows on.
            if let Ok(next) = CurrentFile::open(&self.folder, open.number + 1) {
                *open = CurrentFile { dropped: open.dropped, ..next };
            }
        }
        open.write(at, process, text);
    }
}

impl CurrentFile {
    fn open(folder: &Path, number: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(folder.join(segment::stream_name(number)))?;
        let bytes = file.metadata()?.len();
        let mut last = [b'\n'];
        if let Some(before) = bytes.checked_sub(1) {
            file.read_at(&mut last, before)?;
        }
        Ok(Self { file, number, bytes, torn: last != *b"\n", dropped: 0 })
    }

    fn write(&mut self, at: u64, process: &str, text: &str) {
        let mut lines = String::new();
        if self.torn {
            lines.push('\n');
        }
        if self.dropped > 0 {
            let text = format!("{} lines were dropped: the log could not be written", self.dropped);
            StreamLine { at, process: "logs".to_owned(), text }.encode_into(&mut lines);
        }
        StreamLine { at, process: process.to_owned(), text: text.to_owned() }.encode_into(&mut lines);
        match self.append(lines.as_bytes()) {
            Ok(written) if written == lines.len() => (self.torn, self.dropped) = (false, 0),
            // Part of it fitted, maybe to the middle of a character: its last line is written off.
            Ok(written) => {
                self.torn |= written > 0 && !lines.as_bytes()[..written].ends_with(b"\n");
                self.dropped += 1;
            }
            Err(_) => self.dropped += 1,
        }
    }

    /// One write call: a second one could come after a kill -9.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Ok(written) => {
                    self.bytes += written as u64;
                    return Ok(written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
