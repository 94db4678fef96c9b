//! The kinds of backing services that an app can ask for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{excerpt::excerpt, suggestion::nearest};

/// A kind of backing service. Which of them a server can create is its drivers' matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceKind {
    /// A SQLite database in a directory outside the release.
    Sqlite,
    /// A directory mounted at a path, for uploads.
    Volume,
    /// A PostgreSQL database.
    Postgres,
    /// A MySQL or MariaDB database.
    Mysql,
    /// A Redis or Valkey server.
    Redis,
    /// A mail server that takes messages by SMTP.
    Smtp,
    /// Whatever a URL given by the user points at.
    External,
}

/// A word that names no kind of backing service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a kind of backing service")]
pub struct NotAServiceKind {
    word: String,
    meant: Option<&'static str>,
}

impl NotAServiceKind {
    /// What the reader can do: the kind they may have meant, else all of them.
    pub fn hint(&self) -> String {
        match self.meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the kinds are {}", ServiceKind::ALL.map(|kind| format!("`{kind}`")).join(", ")),
        }
    }
}

impl ServiceKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Sqlite, Self::Volume, Self::Postgres, Self::Mysql, Self::Redis, Self::Smtp, Self::External];

    /// The kind's name, as `dozen.toml` and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Volume => "volume",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Smtp => "smtp",
            Self::External => "external",
        }
    }
}

impl FromStr for ServiceKind {
    type Err = NotAServiceKind;

    /// Reads a kind's name, and the other names people use for it.
    fn from_str(text: &str) -> Result<Self, NotAServiceKind> {
        match text {
            "postgresql" => return Ok(Self::Postgres),
            "mariadb" => return Ok(Self::Mysql),
            "valkey" => return Ok(Self::Redis),
            "sqlite3" => return Ok(Self::Sqlite),
            _ => {}
        }
        let refused =
            || NotAServiceKind { word: excerpt(text), meant: nearest(text, Self::ALL.map(Self::as_str)) };
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(refused)
    }
}

impl fmt::Display for ServiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_as_it_is_written_also_in_json() {
        for kind in ServiceKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn an_unknown_kind_gets_the_nearest_or_all_of_them() {
        let hint = |word: &str| word.parse::<ServiceKind>().unwrap_err().hint();
        assert_eq!(hint("postgras"), "did you mean `postgres`?");
        assert!(hint("kafka").contains("`sqlite`, `volume`"));
    }
}
