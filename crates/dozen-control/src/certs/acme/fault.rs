//! Why a try for a certificate failed, and what that means for its order.

use std::time::{Duration, Instant};

use dozen_model::printable::printable;
use instant_acme::{Error, Problem};

use crate::error::ControlError;

/// How much is kept of what a server says.
const LONGEST_DETAIL: usize = 400;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The domain's owner's: it could not be validated.
    Validation,
    /// The server refused; asking the same again changes nothing.
    Refused,
    /// The server asks to come again later.
    Limited,
    /// The server was not reached, or is out of order.
    Unreachable,
    /// Ours.
    Own,
}

/// Why a try failed.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct AcmeFault {
    /// Whose turn it is.
    pub(crate) whose: Whose,
    /// Whether the server asks to wait, and for how long if it says so.
    pub(crate) wait: Option<Option<Duration>>,
    /// The account is not known there any more.
    pub(crate) is_account_gone: bool,
    /// Asking once more, at once, is likely to help.
    pub(crate) is_passing: bool,
    text: String,
}

impl AcmeFault {
    pub(crate) fn new(whose: Whose, text: impl AsRef<str>) -> Self {
        let text: String = printable(text.as_ref(), false).chars().take(LONGEST_DETAIL).collect();
        Self { whose, wait: None, is_account_gone: false, is_passing: false, text }
    }

    /// A call to the server that failed; `asked` is what its last answer asked to wait.
    pub(crate) fn of_call(what: &str, error: &Error, asked: Option<Duration>) -> Self {
        let (text, asked) = match error {
            Error::Api(problem) => return Self::of_problem(what, problem, asked),
            // It asks to come again later than we wait.
            Error::Timeout(until) => {
                let left = until.map(|until| until.saturating_duration_since(Instant::now()));
                (format!("could not {what} in time"), left)
            }
            error => (format!("could not {what}: {}", with_sources(error)), asked),
        };
        Self { wait: asked.map(Some), ..Self::new(Whose::Unreachable, text) }
    }

    /// The server's problem with what was asked.
    pub(crate) fn of_problem(what: &str, problem: &Problem, asked: Option<Duration>) -> Self {
        let kind = problem.r#type.as_deref().unwrap_or_default();
        let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
        let text = format!("could not {what}: {}", told(problem));
        let whose = match (kind, problem.status) {
            ("rateLimited", _) => Whose::Limited,
            ("serverInternal" | "badNonce", _) | (_, Some(500..=599)) => Whose::Unreachable,
            _ => Whose::Refused,
        };
        let mut fault = Self::new(whose, text);
        fault.is_account_gone = kind == "accountDoesNotExist";
        // A nonce is tried some times already; who is unlucky with all of them has lost nothing.
        fault.is_passing = fault.is_account_gone || kind == "badNonce";
        // Also a server that is out of order may say for how long.
        fault.wait = (whose == Whose::Limited || asked.is_some()).then_some(asked);
        fault
    }

    /// Whether the next try begins with another order.
    pub(crate) fn ends_the_order(&self) -> bool {
        matches!(self.whose, Whose::Validation | Whose::Refused)
    }
}

impl From<ControlError> for AcmeFault {
    fn from(error: ControlError) -> Self {
        Self::new(Whose::Own, error.body().message)
    }
}

/// A problem in the server's words.
pub(crate) fn told(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or("no type");
    let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
    let of_parts: Vec<String> = problem.subproblems.iter().map(ToString::to_string).collect();
    let detail = problem.detail.as_deref().unwrap_or("the server gives no reason");
    let parts = if of_parts.is_empty() { String::new() } else { format!(": {}", of_parts.join(", ")) };
    format!("{detail} ({kind}){parts}")
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let more = source.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = source.source();
    }
    text
}
