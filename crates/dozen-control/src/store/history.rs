//! What is forgotten of what has ended, so that the store does not grow for ever.
//!
//! Numbers go on counting: the newest deploy of a stage and the one-off process with its highest
//! number always stay. Nothing goes that a change under way may still ask for.

use rusqlite::params;

use super::Store;
use crate::error::ControlError;

impl Store {
    /// Deploys of a stage that have ended, all but the newest: row id and number.
    pub(crate) fn old_deploys(&self, stage: i64, keep: u32) -> Result<Vec<(i64, u64)>, ControlError> {
        let connection = self.lock();
        let sql = "SELECT id, number FROM (SELECT id, number, state FROM deploys WHERE stage = ?1
                                           ORDER BY id DESC LIMIT -1 OFFSET ?2)
                   WHERE state NOT IN ('queued', 'running')";
        let mut query = connection.prepare_cached(sql)?;
        let rows = query.query_map(params![stage, keep.max(1)], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Forgets a deploy and its steps.
    pub(crate) fn forget_deploy(&self, id: i64) -> Result<(), ControlError> {
        self.lock().execute("DELETE FROM deploys WHERE id = ?1", [id])?;
        Ok(())
    }

    /// Forgets launches of a stage that have ended, all but the newest.
    pub(crate) fn forget_launches(&self, stage: i64, keep: u32) -> Result<(), ControlError> {
        let sql = "DELETE FROM launches WHERE rowid IN
                     (SELECT rowid FROM launches WHERE stage = ?1 AND state = 'ended'
                      ORDER BY rowid DESC LIMIT -1 OFFSET ?2)
                   AND NOT (purpose = 'run' AND number =
                     (SELECT MAX(number) FROM launches WHERE stage = ?1 AND purpose = 'run'))
                   AND (deploy IS NULL OR deploy NOT IN
                     (SELECT id FROM deploys WHERE state IN ('queued', 'running')))";
        self.lock().execute(sql, params![stage, keep])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        stand::Stand,
        store::{DeployKind, DeployState, LaunchState, Purpose},
    };

    #[test]
    fn old_deploys_go_and_numbers_count_on() {
        let stand = Stand::new();
        let store = &stand.control.store;
        let open = stand.queue(DeployKind::Deploy);
        for _ in 2..=5 {
            let deploy = stand.queue(DeployKind::Config);
            store.end_deploy(deploy.id, DeployState::Failed, None).unwrap();
        }
        let events = |number| stand.control.events_file(&stand.key, number);
        std::fs::create_dir_all(events(2).parent().unwrap()).unwrap();
        for number in 1..=5 {
            std::fs::write(events(number), "").unwrap();
        }
        stand.control.trim_history_to(2, 2).unwrap();
        let left: Vec<u64> = store.deploys(stand.key.id, 10).unwrap().iter().map(|row| row.number).collect();
        assert_eq!(left, [5, 4, 1], "what is under way stays");
        assert_eq!(open.number, 1);
        let files: Vec<u64> = (1..=5).filter(|number| events(*number).exists()).collect();
        assert_eq!(files, [1, 4, 5]);
        assert_eq!(stand.queue(DeployKind::Deploy).number, 6);
    }

    #[test]
    fn old_launches_go_and_one_off_numbers_count_on() {
        let stand = Stand::new();
        let store = &stand.control.store;
        let open = stand.queue(DeployKind::Deploy);
        let phase = stand.launch(Purpose::ReleasePhase, Some(open.id), LaunchState::Ended);
        let runs = stand.launch(Purpose::OneOff, None, LaunchState::Ended);
        let serving = stand.launch(Purpose::Service, None, LaunchState::Serving);
        let old: Vec<_> =
            (0..4).map(|_| stand.launch(Purpose::Service, None, LaunchState::Ended).id).collect();
        stand.control.trim_history_to(2, 2).unwrap();
        for kept in [&phase.id, &runs.id, &serving.id, &old[2], &old[3]] {
            assert!(store.launch(kept).unwrap().is_some());
        }
        for gone in &old[..2] {
            assert!(store.launch(gone).unwrap().is_none());
        }
    }
}
