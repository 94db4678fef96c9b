//! The tables, as a list of migrations: each runs once, in order, and is never edited later.

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

const FIRST: &str = "
CREATE TABLE apps (
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL
) STRICT;

-- formation: wanted counts as JSON. current_release: the one that serves, by number.
CREATE TABLE stages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  app INTEGER NOT NULL REFERENCES apps(id) ON DELETE CASCADE,
  name TEXT NOT NULL, stopped INTEGER NOT NULL DEFAULT 0, formation TEXT NOT NULL DEFAULT '{}',
  current_release INTEGER, created_at INTEGER NOT NULL, UNIQUE (app, name)
) STRICT;

CREATE TABLE domains (
  domain TEXT PRIMARY KEY, stage INTEGER NOT NULL REFERENCES stages(id) ON DELETE CASCADE,
  created_at INTEGER NOT NULL
) STRICT;

-- The config that the next release takes. origin: set, generated.
CREATE TABLE config (
  stage INTEGER NOT NULL REFERENCES stages(id) ON DELETE CASCADE,
  name TEXT NOT NULL, sealed BLOB NOT NULL, origin TEXT NOT NULL, PRIMARY KEY (stage, name)
) STRICT;

CREATE TABLE services (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  stage INTEGER NOT NULL REFERENCES stages(id) ON DELETE CASCADE,
  name TEXT NOT NULL, kind TEXT NOT NULL, path TEXT, sealed_url BLOB, created_at INTEGER NOT NULL,
  UNIQUE (stage, name)
) STRICT;

CREATE TABLE attachments (
  stage INTEGER NOT NULL REFERENCES stages(id) ON DELETE CASCADE, var TEXT NOT NULL,
  service INTEGER NOT NULL REFERENCES services(id) ON DELETE CASCADE, PRIMARY KEY (stage, var)
) STRICT;

-- One row a change that makes a release: a deploy, a config change, a rollback, an attach.
-- sealed_request: the change itself when it holds values. step: the last step begun.
CREATE TABLE deploys (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  stage INTEGER NOT NULL REFERENCES stages(id) ON DELETE CASCADE,
  number INTEGER NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, step TEXT,
  source TEXT NOT NULL, sealed_request BLOB, who TEXT NOT NULL, created_at INTEGER NOT NULL,
  started_ms INTEGER, ended_ms INTEGER, image TEXT, release INTEGER, error TEXT,
  UNIQUE (stage, number)
) STRICT;
CREATE INDEX deploys_open ON deploys (stage, state);

-- Steps done, so that a restarted server goes on behind them.
CREATE TABLE steps (
  deploy INTEGER NOT NULL REFERENCES deploys(id) ON DELETE CASCADE, step TEXT NOT NULL,
  started_ms INTEGER NOT NULL, ended_ms INTEGER, PRIMARY KEY (deploy, step)
) STRICT;

-- A release is written once. sealed: config and attachments with their values.
CREATE TABLE releases (
  stage INTEGER NOT NULL REFERENCES stages(id) ON DELETE CASCADE, number INTEGER NOT NULL,
  deploy INTEGER NOT NULL, image TEXT NOT NULL, sealed BLOB NOT NULL, formation TEXT NOT NULL,
  change TEXT NOT NULL, who TEXT NOT NULL, commit_id TEXT, created_at INTEGER NOT NULL,
  PRIMARY KEY (stage, number)
) STRICT;
CREATE TRIGGER releases_never_change BEFORE UPDATE ON releases
BEGIN SELECT RAISE(ABORT, 'a release never changes'); END;
CREATE TRIGGER releases_never_go BEFORE DELETE ON releases
WHEN EXISTS (SELECT 1 FROM stages WHERE id = OLD.stage)
BEGIN SELECT RAISE(ABORT, 'a release is never deleted'); END;

-- What became of a release, apart from it because a release never changes.
CREATE TABLE release_states (
  stage INTEGER NOT NULL REFERENCES stages(id) ON DELETE CASCADE, number INTEGER NOT NULL,
  state TEXT NOT NULL, PRIMARY KEY (stage, number)
) STRICT;

-- One row a process that was ever meant to start; written before its shim starts.
CREATE TABLE launches (
  id TEXT PRIMARY KEY, stage INTEGER NOT NULL REFERENCES stages(id) ON DELETE CASCADE,
  purpose TEXT NOT NULL, process TEXT NOT NULL, number INTEGER NOT NULL, release INTEGER NOT NULL,
  deploy INTEGER, port INTEGER, state TEXT NOT NULL, command TEXT, who TEXT, outcome TEXT,
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX launches_open ON launches (stage, state);
";

/// doomed: the app is to be destroyed, and nothing of it may begin any more. restart: ids of the
/// launches that a restart under way still has to replace, as JSON. cancel: its user asked for the
/// end of a deploy before its release phase began.
const DOOMED_AND_RESTART: &str = "
ALTER TABLE apps ADD COLUMN doomed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deploys ADD COLUMN cancel INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stages ADD COLUMN restart TEXT NOT NULL DEFAULT '[]';
";

/// The words of a one-off process, sealed until it ends; they stood there in the clear before.
const SEALED_COMMANDS: &str = "
ALTER TABLE launches DROP COLUMN command;
ALTER TABLE launches ADD COLUMN sealed_command BLOB;
";

/// stopped_behind: the newest change when the stage was stopped; one that was asked for by then does
/// not start it again.
const STOPPED_BEHIND: &str = "ALTER TABLE stages ADD COLUMN stopped_behind INTEGER NOT NULL DEFAULT 0;";

/// maintenance: who is let through, as JSON, while the stage is in it. paused_until: Unix milliseconds.
const TRAFFIC: &str = "
ALTER TABLE stages ADD COLUMN maintenance TEXT;
ALTER TABLE stages ADD COLUMN paused_until INTEGER NOT NULL DEFAULT 0;
";

/// certificates: names as JSON; one without a chain is still to be issued. automatic: every domain
/// gets one, nobody asked for this one. next_try: when something is to be done for it.
/// acme_orders: the one order that a certificate may have under way, its key made before it.
const CERTIFICATES: &str = "
CREATE TABLE certificates (
  id INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, names TEXT NOT NULL,
  chain TEXT, sealed_key BLOB, not_before INTEGER, not_after INTEGER,
  automatic INTEGER NOT NULL DEFAULT 0, by_tls INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0, error TEXT,
  next_try INTEGER, wait_until INTEGER, created_at INTEGER NOT NULL, UNIQUE (source, names)
) STRICT;
CREATE TABLE local_authorities (
  domain TEXT PRIMARY KEY, certificate TEXT NOT NULL, sealed_key BLOB NOT NULL,
  not_after INTEGER NOT NULL, created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE acme_accounts (
  directory TEXT PRIMARY KEY, sealed_key BLOB NOT NULL, url TEXT, contact TEXT,
  created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE acme_orders (
  certificate INTEGER PRIMARY KEY REFERENCES certificates(id) ON DELETE CASCADE,
  directory TEXT NOT NULL, sealed_key BLOB NOT NULL, url TEXT, created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE acme_challenges (
  certificate INTEGER NOT NULL REFERENCES acme_orders(certificate) ON DELETE CASCADE,
  by_tls INTEGER NOT NULL, name TEXT NOT NULL, token TEXT NOT NULL, sealed_answer BLOB NOT NULL,
  PRIMARY KEY (certificate, by_tls, name)
) STRICT;
CREATE TABLE certificate_sets (id INTEGER PRIMARY KEY, generation INTEGER NOT NULL) STRICT;
";

/// Each is run once; a released one never changes.
const ALL: [&str; 6] = [FIRST, DOOMED_AND_RESTART, SEALED_COMMANDS, STOPPED_BEHIND, TRAFFIC, CERTIFICATES];

fn migrations() -> Migrations<'static> {
    Migrations::new(ALL.into_iter().map(M::up).collect())
}

/// The schema version this dozen writes.
pub(super) fn version() -> u32 {
    u32::try_from(ALL.len()).unwrap_or(u32::MAX)
}

/// Runs what is missing.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite_migration::Result<()> {
    migrations().to_latest(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_counts_the_migrations() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(found, version());
        migrations().validate().unwrap();
    }
}
