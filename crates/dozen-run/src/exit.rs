//! Why an instance ended, in the words that a user reads.
//!
//! The same text stands in `dozen ps`, in deploy logs and in release records. A status says
//! more than its number where everybody has met it (127: the command was not found), and
//! nothing is guessed: what the kernel did not tell is [`ExitReason::Unknown`].
//!
//! Start reading at [`ExitReason`].

use std::{fmt, str::FromStr};

/// Why a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReason {
    /// It ended by itself with this status.
    Status(i32),
    /// A signal ended it.
    Signal(i32),
    /// Its program never ran, and why.
    NotStarted(String),
    /// Nobody saw it end: its record is missing (power loss, a killed init).
    Unknown,
}

impl ExitReason {
    /// Whether this is the end of a process that did its work.
    pub fn is_success(&self) -> bool {
        *self == Self::Status(0)
    }

    /// The exit status that a shell would report: 128 and the number for a signal.
    ///
    /// For [`ExitReason::Unknown`] it is 1: a caller must not take it for success. A program that
    /// never ran gets 127.
    pub fn code(&self) -> i32 {
        match self {
            Self::Status(code) => *code,
            Self::Signal(signal) => 128 + signal,
            Self::NotStarted(_) => 127,
            Self::Unknown => 1,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(126) => f.write_str("exit status 126 (the command cannot be executed)"),
            Self::Status(127) => f.write_str("exit status 127 (the command was not found)"),
            Self::Status(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "signal {signal} ({name})"),
                None => write!(f, "signal {signal}"),
            },
            Self::NotStarted(why) => write!(f, "could not start: {why}"),
            Self::Unknown => f.write_str("ended unseen"),
        }
    }
}

/// The text is none of an [`ExitReason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the end of a process")]
pub struct NotAnExit;

/// Reads what [`ExitReason`]'s `Display` wrote, and only that: the text is what the store has. The
/// words in brackets may be others: they are for people.
impl FromStr for ExitReason {
    type Err = NotAnExit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(status) = text.strip_prefix("exit status ") {
            return number(status).map(Self::Status);
        }
        if let Some(signal) = text.strip_prefix("signal ") {
            return number(signal).map(Self::Signal);
        }
        match text.strip_prefix("could not start: ") {
            Some(why) => Ok(Self::NotStarted(why.to_owned())),
            None if text == "ended unseen" => Ok(Self::Unknown),
            None => Err(NotAnExit),
        }
    }
}

/// The number that `text` is, or is followed by words in brackets.
fn number(text: &str) -> Result<i32, NotAnExit> {
    let digits = match text.split_once(" (") {
        Some((digits, words)) if words.ends_with(')') => digits,
        Some(_) => return Err(NotAnExit),
        None => text,
    };
    digits.parse().map_err(|_| NotAnExit)
}

/// The name of a signal on Linux, as `kill -l` prints it with its `SIG`.
pub fn signal_name(signal: i32) -> Option<&'static str> {
    const NAMES: [&str; 31] = [
        "SIGHUP",
        "SIGINT",
        "SIGQUIT",
        "SIGILL",
        "SIGTRAP",
        "SIGABRT",
        "SIGBUS",
        "SIGFPE",
        "SIGKILL",
        "SIGUSR1",
        "SIGSEGV",
        "SIGUSR2",
        "SIGPIPE",
        "SIGALRM",
        "SIGTERM",
        "SIGSTKFLT",
        "SIGCHLD",
        "SIGCONT",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
        "SIGURG",
        "SIGXCPU",
        "SIGXFSZ",
        "SIGVTALRM",
        "SIGPROF",
        "SIGWINCH",
        "SIGIO",
        "SIGPWR",
        "SIGSYS",
    ];
    let place = usize::try_from(signal).ok()?.checked_sub(1)?;
    NAMES.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_reads_like_a_sentence_and_maps_to_a_shells_status() {
        let cases = [
            (ExitReason::Status(42), "exit status 42", 42),
            (ExitReason::Status(127), "exit status 127 (the command was not found)", 127),
            (ExitReason::Signal(9), "signal 9 (SIGKILL)", 137),
            (ExitReason::Signal(31), "signal 31 (SIGSYS)", 159),
            (ExitReason::Signal(40), "signal 40", 168),
            (ExitReason::NotStarted("no `x` in PATH".into()), "could not start: no `x` in PATH", 127),
            (ExitReason::Unknown, "ended unseen", 1),
        ];
        for (reason, text, code) in cases {
            assert_eq!((reason.to_string().as_str(), reason.code()), (text, code));
        }
    }

    #[test]
    fn every_reason_is_read_back_from_its_text() {
        let numbers = (-1..=256).chain([i32::MIN, i32::MAX]);
        let counted = numbers.flat_map(|n| [ExitReason::Status(n), ExitReason::Signal(n)]);
        let told =
            ["", "no `x` in PATH", "exit status 0", "a: b (c)"].map(|why| ExitReason::NotStarted(why.into()));
        for reason in counted.chain(told).chain([ExitReason::Unknown]) {
            assert_eq!(reason.to_string().parse(), Ok(reason));
        }
    }

    #[test]
    fn other_words_are_no_reason_and_other_explanations_are() {
        for text in
            ["", "gone", "not known", "exit status", "exit status x", "exit status 0 and", "signal 9 (", "0"]
        {
            assert_eq!(text.parse::<ExitReason>(), Err(NotAnExit), "{text:?}");
        }
        assert_eq!("exit status 127 (no such command)".parse(), Ok(ExitReason::Status(127)));
    }

    #[test]
    fn only_status_zero_is_success() {
        assert!(ExitReason::Status(0).is_success());
        for other in [ExitReason::Status(1), ExitReason::Signal(15), ExitReason::Unknown] {
            assert!(!other.is_success(), "{other}");
        }
    }
}
