//! Launches: each process that was ever meant to start.
//!
//! The row is written before the shim starts, so a restarted server knows every process that
//! may be alive. Its id names the instance folder and the router's endpoint.

use dozen_model::{
    names::{InstanceName, ProcessType},
    release::ReleaseNumber,
};
use dozen_run::ExitReason;
use rusqlite::{OptionalExtension, Row, params};

use super::{Store, apps::refuse_doomed, deploys::words, now, word_column};
use crate::error::ControlError;

words! {
    /// What a launch is for.
    Purpose {
        /// An instance of the formation.
        Service = "service",
        /// The release phase.
        ReleasePhase = "release",
        /// A one-off process.
        OneOff = "run",
    }
}

words! {
    /// Where a launch is.
    LaunchState {
        /// Its row is written; it may not be ready.
        Starting = "starting",
        /// It is in rotation, or runs what it was started for.
        Serving = "serving",
        /// It is out of rotation and ends when its requests are done.
        Draining = "draining",
        /// It is gone.
        Ended = "ended",
    }
}

/// A launch.
#[derive(Debug, Clone)]
pub(crate) struct LaunchRow {
    /// Short and unique: names the instance folder.
    pub id: String,
    /// Stage row.
    pub stage: i64,
    /// What for.
    pub purpose: Purpose,
    /// Its name, such as `web.1`.
    pub name: InstanceName,
    /// The release it runs.
    pub release: ReleaseNumber,
    /// The deploy that it belongs to until that one ends.
    pub deploy: Option<i64>,
    /// The port it was given.
    pub port: Option<u16>,
    /// Where it is.
    pub state: LaunchState,
    /// Words of a one-off process that has not ended, sealed.
    pub sealed_command: Option<Vec<u8>>,
    /// Who started a one-off process.
    pub who: Option<String>,
    /// How it ended, in the words of [`ExitReason`] where that is known, else in others.
    pub outcome: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
}

impl LaunchRow {
    /// How its process ended, if that is known.
    pub(crate) fn exit(&self) -> Option<ExitReason> {
        self.outcome.as_ref()?.parse().ok()
    }
}

const LAUNCH: &str =
    "SELECT id, stage, purpose, process, number, release, deploy, port, state, sealed_command,
                      who, outcome, created_at FROM launches";

fn launch_row(row: &Row<'_>) -> rusqlite::Result<LaunchRow> {
    let process: ProcessType = word_column(row, 3)?;
    Ok(LaunchRow {
        id: row.get(0)?,
        stage: row.get(1)?,
        purpose: Purpose::column(row, 2)?,
        name: InstanceName { process, number: row.get(4)? },
        release: ReleaseNumber(row.get::<_, i64>(5)?.unsigned_abs()),
        deploy: row.get(6)?,
        port: row.get(7)?,
        state: LaunchState::column(row, 8)?,
        sealed_command: row.get(9)?,
        who: row.get(10)?,
        outcome: row.get(11)?,
        created_at: row.get(12)?,
    })
}

impl Store {
    /// Writes a launch before it starts, and answers with the number in its name: a one-off process
    /// gets one more than any of its stage ever had. One of an app that is to be destroyed is
    /// refused.
    pub(crate) fn add_launch(&self, launch: &LaunchRow) -> Result<u32, ControlError> {
        let mut guard = self.lock();
        let connection = guard.transaction()?;
        refuse_doomed(&connection, launch.stage)?;
        let next = "SELECT COALESCE(MAX(number), 0) + 1 FROM launches WHERE stage = ?1 AND purpose = 'run'";
        let number: u32 = match launch.purpose {
            Purpose::OneOff => connection.query_row(next, [launch.stage], |row| row.get(0))?,
            Purpose::Service | Purpose::ReleasePhase => launch.name.number,
        };
        connection.execute(
            "INSERT INTO launches (id, stage, purpose, process, number, release, deploy, port, state,
             sealed_command, who, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                launch.id,
                launch.stage,
                launch.purpose.as_str(),
                launch.name.process.as_str(),
                number,
                launch.release.0.cast_signed(),
                launch.deploy,
                launch.port,
                launch.state.as_str(),
                launch.sealed_command,
                launch.who,
                now()
            ],
        )?;
        connection.commit()?;
        Ok(number)
    }

    /// Launches of a stage that are not ended, oldest first.
    pub(crate) fn open_launches(&self, stage: i64) -> Result<Vec<LaunchRow>, ControlError> {
        let connection = self.lock();
        let sql = format!("{LAUNCH} WHERE stage = ?1 AND state <> 'ended' ORDER BY created_at, rowid");
        let mut query = connection.prepare_cached(&sql)?;
        let rows = query.query_map([stage], launch_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One launch.
    pub(crate) fn launch(&self, id: &str) -> Result<Option<LaunchRow>, ControlError> {
        let connection = self.lock();
        Ok(connection.query_row(&format!("{LAUNCH} WHERE id = ?1"), [id], launch_row).optional()?)
    }

    /// The release phase's launch of a deploy, if it was ever begun.
    pub(crate) fn phase_launch(&self, deploy: i64) -> Result<Option<LaunchRow>, ControlError> {
        let connection = self.lock();
        let sql = format!("{LAUNCH} WHERE deploy = ?1 AND purpose = 'release'");
        Ok(connection.query_row(&sql, [deploy], launch_row).optional()?)
    }

    /// Moves a launch on, never back; false when it is past that state, or ended.
    pub(crate) fn set_launch_state(&self, id: &str, state: LaunchState) -> Result<bool, ControlError> {
        let sql = "UPDATE launches SET state = ?2 WHERE id = ?1 AND (state = ?2 OR state = 'starting'
                   OR (state = 'serving' AND ?2 = 'draining'))";
        Ok(self.lock().execute(sql, params![id, state.as_str()])? > 0)
    }

    /// Ends a launch with what became of it; the first who says so is believed. Its command is
    /// forgotten. False when it had ended before.
    pub(crate) fn end_launch(&self, id: &str, outcome: &str) -> Result<bool, ControlError> {
        let sql = "UPDATE launches SET state = 'ended', outcome = ?2, sealed_command = NULL
                   WHERE id = ?1 AND state <> 'ended'";
        Ok(self.lock().execute(sql, [id, outcome])? > 0)
    }
}

impl Store {
    /// Puts `new` into service and takes `old` out, together.
    ///
    /// # Errors
    /// [`ControlError::NoSuchInstance`] when `new` has ended meanwhile: then `old` stays in service.
    pub(crate) fn swap_launches(&self, new: &LaunchRow, old: &str) -> Result<(), ControlError> {
        let mut connection = self.lock();
        let change = connection.transaction()?;
        let begin =
            "UPDATE launches SET state = 'serving' WHERE id = ?1 AND state IN ('starting', 'serving')";
        if change.execute(begin, [&new.id])? == 0 {
            return Err(ControlError::NoSuchInstance { name: new.name.to_string() });
        }
        change.execute("UPDATE launches SET state = 'draining' WHERE id = ?1 AND state <> 'ended'", [old])?;
        Ok(change.commit()?)
    }
}
