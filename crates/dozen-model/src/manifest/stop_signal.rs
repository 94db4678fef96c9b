//! The signal that asks an instance to end.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::excerpt::excerpt;

/// A signal that a program may take as the request to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    /// The usual one.
    #[default]
    Term,
    /// As a terminal's Ctrl-C sends it.
    Int,
    /// nginx ends gracefully on this one.
    Quit,
    /// As a closed terminal sends it.
    Hup,
    /// Taken by some servers.
    Usr1,
    /// Taken by some servers.
    Usr2,
    /// Apache ends gracefully on this one.
    Winch,
}

/// A word that is not the name of a stop signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a stop signal: use `TERM`, `INT`, `QUIT`, `HUP`, `USR1`, `USR2` or `WINCH`")]
pub struct NotAStopSignal(String);

impl StopSignal {
    /// Every stop signal.
    pub const ALL: [Self; 7] =
        [Self::Term, Self::Int, Self::Quit, Self::Hup, Self::Usr1, Self::Usr2, Self::Winch];

    /// The name without `SIG`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Quit => "QUIT",
            Self::Hup => "HUP",
            Self::Usr1 => "USR1",
            Self::Usr2 => "USR2",
            Self::Winch => "WINCH",
        }
    }
}

impl FromStr for StopSignal {
    type Err = NotAStopSignal;

    /// Reads `TERM` and `SIGTERM`.
    fn from_str(text: &str) -> Result<Self, NotAStopSignal> {
        let name = text.strip_prefix("SIG").unwrap_or(text);
        Self::ALL
            .into_iter()
            .find(|signal| signal.as_str() == name)
            .ok_or_else(|| NotAStopSignal(excerpt(text)))
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_signal_is_named_with_or_without_sig() {
        for signal in StopSignal::ALL {
            assert_eq!(signal.as_str().parse(), Ok(signal));
            assert_eq!(format!("SIG{signal}").parse(), Ok(signal));
            assert_eq!(serde_json::to_value(signal).unwrap(), signal.as_str());
        }
        for bad in ["", "KILL", "STOP", "term", "15", "SIG"] {
            assert!(bad.parse::<StopSignal>().is_err(), "{bad}");
        }
    }
}
