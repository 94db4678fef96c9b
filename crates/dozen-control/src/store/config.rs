//! The config that the next release of a stage takes.

use dozen_model::names::ConfigVar;
use rusqlite::params;

use super::{Store, word_column};
use crate::error::ControlError;

/// One config var, its value sealed.
#[derive(Debug, Clone)]
pub(crate) struct ConfigRow {
    /// Its name.
    pub name: ConfigVar,
    /// The sealed value.
    pub sealed: Vec<u8>,
    /// `set` by a user or `generated` by us.
    pub origin: String,
}

impl Store {
    /// The stage's config by name.
    pub(crate) fn config(&self, stage: i64) -> Result<Vec<ConfigRow>, ControlError> {
        let connection = self.lock();
        let sql = "SELECT name, sealed, origin FROM config WHERE stage = ?1 ORDER BY name";
        let mut query = connection.prepare_cached(sql)?;
        let rows = query.query_map([stage], |row| {
            Ok(ConfigRow { name: word_column(row, 0)?, sealed: row.get(1)?, origin: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Replaces the stage's config within a transaction of the caller.
pub(super) fn replace_in(
    change: &rusqlite::Transaction<'_>,
    stage: i64,
    rows: &[ConfigRow],
) -> rusqlite::Result<()> {
    change.execute("DELETE FROM config WHERE stage = ?1", [stage])?;
    for row in rows {
        change.execute(
            "INSERT INTO config (stage, name, sealed, origin) VALUES (?1, ?2, ?3, ?4)",
            params![stage, row.name.as_str(), row.sealed, row.origin],
        )?;
    }
    Ok(())
}
