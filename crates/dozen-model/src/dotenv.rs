//! A `.env` file, read once to import it as config vars.
//!
//! The subset is foreman's, which every other tool's files are close to: `NAME=value`, single
//! quotes take everything literally, double quotes know backslashes, `export` in front is
//! tolerated, and nothing is ever expanded: a `$` is a dollar sign. Whatever tools read in
//! different ways is an error or a warning here, not a guess.
//!
//! Values are secrets. No error, no warning and no `Debug` output quotes one, or a part of a line
//! that could be one.
//!
//! Start reading at [`Dotenv::parse`].

use std::{collections::BTreeMap, fmt};

use crate::{hint::Hint, names::ConfigVar};

/// What a `.env` file says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Dotenv {
    /// The config vars in the file's order, each once.
    pub vars: Vec<(ConfigVar, Vec<u8>)>,
    /// Lines that were left out or may be meant otherwise; safe to print.
    pub warnings: Vec<String>,
}

impl fmt::Debug for Dotenv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.vars.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Dotenv")
            .field("names", &names)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// Why a `.env` file was refused, by its line. It names variables and never quotes values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DotenvError {
    /// Larger than [`Dotenv::LIMIT`].
    #[error("the file has more than {} bytes", Dotenv::LIMIT)]
    TooLarge,
    /// Bytes that are not UTF-8.
    #[error("line {line} is not valid UTF-8")]
    NotText {
        /// The line.
        line: usize,
    },
    /// A NUL or a carriage return within a line.
    #[error("line {line} holds a NUL or a lone carriage return")]
    ControlCharacter {
        /// The line.
        line: usize,
    },
    /// A line that is not `NAME=value`.
    #[error("line {line} is not `NAME=value`")]
    NotAnAssignment {
        /// The line.
        line: usize,
    },
    /// A quote that is not closed on its line.
    #[error("line {line} does not close the quote of `{name}`")]
    Unclosed {
        /// The line.
        line: usize,
        /// The variable.
        name: ConfigVar,
    },
    /// Something behind the closing quote.
    #[error("line {line} goes on after the quote of `{name}` is closed")]
    AfterQuote {
        /// The line.
        line: usize,
        /// The variable.
        name: ConfigVar,
    },
    /// A name that an earlier line has.
    #[error("line {line} sets `{name}` again, as line {first} did")]
    Duplicate {
        /// The line.
        line: usize,
        /// The line that set it first.
        first: usize,
        /// The variable.
        name: ConfigVar,
    },
}

impl Hint for DotenvError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotAnAssignment { .. } => {
                Some("names have letters, digits and `_`, and no space stands beside the `=`".to_owned())
            }
            Self::Unclosed { .. } => {
                Some("a value has one line; in double quotes `\\n` is a line break".to_owned())
            }
            Self::Duplicate { .. } => Some("remove one of the two lines".to_owned()),
            Self::ControlCharacter { .. } | Self::NotText { .. } => Some(
                "save the file as plain text; encode a value that is not, for example as base64".to_owned(),
            ),
            _ => None,
        }
    }
}

impl Dotenv {
    /// The most bytes a file may have.
    pub const LIMIT: usize = 256 << 10;

    /// Reads the bytes of a `.env` file. A byte order mark and CRLF line ends are tolerated.
    pub fn parse(bytes: &[u8]) -> Result<Self, DotenvError> {
        if bytes.len() > Self::LIMIT {
            return Err(DotenvError::TooLarge);
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut file = Self::default();
        let mut seen = BTreeMap::new();
        for (line, raw) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
            let text = std::str::from_utf8(raw).map_err(|_| DotenvError::NotText { line })?;
            if text.contains(['\0', '\r']) {
                return Err(DotenvError::ControlCharacter { line });
            }
            file.read_line(text.trim(), line, &mut seen)?;
        }
        Ok(file)
    }

    fn read_line(
        &mut self,
        text: &str,
        line: usize,
        seen: &mut BTreeMap<ConfigVar, usize>,
    ) -> Result<(), DotenvError> {
        if text.is_empty() || text.starts_with('#') {
            return Ok(());
        }
        let (name, value) = assignment(text).ok_or(DotenvError::NotAnAssignment { line })?;
        let Ok(name) = name.parse::<ConfigVar>() else {
            if name == "PORT" || name == "DYNO" || name.starts_with("DOZEN_") {
                self.warnings.push(format!(
                    "line {line}: `{}` is left out, dozen sets it",
                    &name[..name.len().min(60)]
                ));
                return Ok(());
            }
            return Err(DotenvError::NotAnAssignment { line });
        };
        let value = match value.chars().next() {
            Some('\'') => single_quoted(&value[1..], line, &name)?,
            Some('"') => double_quoted(&value[1..], line, &name)?,
            _ => {
                if value.contains(" #") || value.contains("\t#") {
                    self.warnings.push(format!(
                        "line {line}: the `#` in the value of `{name}` is taken as a part of it; quote the value if a comment is meant"
                    ));
                }
                value.to_owned()
            }
        };
        if let Some(first) = seen.insert(name.clone(), line) {
            return Err(DotenvError::Duplicate { line, first, name });
        }
        self.vars.push((name, value.into_bytes()));
        Ok(())
    }
}

/// The name and the raw value of `NAME=value` or `export NAME=value`.
fn assignment(text: &str) -> Option<(&str, &str)> {
    let without_export = text.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
    let (name, value) = without_export.map_or(text, str::trim_start).split_once('=')?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let is_name = !name.is_empty() && name.bytes().all(plain);
    // `A= b` is read in three ways by as many tools.
    let beside = value.starts_with([' ', '\t']);
    (is_name && !beside).then_some((name, value))
}

fn single_quoted(rest: &str, line: usize, name: &ConfigVar) -> Result<String, DotenvError> {
    let unclosed = || DotenvError::Unclosed { line, name: name.clone() };
    let (value, after) = rest.split_once('\'').ok_or_else(unclosed)?;
    nothing_after(after, line, name)?;
    Ok(value.to_owned())
}

fn double_quoted(rest: &str, line: usize, name: &ConfigVar) -> Result<String, DotenvError> {
    let unclosed = || DotenvError::Unclosed { line, name: name.clone() };
    let mut value = String::new();
    let mut letters = rest.chars();
    loop {
        match letters.next().ok_or_else(unclosed)? {
            '"' => break,
            '\\' => match letters.next().ok_or_else(unclosed)? {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            letter => value.push(letter),
        }
    }
    nothing_after(letters.as_str(), line, name)?;
    Ok(value)
}

/// Behind a closing quote only a comment may stand.
fn nothing_after(rest: &str, line: usize, name: &ConfigVar) -> Result<(), DotenvError> {
    let comment = rest.starts_with([' ', '\t']) && rest.trim_start().starts_with('#');
    let nothing = rest.is_empty() || comment;
    if nothing { Ok(()) } else { Err(DotenvError::AfterQuote { line, name: name.clone() }) }
}

#[cfg(test)]
mod tests;
