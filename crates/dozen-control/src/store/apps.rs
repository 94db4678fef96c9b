//! Apps and their stages.

use std::collections::BTreeMap;

use dozen_model::{
    formation::Formation,
    names::{AppName, ProcessType, StageName},
    release::ReleaseNumber,
    route_policy::Maintenance,
    suggestion::nearest,
};
use rusqlite::{Connection, OptionalExtension, Row, params, types::ValueRef};

use super::{Store, json_column, now, to_json, word_column};
use crate::{
    error::ControlError,
    seal::{Owner, Secret},
};

/// An app.
#[derive(Debug, Clone)]
pub(crate) struct AppRow {
    /// Its name.
    pub name: AppName,
    /// Unix seconds.
    pub created_at: i64,
}

/// The names of a stage and the id of its row: what most calls need.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StageKey {
    /// Row id.
    pub id: i64,
    /// App.
    pub app: AppName,
    /// Stage.
    pub stage: StageName,
}

impl StageKey {
    /// The owner of one of its secrets.
    pub(crate) fn owner(&self, secret: Secret<'_>) -> Owner {
        Owner::of(&self.app, &self.stage, secret)
    }
}

/// A stage.
#[derive(Debug, Clone)]
pub struct StageRow {
    /// Its names.
    pub key: StageKey,
    /// Whether `down` stopped it.
    pub stopped: bool,
    /// The newest change when it was stopped, or started again, last.
    pub(crate) stopped_behind: i64,
    /// Wanted counts.
    pub formation: Formation,
    /// The release that serves.
    pub current: Option<ReleaseNumber>,
    /// Whether its app is to be destroyed.
    pub doomed: bool,
    /// Launches that a restart under way still has to replace.
    pub(crate) restart: Vec<String>,
    /// Set while it is in maintenance.
    pub(crate) maintenance: Option<Maintenance>,
    /// Until when its requests wait, in Unix milliseconds; long ago when they do not.
    pub(crate) paused_until: i64,
}

const STAGE: &str = "SELECT stages.id, apps.name, stages.name, stopped, formation, current_release,
                     doomed, restart, stopped_behind, maintenance, paused_until FROM stages JOIN apps ON apps.id = stages.app";

fn stage_row(row: &Row<'_>) -> rusqlite::Result<StageRow> {
    Ok(StageRow {
        key: StageKey { id: row.get(0)?, app: word_column(row, 1)?, stage: word_column(row, 2)? },
        stopped: row.get(3)?,
        formation: json_column(row, 4)?,
        current: row.get::<_, Option<i64>>(5)?.map(|number| ReleaseNumber(number.unsigned_abs())),
        doomed: row.get(6)?,
        restart: json_column(row, 7)?,
        stopped_behind: row.get(8)?,
        maintenance: if row.get_ref(9)? == ValueRef::Null { None } else { Some(json_column(row, 9)?) },
        paused_until: row.get(10)?,
    })
}

impl Store {
    /// All apps by name, without those that are to be destroyed.
    pub(crate) fn apps(&self) -> Result<Vec<AppRow>, ControlError> {
        let connection = self.lock();
        let mut query =
            connection.prepare_cached("SELECT name, created_at FROM apps WHERE doomed = 0 ORDER BY name")?;
        let rows =
            query.query_map([], |row| Ok(AppRow { name: word_column(row, 0)?, created_at: row.get(1)? }))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Makes an app with its `production` stage.
    ///
    /// # Errors
    /// [`ControlError::AppTaken`] when there is one of that name, [`ControlError::Doomed`] while it is
    /// being destroyed.
    pub(crate) fn create_app(&self, app: &AppName) -> Result<(), ControlError> {
        let mut connection = self.lock();
        let change = connection.transaction()?;
        let made = change.execute(
            "INSERT OR IGNORE INTO apps (name, created_at) VALUES (?1, ?2)",
            params![app.as_str(), now()],
        )?;
        if made == 0 {
            return Err(match is_doomed(&change, app)? {
                true => ControlError::Doomed { app: app.clone() },
                false => ControlError::AppTaken { app: app.clone() },
            });
        }
        let id = change.last_insert_rowid();
        change.execute(
            "INSERT INTO stages (app, name, created_at) VALUES (?1, ?2, ?3)",
            params![id, StageName::production().as_str(), now()],
        )?;
        Ok(change.commit()?)
    }

    /// Makes a stage of an existing app; one that exists is fine.
    pub(crate) fn create_stage(&self, app: &AppName, stage: &StageName) -> Result<(), ControlError> {
        self.lock().execute(
            "INSERT OR IGNORE INTO stages (app, name, created_at) SELECT id, ?2, ?3 FROM apps
             WHERE name = ?1 AND doomed = 0",
            params![app.as_str(), stage.as_str(), now()],
        )?;
        Ok(())
    }

    /// Records that an app is to be destroyed; its stages come back. Doing it twice is fine.
    ///
    /// # Errors
    /// [`ControlError::NoSuchApp`], with the nearest name.
    pub(crate) fn doom_app(&self, app: &AppName) -> Result<Vec<StageRow>, ControlError> {
        let found = self.lock().execute("UPDATE apps SET doomed = 1 WHERE name = ?1", [app.as_str()])?;
        if found == 0 {
            let apps = self.apps()?;
            let near = nearest(app.as_str(), apps.iter().map(|row| row.name.as_str()));
            return Err(ControlError::NoSuchApp { app: app.to_string(), nearest: near.map(str::to_owned) });
        }
        let mut stages = self.stages()?;
        stages.retain(|row| row.key.app == *app);
        Ok(stages)
    }

    /// Whether an app is to be destroyed; false when there is none.
    pub(crate) fn is_doomed(&self, app: &AppName) -> Result<bool, ControlError> {
        Ok(is_doomed(&self.lock(), app)?)
    }

    /// Apps that are to be destroyed.
    pub(crate) fn doomed_apps(&self) -> Result<Vec<AppName>, ControlError> {
        let connection = self.lock();
        let mut query = connection.prepare_cached("SELECT name FROM apps WHERE doomed = 1 ORDER BY name")?;
        let rows = query.query_map([], |row| word_column(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Makes the ids of stages to come greater than `used`, and never less.
    pub(crate) fn skip_stage_ids(&self, used: i64) -> Result<(), ControlError> {
        let mut connection = self.lock();
        let change = connection.transaction()?;
        let moved =
            change.execute("UPDATE sqlite_sequence SET seq = MAX(seq, ?1) WHERE name = 'stages'", [used])?;
        if moved == 0 {
            change.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('stages', ?1)", [used])?;
        }
        Ok(change.commit()?)
    }

    /// Deletes an app with all rows it owns.
    pub(crate) fn delete_app(&self, app: &AppName) -> Result<(), ControlError> {
        self.lock().execute("DELETE FROM apps WHERE name = ?1", [app.as_str()])?;
        Ok(())
    }

    /// All stages, also of apps that are to be destroyed.
    pub(crate) fn stages(&self) -> Result<Vec<StageRow>, ControlError> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(&format!("{STAGE} ORDER BY apps.name, stages.id"))?;
        let rows = query.query_map([], stage_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One stage by its names.
    ///
    /// # Errors
    /// [`ControlError::NoSuchApp`] or [`ControlError::NoSuchStage`], with the nearest name;
    /// [`ControlError::Doomed`] when its app is to be destroyed.
    pub(crate) fn stage(&self, app: &AppName, stage: &StageName) -> Result<StageRow, ControlError> {
        let found = {
            let connection = self.lock();
            let sql = format!("{STAGE} WHERE apps.name = ?1 AND stages.name = ?2");
            let mut query = connection.prepare_cached(&sql)?;
            query.query_row([app.as_str(), stage.as_str()], stage_row).optional()?
        };
        if let Some(row) = found {
            return if row.doomed { Err(ControlError::Doomed { app: app.clone() }) } else { Ok(row) };
        }
        let apps = self.apps()?;
        if apps.iter().all(|row| row.name != *app) {
            let near = nearest(app.as_str(), apps.iter().map(|row| row.name.as_str()));
            return Err(ControlError::NoSuchApp { app: app.to_string(), nearest: near.map(str::to_owned) });
        }
        let stages = self.stages()?;
        let known = stages.iter().filter(|row| row.key.app == *app).map(|row| row.key.stage.as_str());
        let near = nearest(stage.as_str(), known).map(str::to_owned);
        Err(ControlError::NoSuchStage { app: app.clone(), stage: stage.clone(), nearest: near })
    }

    /// One stage by its row.
    pub(crate) fn stage_by_id(&self, id: i64) -> Result<Option<StageRow>, ControlError> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(&format!("{STAGE} WHERE stages.id = ?1"))?;
        Ok(query.query_row([id], stage_row).optional()?)
    }

    /// Remembers which launches a restart still has to replace.
    pub(crate) fn set_restart(&self, stage: i64, launches: &[String]) -> Result<(), ControlError> {
        let sql = "UPDATE stages SET restart = ?2 WHERE id = ?1";
        self.lock().execute(sql, params![stage, to_json(&launches)])?;
        Ok(())
    }

    /// Changes some of the wanted counts.
    pub(crate) fn scale(&self, stage: i64, counts: &BTreeMap<ProcessType, u32>) -> Result<(), ControlError> {
        let mut connection = self.lock();
        let change = connection.transaction()?;
        let sql = "SELECT formation FROM stages WHERE id = ?1";
        let mut formation: Formation = change.query_row(sql, [stage], |row| json_column(row, 0))?;
        for (process, count) in counts {
            formation.scale(process.clone(), *count);
        }
        let sql = "UPDATE stages SET formation = ?2 WHERE id = ?1";
        change.execute(sql, params![stage, to_json(&formation)])?;
        Ok(change.commit()?)
    }

    /// Remembers that `down` stopped the stage, or that it was started again. Changes that wait or are
    /// under way do not start it: they were asked for before.
    pub(crate) fn set_stopped(&self, stage: i64, stopped: bool) -> Result<(), ControlError> {
        let sql = "UPDATE stages SET stopped = ?2, stopped_behind =
                   (SELECT COALESCE(MAX(id), 0) FROM deploys WHERE deploys.stage = ?1) WHERE id = ?1";
        self.lock().execute(sql, params![stage, stopped])?;
        Ok(())
    }
}

fn is_doomed(connection: &Connection, app: &AppName) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM apps WHERE name = ?1 AND doomed = 1)";
    connection.query_row(sql, [app.as_str()], |row| row.get(0))
}

/// Refuses what would begin something for a stage whose app is to be destroyed. Within the caller's
/// lock, so that nothing slips in behind the wish.
pub(super) fn refuse_doomed(connection: &Connection, stage: i64) -> Result<(), ControlError> {
    let sql = "SELECT apps.name FROM stages JOIN apps ON apps.id = stages.app
               WHERE stages.id = ?1 AND doomed = 1";
    let doomed: Option<AppName> = connection.query_row(sql, [stage], |row| word_column(row, 0)).optional()?;
    doomed.map_or(Ok(()), |app| Err(ControlError::Doomed { app }))
}
