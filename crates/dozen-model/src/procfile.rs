//! The Procfile: which processes an app has.
//!
//! One line for each process type: a name, a colon and a command. Blank lines and lines that
//! start with `#` are left out. Any other line is an error with its number, which catches what a
//! merge left behind; so is a name that comes twice, since no rule says which line would win.
//!
//! Only two names are special: `web` gets the router's requests, and `release` is not a process
//! type but the command of the release phase, so it stands apart.
//!
//! This module reads bytes that someone else read. It does not look into the commands; that is
//! [`crate::command_line`].
//!
//! Start reading at [`Procfile::parse`].

use std::collections::BTreeMap;

use crate::{excerpt::excerpt, hint::Hint, names::ProcessType};

/// What a Procfile says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Procfile {
    /// Process types and their commands, without `release`.
    pub processes: BTreeMap<ProcessType, String>,
    /// The command of the release phase.
    pub release: Option<String>,
    /// What works here but may surprise elsewhere; safe to print.
    pub warnings: Vec<String>,
}

/// Why a Procfile was refused; each error about a line has its number, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcfileError {
    /// Larger than [`Procfile::LIMIT`].
    #[error("the Procfile has more than {} bytes", Procfile::LIMIT)]
    TooLarge,
    /// Bytes that are not UTF-8.
    #[error("line {line} of the Procfile is not valid UTF-8")]
    NotText {
        /// The line.
        line: usize,
    },
    /// A NUL or another control character, which no command can carry.
    #[error("line {line} of the Procfile holds a control character")]
    ControlCharacter {
        /// The line.
        line: usize,
    },
    /// A mark that an unfinished merge left.
    #[error("line {line} of the Procfile is a merge mark")]
    MergeMark {
        /// The line.
        line: usize,
    },
    /// A line that is not a name, a colon and a command.
    #[error("line {line} of the Procfile is not `name: command`: `{excerpt}`")]
    NotAProcess {
        /// The line.
        line: usize,
        /// How it starts, escaped.
        excerpt: String,
    },
    /// A name without a command.
    #[error("line {line} of the Procfile has no command for `{name}`")]
    NoCommand {
        /// The line.
        line: usize,
        /// The name.
        name: ProcessType,
    },
    /// A name that an earlier line has.
    #[error("line {line} of the Procfile declares `{name}` again, as line {first} did")]
    Duplicate {
        /// The line.
        line: usize,
        /// The line that declared it first.
        first: usize,
        /// The name.
        name: ProcessType,
    },
}

impl Hint for ProcfileError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::MergeMark { .. } => Some("finish the merge, then commit the Procfile".to_owned()),
            Self::NotAProcess { .. } => {
                Some("names have 1 to 63 letters, digits, `-` and `_`; a comment starts with `#`".to_owned())
            }
            Self::Duplicate { .. } => Some("remove one of the two lines, or rename it".to_owned()),
            Self::NoCommand { .. } => {
                Some("write the command behind the colon, or remove the line".to_owned())
            }
            Self::ControlCharacter { .. } | Self::NotText { .. } => {
                Some("type the line anew: it holds something that an editor may not show".to_owned())
            }
            _ => None,
        }
    }
}

impl Procfile {
    /// The most bytes a Procfile may have.
    pub const LIMIT: usize = 64 << 10;

    /// Reads the bytes of a Procfile. A byte order mark and CRLF line ends are tolerated.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProcfileError> {
        if bytes.len() > Self::LIMIT {
            return Err(ProcfileError::TooLarge);
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut procfile = Self::default();
        let mut declared = BTreeMap::new();
        for (line, raw) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
            let text = std::str::from_utf8(raw).map_err(|_| ProcfileError::NotText { line })?;
            let Some((name, command)) = process_line(text, line)? else { continue };
            if let Some(first) = declared.insert(name.clone(), line) {
                return Err(ProcfileError::Duplicate { line, first, name });
            }
            procfile.declare(name, command, line);
        }
        Ok(procfile)
    }

    fn declare(&mut self, name: ProcessType, command: String, line: usize) {
        if name == ProcessType::release() {
            self.release = Some(command);
            return;
        }
        if !is_dns_label(name.as_str()) {
            self.warnings.push(format!(
                "line {line} of the Procfile: `{name}` is not a DNS label, so it cannot be exported to Kubernetes"
            ));
        }
        self.processes.insert(name, command);
    }
}

/// The name and the command of one line, or nothing for a blank line or a comment.
fn process_line(text: &str, line: usize) -> Result<Option<(ProcessType, String)>, ProcfileError> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(ProcfileError::ControlCharacter { line });
    }
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return Ok(None);
    }
    if is_merge_mark(text) {
        return Err(ProcfileError::MergeMark { line });
    }
    let refused = || ProcfileError::NotAProcess { line, excerpt: excerpt(trimmed) };
    let (name, command) = text.split_once(':').ok_or_else(refused)?;
    // A space before the name or the colon is refused: YAML would be read by accident.
    let name: ProcessType = name.parse().map_err(|_| refused())?;
    match command.trim() {
        "" => Err(ProcfileError::NoCommand { line, name }),
        command => Ok(Some((name, command.to_owned()))),
    }
}

/// Whether the line is one of the marks that Git writes around a conflict.
fn is_merge_mark(text: &str) -> bool {
    ["<<<<<<<", "=======", ">>>>>>>", "|||||||"]
        .iter()
        .any(|mark| text.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')))
}

/// Whether Kubernetes would take the name: lower-case letters, digits and inner dashes.
fn is_dns_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests;
