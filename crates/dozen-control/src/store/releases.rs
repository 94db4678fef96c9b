//! Releases: written once, never changed, never deleted while their app exists.

use std::collections::BTreeSet;

use dozen_model::{
    digest::Digest,
    formation::Formation,
    names::{AppName, Domain},
    release::ReleaseNumber,
};
use rusqlite::{OptionalExtension, Row, params};

use super::{
    AttachmentRow, ConfigRow, Store, config, deploys::words, domains, json_column, now, services, to_json,
    word_column,
};
use crate::error::ControlError;

words! {
    /// What became of a release.
    ReleaseState {
        /// It is being released.
        Pending = "pending",
        /// It served or serves.
        Live = "live",
        /// A step after its making refused.
        Failed = "failed",
    }
}

/// A release.
#[derive(Debug, Clone)]
pub(crate) struct ReleaseRow {
    /// Its number.
    pub number: ReleaseNumber,
    /// Its image.
    pub image: Digest,
    /// Config and attachments, sealed.
    pub sealed: Vec<u8>,
    /// Wanted counts when it was made.
    pub formation: Formation,
    /// What changed, names only.
    pub change: String,
    /// Who asked.
    pub who: String,
    /// Commit of the image's source.
    pub commit: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
    /// What became of it.
    pub state: ReleaseState,
}

/// A release to be written.
#[derive(Debug)]
pub(crate) struct NewRelease<'a> {
    /// The deploy that makes it.
    pub deploy: i64,
    /// Its image.
    pub image: &'a Digest,
    /// Wanted counts.
    pub formation: &'a Formation,
    /// What changed, names only.
    pub change: &'a str,
    /// Who asked.
    pub who: &'a str,
    /// Commit of the image's source.
    pub commit: Option<&'a str>,
}

/// What changes together when a release becomes the one that serves.
#[derive(Debug)]
pub(crate) struct GoLive<'a> {
    /// Stage row.
    pub stage: i64,
    /// The release.
    pub release: ReleaseNumber,
    /// The config it was made of.
    pub config: &'a [ConfigRow],
    /// The attachments it was made of.
    pub attachments: &'a [AttachmentRow],
    /// Domains that its app declares for the stage.
    pub domains: &'a [Domain],
    /// The change that starts a stopped stage by it, if it was not stopped later.
    pub start: Option<i64>,
}

const RELEASE: &str = "SELECT releases.number, image, sealed, formation, change, who, commit_id, created_at,
    state FROM releases JOIN release_states AS s ON s.stage = releases.stage AND s.number = releases.number";

fn number(value: i64) -> ReleaseNumber {
    ReleaseNumber(value.unsigned_abs())
}

fn release_row(row: &Row<'_>) -> rusqlite::Result<ReleaseRow> {
    Ok(ReleaseRow {
        number: number(row.get(0)?),
        image: word_column(row, 1)?,
        sealed: row.get(2)?,
        formation: json_column(row, 3)?,
        change: row.get(4)?,
        who: row.get(5)?,
        commit: row.get(6)?,
        created_at: row.get(7)?,
        state: ReleaseState::column(row, 8)?,
    })
}

impl Store {
    /// Writes a release under the next number; `seal` gets that number and gives its secrets.
    ///
    /// The number, the release and its place in the deploy are one transaction: a killed server
    /// finds all of it or nothing.
    pub(crate) fn add_release(
        &self,
        stage: i64,
        new: &NewRelease<'_>,
        seal: impl FnOnce(ReleaseNumber) -> Vec<u8>,
    ) -> Result<ReleaseNumber, ControlError> {
        let mut connection = self.lock();
        let change = connection.transaction()?;
        let sql = "SELECT COALESCE(MAX(number), 0) + 1 FROM releases WHERE stage = ?1";
        let next: i64 = change.query_row(sql, [stage], |row| row.get(0))?;
        change.execute(
            "INSERT INTO releases (stage, number, deploy, image, sealed, formation, change, who, commit_id, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                stage,
                next,
                new.deploy,
                new.image.to_string(),
                seal(number(next)),
                to_json(new.formation),
                new.change,
                new.who,
                new.commit,
                now()
            ],
        )?;
        change.execute(
            "INSERT INTO release_states (stage, number, state) VALUES (?1, ?2, 'pending')",
            params![stage, next],
        )?;
        change.execute("UPDATE deploys SET release = ?2 WHERE id = ?1", params![new.deploy, next])?;
        change.commit()?;
        Ok(number(next))
    }

    /// One release.
    pub(crate) fn release(
        &self,
        stage: i64,
        release: ReleaseNumber,
    ) -> Result<Option<ReleaseRow>, ControlError> {
        let connection = self.lock();
        let sql = format!("{RELEASE} WHERE releases.stage = ?1 AND releases.number = ?2");
        Ok(connection.query_row(&sql, params![stage, release.0.cast_signed()], release_row).optional()?)
    }

    /// The newest releases, newest first.
    pub(crate) fn releases(&self, stage: i64, limit: u32) -> Result<Vec<ReleaseRow>, ControlError> {
        let connection = self.lock();
        let sql = format!("{RELEASE} WHERE releases.stage = ?1 ORDER BY releases.number DESC LIMIT ?2");
        let mut query = connection.prepare_cached(&sql)?;
        let rows = query.query_map(params![stage, limit], release_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The newest release before this one that ever served.
    pub(crate) fn live_before(
        &self,
        stage: i64,
        release: ReleaseNumber,
    ) -> Result<Option<ReleaseRow>, ControlError> {
        let connection = self.lock();
        let sql = format!(
            "{RELEASE} WHERE releases.stage = ?1 AND releases.number < ?2 AND state = 'live'
             ORDER BY releases.number DESC LIMIT 1"
        );
        Ok(connection.query_row(&sql, params![stage, release.0.cast_signed()], release_row).optional()?)
    }

    /// Makes a release the one that serves: its number, the config and attachments it was made
    /// of, its declared domains and the states of its and the old one's launches change together.
    /// What comes back says of a declared domain that somebody else owns it.
    ///
    /// From here on the route table follows from the store.
    pub(crate) fn make_current(&self, live: &GoLive<'_>) -> Result<Vec<ControlError>, ControlError> {
        let mut connection = self.lock();
        let change = connection.transaction()?;
        let both = params![live.stage, live.release.0.cast_signed()];
        config::replace_in(&change, live.stage, live.config)?;
        services::replace_in(&change, live.stage, live.attachments)?;
        let mut left_out = Vec::new();
        for domain in live.domains {
            match domains::add_in(&change, live.stage, domain) {
                Err(taken @ ControlError::DomainTaken { .. }) => left_out.push(taken),
                added => added?,
            }
        }
        change.execute("UPDATE stages SET current_release = ?2 WHERE id = ?1", both)?;
        if let Some(deploy) = live.start {
            let sql = "UPDATE stages SET stopped = 0 WHERE id = ?1 AND stopped_behind < ?2";
            change.execute(sql, [live.stage, deploy])?;
        }
        change.execute("UPDATE release_states SET state = 'live' WHERE stage = ?1 AND number = ?2", both)?;
        change.execute(
            "UPDATE launches SET state = 'draining'
             WHERE stage = ?1 AND purpose = 'service' AND state = 'serving' AND release <> ?2",
            both,
        )?;
        change.execute(
            "UPDATE launches SET state = 'serving'
             WHERE stage = ?1 AND purpose = 'service' AND state = 'starting' AND release = ?2",
            both,
        )?;
        change.commit()?;
        Ok(left_out)
    }

    /// Remembers that a release did not go live.
    pub(crate) fn fail_release(&self, stage: i64, release: ReleaseNumber) -> Result<(), ControlError> {
        let sql = "UPDATE release_states SET state = 'failed' WHERE stage = ?1 AND number = ?2 AND state = 'pending'";
        self.lock().execute(sql, params![stage, release.0.cast_signed()])?;
        Ok(())
    }

    /// Images that an app's releases or changes name and no other app's do.
    pub(crate) fn images_only_of(&self, app: &AppName) -> Result<BTreeSet<Digest>, ControlError> {
        let connection = self.lock();
        let sql = "WITH own AS (SELECT stages.id FROM stages JOIN apps ON apps.id = stages.app
                                WHERE apps.name = ?1),
                        named AS (SELECT stage, image FROM releases
                                  UNION SELECT stage, image FROM deploys WHERE image IS NOT NULL)
                   SELECT DISTINCT image FROM named WHERE stage IN own
                     AND image NOT IN (SELECT image FROM named WHERE stage NOT IN own)";
        let mut query = connection.prepare_cached(sql)?;
        let rows = query.query_map([app.as_str()], |row| word_column(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Images that the last `keep` releases of each stage use, and what open deploys built.
    pub(crate) fn images_in_use(&self, keep: u32) -> Result<BTreeSet<Digest>, ControlError> {
        let connection = self.lock();
        let sql = "SELECT image FROM (SELECT image, ROW_NUMBER() OVER (PARTITION BY stage ORDER BY number DESC) AS n
                     FROM releases) WHERE n <= ?1
                   UNION SELECT image FROM releases JOIN stages ON stages.id = releases.stage
                     WHERE number = current_release
                   UNION SELECT image FROM releases JOIN launches ON launches.stage = releases.stage
                     AND launches.release = releases.number WHERE launches.state <> 'ended'
                   UNION SELECT image FROM deploys WHERE image IS NOT NULL AND state IN ('queued', 'running')";
        let mut query = connection.prepare_cached(sql)?;
        let rows = query.query_map([keep], |row| word_column(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
