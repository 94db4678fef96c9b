//! The number of a release.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The number of a release within its stage, counted from 1 and written `v12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseNumber(pub u64);

impl fmt::Display for ReleaseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

/// A word that is not a release number.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a release: write its number, such as `v12`")]
pub struct NotARelease(String);

impl FromStr for ReleaseNumber {
    type Err = NotARelease;

    /// Reads `v12` or `12`; zero, signs and leading zeros are refused.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('v').unwrap_or(text);
        let plain =
            !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        match digits.parse() {
            Ok(number) if plain => Ok(Self(number)),
            _ => Err(NotARelease(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_written_with_or_without_its_v() {
        assert_eq!("v12".parse::<ReleaseNumber>().unwrap(), ReleaseNumber(12));
        assert_eq!("12".parse::<ReleaseNumber>().unwrap().to_string(), "v12");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for bad in ["", "v", "v0", "+1", "-1", "v01", "1.0", "vv1", "latest"] {
            assert!(bad.parse::<ReleaseNumber>().is_err(), "{bad}");
        }
    }
}
