//! Why a manifest was refused, and where.

use std::fmt;

use crate::hint::Hint;

/// Why `dozen.toml` or `app.json` was refused.
///
/// It quotes keys and short excerpts; a value that could be a password (of a config var, a build
/// variable or a URL) is never quoted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ManifestError {
    /// The file's name.
    pub file: &'static str,
    /// The line, counted from 1, where the reader knows it.
    pub line: Option<usize>,
    /// What is wrong there.
    pub kind: ManifestErrorKind,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "`{}` line {line}: {}", self.file, self.kind),
            None => write!(f, "`{}`: {}", self.file, self.kind),
        }
    }
}

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestErrorKind {
    /// The file is larger than any manifest needs to be.
    #[error("it has more than {limit} bytes")]
    TooLarge {
        /// The most bytes allowed.
        limit: usize,
    },
    /// It is not text.
    #[error("it is not valid UTF-8")]
    NotText,
    /// The file's own grammar is broken.
    #[error("{reason}")]
    Syntax {
        /// What the grammar wants, without any of the file's text.
        reason: String,
    },
    /// A key that no version of dozen knows.
    #[error("unknown key `{key}` in {section}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The section, such as "`[health]`".
        section: String,
        /// The known key it resembles.
        meant: Option<String>,
        /// The keys that belong there.
        known: Box<str>,
    },
    /// A value of the wrong type.
    #[error("`{key}` must be {wanted}, not {found}")]
    WrongType {
        /// The key, with its section.
        key: String,
        /// What it must be.
        wanted: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// A value of the right type that cannot be used.
    #[error("`{key}`: {reason}")]
    BadValue {
        /// The key, with its section.
        key: String,
        /// What is wrong, as the value's own type says it.
        reason: String,
        /// What to write in its place, where that is known.
        hint: Option<String>,
    },
}

impl Hint for ManifestError {
    fn hint(&self) -> Option<String> {
        match &self.kind {
            ManifestErrorKind::UnknownKey { meant: Some(meant), .. } => {
                Some(format!("did you mean `{meant}`?"))
            }
            ManifestErrorKind::UnknownKey { known, .. } => Some(format!("known here: {known}")),
            ManifestErrorKind::WrongType { key, .. } if key.starts_with("processes.") => {
                let process = key.trim_start_matches("processes.");
                Some(format!("its command goes there, all else about it below `[formation.{process}]`"))
            }
            ManifestErrorKind::BadValue { hint, .. } => hint.clone(),
            _ => None,
        }
    }
}
