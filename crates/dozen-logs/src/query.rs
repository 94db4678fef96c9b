//! What to read: one stage's lines, less what the filters leave out.

use std::str::FromStr;

use dozen_model::names::{AppName, StageName};

use crate::{Cursor, LogError, Source};

/// How many lines are read where nothing else bounds them.
pub(crate) const DEFAULT_LINES: usize = 100;
/// The most lines that one read gives, whatever was asked.
pub(crate) const MAX_LINES: usize = 100_000;

/// Which lines of which stage to read.
#[derive(Debug, Clone)]
pub struct LogQuery {
    /// The app.
    pub app: AppName,
    /// Its stage.
    pub stage: StageName,
    /// Only lines of this process type or instance.
    pub process: Option<ProcessFilter>,
    /// Only lines of this stream, named as in [`crate::StreamId`].
    pub stream: Option<String>,
    /// Only the app's own lines, or only dozen's.
    pub source: Option<Source>,
    /// Only lines of this time (unix nanoseconds) or later.
    pub since_ns: Option<u64>,
    /// The last so many lines; at most 100,000. Where it is not given: the last 100, or all
    /// that `since_ns` allows.
    pub lines: Option<usize>,
    /// Go on where an earlier read or follow with the same filters ended; `lines` then has no say.
    pub from: Option<Cursor>,
}

impl LogQuery {
    /// The last 100 lines of one stage.
    pub fn new(app: AppName, stage: StageName) -> Self {
        Self {
            app,
            stage,
            process: None,
            stream: None,
            source: None,
            since_ns: None,
            lines: None,
            from: None,
        }
    }

    /// How many of the newest lines to keep.
    pub(crate) fn last(&self) -> usize {
        let unasked = if self.since_ns.is_some() { MAX_LINES } else { DEFAULT_LINES };
        self.lines.unwrap_or(unasked).min(MAX_LINES)
    }

    pub(crate) fn wants_process(&self, process: &str) -> bool {
        self.process.as_ref().is_none_or(|filter| filter.matches(process))
    }

    pub(crate) fn wants_source(&self, source: Source) -> bool {
        self.source.is_none_or(|wanted| wanted == source)
    }
}

/// A process type such as `web`, or one instance such as `web.1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessFilter(String);

impl ProcessFilter {
    /// Whether a line of `process` passes: the very name, or an instance of the type.
    pub fn matches(&self, process: &str) -> bool {
        match process.strip_prefix(&self.0) {
            Some("") => true,
            Some(rest) => !self.0.contains('.') && rest.starts_with('.'),
            None => false,
        }
    }
}

impl FromStr for ProcessFilter {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        if is_process(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(LogError::ProcessFilter { filter: text.escape_default().take(80).collect() })
        }
    }
}

/// Whether `text` can name who wrote a line: `web`, `web.1`, `router`.
pub(crate) fn is_process(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let (kind, number) = match text.split_once('.') {
        Some((kind, number)) => (kind, Some(number)),
        None => (text, None),
    };
    let number_fits = |n: &str| (1..=20).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit());
    (1..=63).contains(&kind.len()) && kind.bytes().all(word) && number.is_none_or(number_fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_matches_its_instances_and_an_instance_only_itself() {
        let web: ProcessFilter = "web".parse().unwrap();
        let first: ProcessFilter = "web.1".parse().unwrap();

        assert!(web.matches("web") && web.matches("web.1") && web.matches("web.12"));
        assert!(!web.matches("website.1") && !web.matches("worker.1"));
        assert!(first.matches("web.1") && !first.matches("web.11") && !first.matches("web"));
    }

    #[test]
    fn a_filter_that_names_no_process_is_refused() {
        for bad in ["", "web.", ".1", "web.x", "../etc", "web.1.2", "we b", "a\u{1b}[2J"] {
            assert!(bad.parse::<ProcessFilter>().is_err(), "{bad:?}");
        }
    }
}
