//! The step `route`: the release becomes the one that serves.
//!
//! First the store, in one transaction, then the router, which answers when every thread routes
//! by the new table. Between the two the old instances serve on, so a kill there loses nothing:
//! the next server publishes the table that the store says. What served before drains behind us.

use dozen_model::{names::Domain, route_table::Hold};

use super::Change;
use crate::{
    error::ControlError,
    store::{AttachmentRow, DeployKind, GoLive},
};

/// Commits, publishes, and lets the old instances drain.
pub(super) fn route(change: &mut Change) -> Result<(), ControlError> {
    let control = &change.control;
    let stage = change.key().clone();
    let Some(number) = change.deploy.release else { return Err(ControlError::NoProcesses) };
    if change.stage.current != Some(number) {
        let loaded = control.load(&stage, number)?;
        let attachments: Vec<AttachmentRow> = loaded
            .config
            .bound
            .iter()
            .map(|bound| AttachmentRow { var: bound.var.clone(), service: bound.service })
            .collect();
        let left_out = control.store.make_current(&GoLive {
            stage: stage.id,
            release: number,
            config: &loaded.config.rows(&control.key, &stage),
            attachments: &attachments,
            domains: &usable_domains(change, &loaded.manifest.domains),
            start: (change.deploy.kind == DeployKind::Deploy).then_some(change.deploy.id),
        })?;
        for taken in left_out {
            change.work.progress.warn(taken.to_string());
        }
    }
    change.barrier("route.committed");
    control.set_hold(stage.id, Hold::None);
    control.publish()?;
    control.say(&stage, "release", &format!("{number} serves: {}", change.deploy.kind.as_str()));
    control.drain_all(&stage)?;
    Ok(())
}

/// The domains that dozen.toml names for this stage, without those that dozen gives itself: the
/// stage's own name needs no word, others' are said.
fn usable_domains(change: &Change, declared: &[Domain]) -> Vec<Domain> {
    let own = change.control.automatic_host(&change.key().app, &change.key().stage);
    let mut usable = declared.to_vec();
    usable.retain(|domain| match change.control.refuse_reserved(domain) {
        Ok(()) => true,
        Err(error) => {
            if domain.as_str() != own {
                change.work.progress.warn(error.to_string());
            }
            false
        }
    });
    usable
}
