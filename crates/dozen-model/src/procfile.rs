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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> ProcfileError {
        Procfile::parse(text.as_bytes()).unwrap_err()
    }

    fn command<'a>(procfile: &'a Procfile, name: &str) -> &'a str {
        &procfile.processes[&name.parse::<ProcessType>().unwrap()]
    }

    #[test]
    fn a_procfile_names_processes_and_the_release_phase() {
        let text = "\u{feff}# Processes\r\n\r\nrelease: python manage.py migrate\r\nweb:  gunicorn a:b --bind :$PORT  \r\n\tworker-1:x";
        // The last line starts with a tab and is no process; without it the rest is read.
        assert!(matches!(error(text), ProcfileError::NotAProcess { line: 5, .. }));
        let procfile = Procfile::parse(text.replace("\tworker", "worker").as_bytes()).unwrap();
        assert_eq!(procfile.release.as_deref(), Some("python manage.py migrate"));
        assert_eq!(command(&procfile, "web"), "gunicorn a:b --bind :$PORT");
        assert_eq!(command(&procfile, "worker-1"), "x");
        assert_eq!(procfile.processes.len(), 2);
        assert!(procfile.warnings.is_empty());
    }

    #[test]
    fn a_comment_has_a_line_of_its_own_and_a_command_may_hold_a_hash() {
        let procfile = Procfile::parse(b"  # indented\nweb: a #b\n\n").unwrap();
        assert_eq!(command(&procfile, "web"), "a #b");
    }

    #[test]
    fn a_bad_line_is_an_error_with_its_number() {
        for bad in [
            "gunicorn app",
            "web x: y",
            ": x",
            "web : x",
            " web: x",
            "wéb: x",
            "a.b: x",
            &format!("{}: x", "a".repeat(64)),
        ] {
            let text = format!("web: a\n{bad}\n");
            assert!(matches!(error(&text), ProcfileError::NotAProcess { line: 2, .. }), "{bad}");
        }
        assert!(matches!(error("a: x\nweb:  \n"), ProcfileError::NoCommand { line: 2, .. }));
        assert!(Procfile::parse(format!("{}: x", "a".repeat(63)).as_bytes()).is_ok());
    }

    #[test]
    fn a_name_that_comes_twice_is_an_error_that_names_both_lines() {
        assert_eq!(
            error("web: a\n\nweb: b").to_string(),
            "line 3 of the Procfile declares `web` again, as line 1 did"
        );
        assert!(matches!(error("release: a\nrelease: b"), ProcfileError::Duplicate { line: 2, .. }));
    }

    #[test]
    fn the_marks_of_a_merge_are_errors() {
        for mark in ["<<<<<<< HEAD", "=======", ">>>>>>> branch", "||||||| base"] {
            assert_eq!(error(&format!("web: a\n{mark}\n")), ProcfileError::MergeMark { line: 2 }, "{mark}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_errors() {
        assert_eq!(Procfile::parse(b"web: a\nb: \xff"), Err(ProcfileError::NotText { line: 2 }));
        assert_eq!(Procfile::parse(b"web: a\0b"), Err(ProcfileError::ControlCharacter { line: 1 }));
        assert_eq!(Procfile::parse(b"web: \x1b[31m"), Err(ProcfileError::ControlCharacter { line: 1 }));
        assert_eq!(Procfile::parse(b"web: a\rworker: b"), Err(ProcfileError::ControlCharacter { line: 1 }));
        assert_eq!(Procfile::parse(&[b'#'; Procfile::LIMIT + 1]), Err(ProcfileError::TooLarge));
        assert!(Procfile::parse(&[b'#'; Procfile::LIMIT]).is_ok());
    }

    #[test]
    fn a_name_that_kubernetes_refuses_is_a_warning() {
        let procfile = Procfile::parse(b"web: a\nWorker_1: b\nx-: c\nrelease: d").unwrap();
        assert_eq!(procfile.warnings.len(), 2, "{:?}", procfile.warnings);
        assert!(procfile.warnings[0].starts_with("line 2 of the Procfile: `Worker_1`"));
    }

    #[test]
    fn an_error_never_quotes_a_whole_line() {
        let secret = format!("{}topsecret", "x".repeat(60));
        assert!(!error(&secret).to_string().contains("topsecret"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_say_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[a-z:#<=> \\n\\r\\x1b\\u{202e}]{0,80}") {
            for bytes in [bytes, text.into_bytes()] {
                if let Err(error) = Procfile::parse(&bytes) {
                    let said = error.to_string();
                    prop_assert!(said.len() < 500 && !said.chars().any(char::is_control), "{said}");
                }
            }
        }

        #[test]
        fn what_was_declared_is_read_back(names in prop::collection::btree_set("[A-Za-z0-9_-]{1,63}", 0..8), command in "[!-~][ -~]{0,40}[!-~]") {
            let text: String = names.iter().map(|name| format!("{name}: {command}\n")).collect();
            let procfile = Procfile::parse(text.as_bytes()).unwrap();
            let read: std::collections::BTreeSet<String> =
                procfile.processes.keys().map(ToString::to_string).chain(procfile.release.map(|_| "release".into())).collect();
            prop_assert_eq!(read, names);
            prop_assert!(procfile.processes.values().all(|read| *read == command));
        }
    }
}
