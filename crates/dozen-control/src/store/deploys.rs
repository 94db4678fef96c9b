//! Deploys: every change that makes a release, with the steps it has done.

use dozen_model::{digest::Digest, release::ReleaseNumber};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Store, apps::refuse_doomed, json_column, now, now_ms, to_json, word_column};
use crate::{
    api::wire::{DeploySource, ErrorBody},
    error::ControlError,
};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// The word that is stored and shown.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            pub(crate) fn column(row: &Row<'_>, index: usize) -> rusqlite::Result<Self> {
                let text: String = row.get(index)?;
                match text.as_str() {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(rusqlite::Error::InvalidColumnType(index, text, rusqlite::types::Type::Text)),
                }
            }
        }
    };
}
pub(super) use words;

words! {
    /// What kind of change a deploy is.
    DeployKind {
        /// A new tree.
        Deploy = "deploy",
        /// Config vars set or unset.
        Config = "config",
        /// An earlier release again.
        Rollback = "rollback",
        /// A service attached.
        Attach = "attach",
        /// A service detached.
        Detach = "detach",
    }
}

words! {
    /// Where a deploy is.
    DeployState {
        /// It waits for its turn.
        Queued = "queued",
        /// It is under way.
        Running = "running",
        /// Its release serves.
        Succeeded = "succeeded",
        /// A step refused.
        Failed = "failed",
        /// Its user ended it.
        Cancelled = "cancelled",
        /// A newer push took its place.
        Superseded = "superseded",
    }
}

/// A deploy.
#[derive(Debug, Clone)]
pub(crate) struct DeployRow {
    /// Row id, unique in the server.
    pub id: i64,
    /// Number within the stage.
    pub number: u64,
    /// What it changes.
    pub kind: DeployKind,
    /// Where it is.
    pub state: DeployState,
    /// The last step begun.
    pub step: Option<String>,
    /// Where the tree came from.
    pub source: DeploySource,
    /// The change, sealed when it holds values.
    pub sealed_request: Option<Vec<u8>>,
    /// Who asked.
    pub who: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix milliseconds.
    pub started_ms: Option<i64>,
    /// Unix milliseconds.
    pub ended_ms: Option<i64>,
    /// The image it built or took.
    pub image: Option<Digest>,
    /// The release it made.
    pub release: Option<ReleaseNumber>,
    /// Why it failed.
    pub error: Option<ErrorBody>,
    /// Whether its user asked for its end in time.
    pub cancel: bool,
}

/// What is known when a deploy is queued.
pub(crate) struct NewDeploy<'a> {
    /// What it changes.
    pub kind: DeployKind,
    /// Where the tree came from.
    pub source: &'a DeploySource,
    /// Gives the change, sealed for the row id that it gets.
    pub sealed_request: Option<&'a dyn Fn(i64) -> Vec<u8>>,
    /// Who asked.
    pub who: &'a str,
}

/// A deploy in the queue.
#[derive(Debug)]
pub(crate) struct Queued {
    /// Its row.
    pub deploy: DeployRow,
    /// Row ids of those whose place it took.
    pub superseded: Vec<i64>,
}

const DEPLOY: &str = "SELECT id, number, kind, state, step, source, sealed_request, who, created_at,
                      started_ms, ended_ms, image, release, error, cancel FROM deploys";

fn deploy_row(row: &Row<'_>) -> rusqlite::Result<DeployRow> {
    let image: Option<String> = row.get(11)?;
    let error: Option<String> = row.get(13)?;
    Ok(DeployRow {
        id: row.get(0)?,
        number: row.get::<_, i64>(1)?.unsigned_abs(),
        kind: DeployKind::column(row, 2)?,
        state: DeployState::column(row, 3)?,
        step: row.get(4)?,
        source: json_column(row, 5)?,
        sealed_request: row.get(6)?,
        who: row.get(7)?,
        created_at: row.get(8)?,
        started_ms: row.get(9)?,
        ended_ms: row.get(10)?,
        image: image.map(|_| word_column(row, 11)).transpose()?,
        release: row.get::<_, Option<i64>>(12)?.map(|number| ReleaseNumber(number.unsigned_abs())),
        error: error.map(|_| json_column(row, 13)).transpose()?,
        cancel: row.get(14)?,
    })
}

impl Store {
    /// Queues a deploy under the next number of its stage. `keep` puts what belongs to it into its
    /// place before the row can be seen; when it refuses there is no row. A tree takes the place of
    /// those that wait still.
    pub(crate) fn queue_deploy(
        &self,
        stage: i64,
        new: &NewDeploy<'_>,
        keep: impl FnOnce(&DeployRow) -> Result<(), ControlError>,
    ) -> Result<Queued, ControlError> {
        let mut guard = self.lock();
        let connection = guard.transaction()?;
        refuse_doomed(&connection, stage)?;
        let sql = "INSERT INTO deploys (stage, number, kind, state, source, who, created_at)
                   SELECT ?1, COALESCE(MAX(number), 0) + 1, ?2, 'queued', ?3, ?4, ?5 FROM deploys WHERE stage = ?1";
        connection.execute(sql, params![stage, new.kind.as_str(), to_json(new.source), new.who, now()])?;
        let id = connection.last_insert_rowid();
        if let Some(seal) = new.sealed_request {
            connection
                .execute("UPDATE deploys SET sealed_request = ?2 WHERE id = ?1", params![id, seal(id)])?;
        }
        let row = connection.query_row(&format!("{DEPLOY} WHERE id = ?1"), [id], deploy_row)?;
        keep(&row)?;
        let superseded = match new.kind {
            DeployKind::Deploy => supersede(&connection, stage, id)?,
            _ => Vec::new(),
        };
        connection.commit()?;
        Ok(Queued { deploy: row, superseded })
    }

    /// One deploy by row id.
    pub(crate) fn deploy(&self, id: i64) -> Result<Option<DeployRow>, ControlError> {
        let connection = self.lock();
        Ok(connection.query_row(&format!("{DEPLOY} WHERE id = ?1"), [id], deploy_row).optional()?)
    }

    /// One deploy by its number in the stage.
    pub(crate) fn deploy_by_number(
        &self,
        stage: i64,
        number: u64,
    ) -> Result<Option<DeployRow>, ControlError> {
        let connection = self.lock();
        let sql = format!("{DEPLOY} WHERE stage = ?1 AND number = ?2");
        Ok(connection.query_row(&sql, params![stage, number.cast_signed()], deploy_row).optional()?)
    }

    /// The newest deploys of a stage, newest first.
    pub(crate) fn deploys(&self, stage: i64, limit: u32) -> Result<Vec<DeployRow>, ControlError> {
        let connection = self.lock();
        let mut query =
            connection.prepare_cached(&format!("{DEPLOY} WHERE stage = ?1 ORDER BY id DESC LIMIT ?2"))?;
        let rows = query.query_map(params![stage, limit], deploy_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What a stage has still to do, oldest first: a running one, then the queue.
    pub(crate) fn open_deploys(&self, stage: i64) -> Result<Vec<DeployRow>, ControlError> {
        let connection = self.lock();
        let sql = format!(
            "{DEPLOY} WHERE stage = ?1 AND state IN ('queued', 'running') ORDER BY state = 'queued', id"
        );
        let mut query = connection.prepare_cached(&sql)?;
        let rows = query.query_map([stage], deploy_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Marks a queued deploy as running; false when it has ended since it was read.
    pub(crate) fn begin_deploy(&self, id: i64) -> Result<bool, ControlError> {
        let sql = "UPDATE deploys SET state = 'running', started_ms = COALESCE(started_ms, ?2)
                   WHERE id = ?1 AND state IN ('queued', 'running')";
        Ok(self.lock().execute(sql, params![id, now_ms()])? > 0)
    }

    /// Remembers that the user of a deploy asked for its end.
    pub(crate) fn cancel_deploy(&self, id: i64) -> Result<(), ControlError> {
        self.lock().execute("UPDATE deploys SET cancel = 1 WHERE id = ?1", [id])?;
        Ok(())
    }

    /// Ends a deploy; one that has ended stays as it is.
    pub(crate) fn end_deploy(
        &self,
        id: i64,
        state: DeployState,
        error: Option<&ErrorBody>,
    ) -> Result<(), ControlError> {
        let sql = "UPDATE deploys SET state = ?2, error = ?3, ended_ms = ?4, sealed_request = NULL
                   WHERE id = ?1 AND state IN ('queued', 'running')";
        self.lock().execute(sql, params![id, state.as_str(), error.map(to_json), now_ms()])?;
        Ok(())
    }

    /// Remembers the image of a deploy.
    pub(crate) fn set_deploy_image(&self, id: i64, image: &Digest) -> Result<(), ControlError> {
        self.lock().execute("UPDATE deploys SET image = ?2 WHERE id = ?1", params![id, image.to_string()])?;
        Ok(())
    }

    /// Remembers that a step began.
    pub(crate) fn begin_step(&self, deploy: i64, step: &str) -> Result<(), ControlError> {
        let mut connection = self.lock();
        let change = connection.transaction()?;
        change.execute(
            "INSERT OR REPLACE INTO steps (deploy, step, started_ms) VALUES (?1, ?2, ?3)",
            params![deploy, step, now_ms()],
        )?;
        change.execute("UPDATE deploys SET step = ?2 WHERE id = ?1", params![deploy, step])?;
        Ok(change.commit()?)
    }

    /// Remembers that a step is done.
    pub(crate) fn end_step(&self, deploy: i64, step: &str) -> Result<(), ControlError> {
        let sql = "UPDATE steps SET ended_ms = ?3 WHERE deploy = ?1 AND step = ?2";
        self.lock().execute(sql, params![deploy, step, now_ms()])?;
        Ok(())
    }

    /// Whether a step has begun, and whether it is done.
    pub(crate) fn step(&self, deploy: i64, step: &str) -> Result<Option<bool>, ControlError> {
        let connection = self.lock();
        let sql = "SELECT ended_ms IS NOT NULL FROM steps WHERE deploy = ?1 AND step = ?2";
        Ok(connection.query_row(sql, params![deploy, step], |row| row.get(0)).optional()?)
    }

    /// Row ids of every deploy that is not ended, for clearing what is left of the others.
    pub(crate) fn open_deploy_ids(&self) -> Result<Vec<i64>, ControlError> {
        let connection = self.lock();
        let mut query =
            connection.prepare_cached("SELECT id FROM deploys WHERE state IN ('queued', 'running')")?;
        let rows = query.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Marks queued deploys of trees older than `newer` as superseded.
fn supersede(connection: &Connection, stage: i64, newer: i64) -> rusqlite::Result<Vec<i64>> {
    let sql = "UPDATE deploys SET state = 'superseded', ended_ms = ?3, sealed_request = NULL
               WHERE stage = ?1 AND id < ?2 AND state = 'queued' AND kind = 'deploy' RETURNING id";
    let mut query = connection.prepare_cached(sql)?;
    let rows = query.query_map(params![stage, newer, now_ms()], |row| row.get(0))?;
    rows.collect()
}
