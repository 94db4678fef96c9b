//! The name of one launch: of an instance from its start to its end, restarts included.
//!
//! It names a folder below the run folder, so it is short and plain by construction. Control
//! chooses it and never uses one twice, so a late message about an old launch can't be taken
//! for one about its successor.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The name of one launch: 1 to 48 of `a-z`, `0-9` and `-`, not starting with `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LaunchId(String);

/// A text that does not name a launch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not name a launch: use 1 to 48 of `a-z`, `0-9` and `-`")]
pub struct NotALaunchId(String);

impl LaunchId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LaunchId {
    type Err = NotALaunchId;

    fn from_str(text: &str) -> Result<Self, NotALaunchId> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = (1..=48).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-');
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotALaunchId(text.escape_debug().take(80).collect()))
        }
    }
}

impl TryFrom<String> for LaunchId {
    type Error = NotALaunchId;

    fn try_from(text: String) -> Result<Self, NotALaunchId> {
        text.parse()
    }
}

impl From<LaunchId> for String {
    fn from(id: LaunchId) -> Self {
        id.0
    }
}

impl fmt::Display for LaunchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_id_is_a_plain_folder_name() {
        for good in ["a", "1", "blango-web-1-x7", &"a".repeat(48)] {
            assert!(good.parse::<LaunchId>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "-a", "A", "a_b", "a.b", "a\0", &"a".repeat(49)] {
            assert!(bad.parse::<LaunchId>().is_err(), "{bad}");
        }
    }
}
