//! Domains: each has one owner.

use dozen_model::names::{AppName, Domain};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Store, apps::refuse_doomed, now, word_column};
use crate::error::ControlError;

impl Store {
    /// The domains of a stage, in the order they were added.
    pub(crate) fn domains(&self, stage: i64) -> Result<Vec<Domain>, ControlError> {
        let connection = self.lock();
        let sql = "SELECT domain FROM domains WHERE stage = ?1 ORDER BY created_at, domain";
        let mut query = connection.prepare_cached(sql)?;
        let rows = query.query_map([stage], |row| word_column(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Gives a domain to a stage; one that it has already is fine.
    ///
    /// # Errors
    /// [`ControlError::DomainTaken`] when another stage owns it.
    pub(crate) fn add_domain(&self, stage: i64, domain: &Domain) -> Result<(), ControlError> {
        let connection = self.lock();
        refuse_doomed(&connection, stage)?;
        add_in(&connection, stage, domain)
    }

    /// Takes a domain from a stage; false when the stage does not own it.
    pub(crate) fn remove_domain(&self, stage: i64, domain: &str) -> Result<bool, ControlError> {
        let gone = self
            .lock()
            .execute("DELETE FROM domains WHERE stage = ?1 AND domain = ?2", params![stage, domain])?;
        Ok(gone > 0)
    }
}

/// The same within a transaction of the caller.
pub(super) fn add_in(connection: &Connection, stage: i64, domain: &Domain) -> Result<(), ControlError> {
    connection.execute(
        "INSERT OR IGNORE INTO domains (domain, stage, created_at) VALUES (?1, ?2, ?3)",
        params![domain.as_str(), stage, now()],
    )?;
    let sql = "SELECT stage, apps.name FROM domains JOIN stages ON stages.id = stage
               JOIN apps ON apps.id = app WHERE domain = ?1";
    let owner: Option<(i64, AppName)> = connection
        .query_row(sql, [domain.as_str()], |row| Ok((row.get(0)?, word_column(row, 1)?)))
        .optional()?;
    match owner {
        Some((owner, app)) if owner != stage => {
            Err(ControlError::DomainTaken { domain: domain.clone(), owner: app })
        }
        _ => Ok(()),
    }
}
