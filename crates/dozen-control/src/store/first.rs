//! What a stage without a release is told: kept for the first one.
//!
//! The first release takes config and attachments when it is assembled, and puts what it took in
//! their place when it goes live. So what comes in between must be a change of its own behind it;
//! whether it does is decided in the transaction that keeps it.

use dozen_model::names::ConfigVar;
use rusqlite::params;

use super::{AttachmentRow, ConfigRow, Store};
use crate::error::ControlError;

/// Config and attachments to be kept.
#[derive(Debug, Default)]
pub(crate) struct ForFirst<'a> {
    /// Config vars to set.
    pub set: &'a [ConfigRow],
    /// Config vars to remove.
    pub unset: &'a [ConfigVar],
    /// Services to attach.
    pub attach: &'a [AttachmentRow],
    /// Services to detach.
    pub detach: &'a [i64],
}

impl Store {
    /// Keeps it, unless the stage has a release or a change that may make one: then nothing has
    /// changed and the answer is false. A change that asks for itself names its row in `own`.
    pub(crate) fn keep_for_first(
        &self,
        stage: i64,
        kept: &ForFirst<'_>,
        own: Option<i64>,
    ) -> Result<bool, ControlError> {
        let mut connection = self.lock();
        let change = connection.transaction()?;
        let sql = "SELECT EXISTS (SELECT 1 FROM stages WHERE id = ?1 AND current_release IS NULL)
                   AND NOT EXISTS (SELECT 1 FROM deploys WHERE stage = ?1 AND id < ?2
                                   AND state IN ('queued', 'running'))";
        let is_before: bool =
            change.query_row(sql, params![stage, own.unwrap_or(i64::MAX)], |row| row.get(0))?;
        if !is_before {
            return Ok(false);
        }
        for name in kept.unset {
            change.execute(
                "DELETE FROM config WHERE stage = ?1 AND name = ?2",
                params![stage, name.as_str()],
            )?;
        }
        for row in kept.set {
            change.execute(
                "INSERT OR REPLACE INTO config (stage, name, sealed, origin) VALUES (?1, ?2, ?3, ?4)",
                params![stage, row.name.as_str(), row.sealed, row.origin],
            )?;
        }
        for service in kept.detach {
            change.execute("DELETE FROM attachments WHERE stage = ?1 AND service = ?2", [stage, *service])?;
        }
        for row in kept.attach {
            change.execute(
                "INSERT OR REPLACE INTO attachments (stage, var, service) VALUES (?1, ?2, ?3)",
                params![stage, row.var.as_str(), row.service],
            )?;
        }
        change.commit()?;
        Ok(true)
    }
}
