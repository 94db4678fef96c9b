//! What an operator has said of a stage's requests: that it is in maintenance, that they wait.

use dozen_model::route_policy::Maintenance;
use rusqlite::params;

use super::{Store, apps::refuse_doomed, to_json};
use crate::error::ControlError;

impl Store {
    /// Remembers that a stage is in maintenance, or is not any more.
    pub(crate) fn set_maintenance(
        &self,
        stage: i64,
        maintenance: Option<&Maintenance>,
    ) -> Result<(), ControlError> {
        let connection = self.lock();
        refuse_doomed(&connection, stage)?;
        let sql = "UPDATE stages SET maintenance = ?2 WHERE id = ?1";
        connection.execute(sql, params![stage, maintenance.map(to_json)])?;
        Ok(())
    }

    /// Remembers until when a stage's requests wait, in Unix milliseconds; 0 for not at all.
    pub(crate) fn set_paused_until(&self, stage: i64, until_ms: i64) -> Result<(), ControlError> {
        let connection = self.lock();
        refuse_doomed(&connection, stage)?;
        connection.execute("UPDATE stages SET paused_until = ?2 WHERE id = ?1", params![stage, until_ms])?;
        Ok(())
    }
}
