//! The store: every fact that must outlive a kill, in one SQLite file.
//!
//! WAL mode with `synchronous=FULL`: a committed fact survives the process and the machine.
//! Releases are append-only; triggers refuse to change or delete one while its app exists.
//! Secrets are in it only sealed (see [`crate::seal`]). One connection behind a lock: each call
//! is one short transaction, and nothing waits on a process or a network while holding it.
//!
//! It decides nothing. Start reading at [`Store::open`], then the file of each table.

use std::path::Path;

use parking_lot::{Mutex, MutexGuard};
use rusqlite::Connection;

use crate::error::ControlError;

mod acme;
mod apps;
mod certificates;
mod config;
mod deploys;
mod domains;
mod first;
mod history;
mod launches;
mod releases;
mod schema;
mod services;
mod traffic;

pub(crate) use acme::{AccountRow, ChallengeRow, OrderRow};
pub(crate) use apps::{StageKey, StageRow};
pub(crate) use certificates::{AuthorityRow, CertificateRow, CertificateSource, FailedTry, Issued};
pub(crate) use config::ConfigRow;
pub(crate) use deploys::{DeployKind, DeployRow, DeployState, NewDeploy};
pub(crate) use first::ForFirst;
pub(crate) use launches::{LaunchRow, LaunchState, Purpose};
pub(crate) use releases::{GoLive, NewRelease, ReleaseRow};
pub(crate) use services::{AttachmentRow, ServiceRow};

/// The open database.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens the file, checks it, brings its schema up to date.
    ///
    /// # Errors
    /// [`ControlError::DamagedStore`] when SQLite's own check finds damage,
    /// [`ControlError::NewerSchema`] when a newer dozen wrote it. The file is left as it is.
    pub(crate) fn open(path: &Path) -> Result<Self, ControlError> {
        let damaged = |detail: String| ControlError::DamagedStore { path: path.to_owned(), detail };
        let not_a_database = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                damaged(error.to_string())
            }
            _ => ControlError::Store(error),
        };
        let mut connection = Connection::open(path).map_err(not_a_database)?;
        set_private(path)?;
        let found: u32 =
            connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(not_a_database)?;
        let known = schema::version();
        if found > known {
            return Err(ControlError::NewerSchema { path: path.to_owned(), found, known });
        }
        let check: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(not_a_database)?;
        if check != "ok" {
            return Err(damaged(check));
        }
        connection.pragma_update(None, "journal_mode", "WAL").map_err(not_a_database)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // What is deleted is overwritten: also a sealed secret is not kept longer than it is needed.
        connection.pragma_update(None, "secure_delete", true)?;
        schema::migrate(&mut connection).map_err(|error| match error {
            rusqlite_migration::Error::RusqliteError { err, .. } => not_a_database(err),
            other => damaged(other.to_string()),
        })?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// Brings every fact into the one file, which people copy when the server is stopped.
    pub(crate) fn settle(&self) -> Result<(), ControlError> {
        Ok(self.lock().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock()
    }

    /// Keeps everybody else from the store, as a slow disk does.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Drop + '_ {
        self.lock()
    }

    /// Refuses the next change of a row of this table, as a full disk does.
    #[cfg(test)]
    pub(crate) fn refuse_once(&self, table: &str) {
        // What `FAIL` refuses keeps what it did before: the count.
        let sql = format!(
            "CREATE TEMP TABLE refusals (count); INSERT INTO refusals VALUES (1);
             CREATE TEMP TRIGGER refuse BEFORE UPDATE ON main.{table}
             WHEN (SELECT count FROM refusals) > 0
             BEGIN UPDATE refusals SET count = count - 1; SELECT RAISE(FAIL, 'refused'); END"
        );
        self.lock().execute_batch(&sql).unwrap();
    }

    /// Whether any secret is stored: then the key may not be made anew.
    pub(crate) fn has_secrets(&self) -> Result<bool, ControlError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM config) OR EXISTS (SELECT 1 FROM releases)
                   OR EXISTS (SELECT 1 FROM services WHERE sealed_url IS NOT NULL)
                   OR EXISTS (SELECT 1 FROM deploys WHERE sealed_request IS NOT NULL)
                   OR EXISTS (SELECT 1 FROM certificates WHERE sealed_key IS NOT NULL)
                   OR EXISTS (SELECT 1 FROM local_authorities) OR EXISTS (SELECT 1 FROM acme_accounts)";
        Ok(self.lock().query_row(sql, [], |row| row.get(0))?)
    }
}

/// Unix seconds now.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Unix milliseconds now.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn set_private(path: &Path) -> Result<(), ControlError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|source| ControlError::Folder { path: path.to_owned(), source })
}

/// Reads a JSON column; what does not parse is damage that SQLite cannot see.
fn json_column<T: serde::de::DeserializeOwned>(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<T> {
    let text: String = row.get(index)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// Reads a column that holds a parsed word.
fn word_column<T>(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(index)?;
    text.parse().map_err(|error: T::Err| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// The JSON text of a value made of string keys and plain data.
fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types have string keys only")
}

#[cfg(test)]
mod tests;
