//! Which version of a runtime an app asks for, and which file says so.

use crate::{
    error::{BuildError, shown},
    version::{Range, Version},
};

/// A wish for a runtime's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedVersion {
    /// The file or setting that asks; `None` when nothing does.
    pub by: Option<String>,
    /// As written.
    pub text: String,
    /// An exact version, where one is asked for; the highest patch of its minor stands in for it.
    pub exact: Option<Version>,
    /// What is allowed.
    pub range: Range,
}

impl WantedVersion {
    /// No wish: any version.
    pub(super) fn any() -> Self {
        Self { by: None, text: String::new(), exact: None, range: Range::all() }
    }

    /// A version written plainly: `3.12`, `3.12.4`, `20`. With three parts, other patches are
    /// allowed but the exact one is preferred.
    pub(super) fn plain(by: &str, language: &'static str, text: &str) -> Result<Self, BuildError> {
        let text = text.trim();
        let parts = text.split('.').count();
        let minor = text.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        let range = Version::parse(text).and_then(|_| Range::beginning_with(&minor));
        let range = range.ok_or_else(|| not_understood(by, language, text))?;
        let exact = if parts == 3 { Version::parse(text) } else { None };
        Ok(Self { by: Some(by.to_owned()), text: text.to_owned(), exact, range })
    }

    /// A wish whose range was already read from `text`.
    pub(super) fn ranged(
        by: &str,
        language: &'static str,
        text: &str,
        range: Option<Range>,
    ) -> Result<Self, BuildError> {
        let range = range.ok_or_else(|| not_understood(by, language, text))?;
        Ok(Self { by: Some(by.to_owned()), text: shown(text.trim().as_bytes()), exact: None, range })
    }

    /// The wish as words: `3.12.4 (.python-version)`.
    pub fn described(&self) -> String {
        match &self.by {
            Some(by) => format!("{} ({by})", self.text),
            None => "of any version".to_owned(),
        }
    }
}

fn not_understood(by: &str, language: &'static str, text: &str) -> BuildError {
    // A version is short; anything longer is not one, and is not quoted.
    let text: String = text.chars().take(40).collect();
    BuildError::BadVersion { file: by.to_owned(), language, text: shown(text.as_bytes()) }
}
