//! Why a verb ended without doing what was asked, and the exit status that says so.
//!
//! 1: the request was refused and the user can act; 2: usage; 3: dozen's own fault. A one-off
//! process passes its own status through, and Ctrl-C ends with 130 as in a shell.

use std::{io, path::PathBuf};

use dozen_control::api::wire::ErrorBody;
use dozen_model::{hint::Hint, names::NameError};

use crate::{
    client::ClientError,
    context::{ContextError, Target},
    daemon::DaemonError,
    git::GitError,
    settings::SettingsError,
    upload::UploadError,
};

/// How a verb ended when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// Done.
    Success,
    /// What was looked at is not as it should be; the verb itself has said so.
    Unsatisfied,
    /// The user interrupted it.
    Interrupted,
    /// The status of a one-off process.
    Passed(u8),
}

impl ExitStatus {
    /// The process's exit status.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Unsatisfied => 1,
            Self::Interrupted => 130,
            Self::Passed(code) => code,
        }
    }
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The server refused, or its work failed.
    #[error("{}", .0.message)]
    Refused(Box<ErrorBody>),
    /// The server could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The connection was lost before a change of a stage had a number to ask for.
    #[error("{lost}, and nobody has said whether the change was taken")]
    CutOff {
        /// How it was lost.
        lost: ClientError,
        /// The stage.
        target: Target,
    },
    /// It is not clear which app or stage is meant.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Git refused.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The source could not be sent.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The detached server did not start.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// A name made up from the surroundings is none.
    #[error("{what} does not make a name")]
    Name {
        /// Where the name came from.
        what: String,
        /// How the verb takes another one.
        advice: &'static str,
        /// The rule it breaks.
        source: NameError,
    },
    /// The arguments do not fit together.
    #[error("{message}")]
    Usage {
        /// What does not fit.
        message: String,
        /// What would.
        hint: Option<String>,
    },
    /// What was asked for cannot be had; one sentence says why.
    #[error("{message}")]
    Unavailable {
        /// Why.
        message: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// The command of a one-off process never ran.
    #[error("{reason}")]
    NotStarted {
        /// The status that a shell ends with then, where it knows this case.
        status: Option<u8>,
        /// Why it did not.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("`{}` could not be {action}", path.display())]
    File {
        /// `read` or `written`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The terminal, a pipe or a process of our own let us down.
    #[error("{what}")]
    System {
        /// What could not be done.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Whoever read our output has gone: nothing to say, and nobody to say it to.
    #[error("stdout is closed")]
    OutputClosed,
}

impl CliError {
    /// The process's exit status.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Usage { .. } => 2,
            Self::Refused(body) if body.internal => 3,
            Self::Client(error) | Self::CutOff { lost: error, .. } if error.is_internal() => 3,
            Self::System { .. } => 3,
            Self::NotStarted { status, .. } => status.unwrap_or(1),
            _ => 1,
        }
    }

    /// The log that explains it, already redacted by the server.
    pub(crate) fn log_tail(&self) -> &[String] {
        match self {
            Self::Refused(body) => &body.log_tail,
            Self::Daemon(error) => error.log_tail(),
            _ => &[],
        }
    }

    /// The error and its sources, joined as one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            let more = error.to_string();
            if !text.ends_with(&more) {
                text = format!("{text}: {more}");
            }
            source = error.source();
        }
        text
    }
}

impl From<ErrorBody> for CliError {
    fn from(body: ErrorBody) -> Self {
        Self::Refused(Box::new(body))
    }
}

impl Hint for CliError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(body) => body.hint.clone(),
            Self::Client(error) => error.hint(),
            Self::CutOff { target, .. } => {
                let flags = target.flags();
                let [changes, instances] = ["builds", "ps"].map(|verb| format!("dozen {verb}{flags}"));
                Some(format!(
                    "it may go on all the same: once the server is there again `{changes}` lists it and \
                     `{instances}` shows what runs; ask again if neither has it"
                ))
            }
            Self::Context(error) => error.hint(),
            Self::Settings(error) => error.hint(),
            Self::Git(error) => error.hint(),
            Self::Upload(error) => error.hint(),
            Self::Daemon(error) => error.hint(),
            Self::Name { advice, .. } => Some((*advice).to_owned()),
            Self::NotStarted { status: Some(127), .. } => Some(
                "see what is there with `dozen run -- ls`; a program of a package needs that package among \
                 the dependencies"
                    .to_owned(),
            ),
            Self::NotStarted { status: Some(126), .. } => Some(
                "make it executable in the repository with `git update-index --chmod=+x FILE`, or run its \
                 interpreter: `dozen run -- python FILE`"
                    .to_owned(),
            ),
            Self::NotStarted { .. } => None,
            Self::Usage { hint, .. } | Self::Unavailable { hint, .. } => hint.clone(),
            Self::File { .. } | Self::System { .. } | Self::OutputClosed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_says_whose_turn_it_is() {
        let refused = |internal| {
            let body = ErrorBody { message: "no".to_owned(), hint: None, log_tail: Vec::new(), internal };
            CliError::from(body).code()
        };
        assert_eq!(refused(false), 1);
        assert_eq!(refused(true), 3);
        assert_eq!(CliError::Usage { message: String::new(), hint: None }.code(), 2);
        assert_eq!(CliError::OutputClosed.code(), 0);
    }

    #[test]
    fn an_error_is_told_with_its_sources_once() {
        let error =
            CliError::File { action: "read", path: "/x".into(), source: io::Error::from_raw_os_error(2) };
        assert_eq!(error.chain(), "`/x` could not be read: No such file or directory (os error 2)");
    }
}
