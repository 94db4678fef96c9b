//! Backing services and what they are attached to.

use dozen_model::names::{ConfigVar, ServiceName};
use rusqlite::{Row, params};

use super::{Store, apps::refuse_doomed, now, word_column};
use crate::error::ControlError;

/// A backing service of a stage.
#[derive(Debug, Clone)]
pub(crate) struct ServiceRow {
    /// Row id.
    pub id: i64,
    /// Its name, also that of its data folder within its stage's.
    pub name: ServiceName,
    /// Its kind, such as `sqlite`.
    pub kind: String,
    /// Mount path of a volume.
    pub path: Option<String>,
    /// Sealed URL of an external one.
    pub sealed_url: Option<Vec<u8>>,
    /// Unix seconds.
    pub created_at: i64,
}

/// A service bound to a config var.
#[derive(Debug, Clone)]
pub(crate) struct AttachmentRow {
    /// The var.
    pub var: ConfigVar,
    /// The service's row id.
    pub service: i64,
}

fn service_row(row: &Row<'_>) -> rusqlite::Result<ServiceRow> {
    Ok(ServiceRow {
        id: row.get(0)?,
        name: word_column(row, 1)?,
        kind: row.get(2)?,
        path: row.get(3)?,
        sealed_url: row.get(4)?,
        created_at: row.get(5)?,
    })
}

impl Store {
    /// The services of a stage by name.
    pub(crate) fn services(&self, stage: i64) -> Result<Vec<ServiceRow>, ControlError> {
        let connection = self.lock();
        let sql = "SELECT id, name, kind, path, sealed_url, created_at FROM services WHERE stage = ?1 ORDER BY name";
        let mut query = connection.prepare_cached(sql)?;
        let rows = query.query_map([stage], service_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Remembers a service; its data folder is made after this.
    ///
    /// # Errors
    /// [`ControlError::ServiceTaken`] when the stage has one of that name.
    pub(crate) fn create_service(&self, stage: i64, service: &ServiceRow) -> Result<i64, ControlError> {
        let connection = self.lock();
        refuse_doomed(&connection, stage)?;
        let made = connection.execute(
            "INSERT OR IGNORE INTO services (stage, name, kind, path, sealed_url, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![stage, service.name.as_str(), service.kind, service.path, service.sealed_url, now()],
        )?;
        if made == 0 {
            return Err(ControlError::ServiceTaken { name: service.name.clone() });
        }
        Ok(connection.last_insert_rowid())
    }

    /// Forgets a service that nothing is attached to.
    pub(crate) fn forget_service(&self, id: i64) -> Result<(), ControlError> {
        let sql = "DELETE FROM services WHERE id = ?1
                   AND NOT EXISTS (SELECT 1 FROM attachments WHERE service = ?1)";
        self.lock().execute(sql, [id])?;
        Ok(())
    }

    /// What is attached to the next release, by var.
    pub(crate) fn attachments(&self, stage: i64) -> Result<Vec<AttachmentRow>, ControlError> {
        let connection = self.lock();
        let sql = "SELECT var, service FROM attachments WHERE stage = ?1 ORDER BY var";
        let mut query = connection.prepare_cached(sql)?;
        let rows = query.query_map([stage], |row| {
            Ok(AttachmentRow { var: word_column(row, 0)?, service: row.get(1)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Replaces the stage's attachments, as a release does that goes live.
    #[cfg(test)]
    pub(crate) fn replace_attachments(&self, stage: i64, rows: &[AttachmentRow]) -> Result<(), ControlError> {
        let mut connection = self.lock();
        let change = connection.transaction()?;
        replace_in(&change, stage, rows)?;
        Ok(change.commit()?)
    }
}

/// Replaces the stage's attachments within a transaction of the caller.
pub(super) fn replace_in(
    change: &rusqlite::Transaction<'_>,
    stage: i64,
    rows: &[AttachmentRow],
) -> rusqlite::Result<()> {
    change.execute("DELETE FROM attachments WHERE stage = ?1", [stage])?;
    for row in rows {
        change.execute(
            "INSERT INTO attachments (stage, var, service) VALUES (?1, ?2, ?3)",
            params![stage, row.var.as_str(), row.service],
        )?;
    }
    Ok(())
}
