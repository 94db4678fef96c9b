//! What is kept of changes and processes that have ended: the newest ones of each stage.
//!
//! Releases are not among it: they are never deleted while their app exists.

use std::fs;

use crate::{control::Control, error::ControlError};

/// Deploys of each stage that `dozen builds` still knows.
const KEPT_DEPLOYS: u32 = 500;
/// Ended processes of each stage whose rows are kept.
const KEPT_LAUNCHES: u32 = 500;

impl Control {
    /// Forgets what is older.
    pub(crate) fn trim_history(&self) -> Result<(), ControlError> {
        self.trim_history_to(KEPT_DEPLOYS, KEPT_LAUNCHES)
    }

    pub(crate) fn trim_history_to(&self, deploys: u32, launches: u32) -> Result<(), ControlError> {
        for stage in self.store.stages()? {
            for (id, number) in self.store.old_deploys(stage.key.id, deploys)? {
                // The events first: without the row nobody would find them.
                let _ = fs::remove_file(self.events_file(&stage.key, number));
                self.store.forget_deploy(id)?;
            }
            self.store.forget_launches(stage.key.id, launches)?;
        }
        Ok(())
    }
}
