//! The step `route`: the release becomes the one that serves.
//!
//! First the store, in one transaction, then the router, which answers when every thread routes
//! by the new table. Between the two the old instances serve on, so a kill there loses nothing:
//! the next server publishes the table that the store says. What served before drains behind us.

use dozen_model::route_table::Hold;

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
        control.store.make_current(&GoLive {
            stage: stage.id,
            release: number,
            config: &loaded.config.rows(&control.key, &stage),
            attachments: &attachments,
            start: change.deploy.kind == DeployKind::Deploy,
        })?;
        add_declared_domains(change, &loaded.manifest.domains);
    }
    change.barrier("route.committed");
    control.set_hold(stage.id, Hold::None);
    control.publish()?;
    control.say(&stage, "release", &format!("{number} serves: {}", change.deploy.kind.as_str()));
    control.drain_all(&stage)?;
    Ok(())
}

/// Domains that dozen.toml names for this stage; one that another app owns is said, not taken.
fn add_declared_domains(change: &Change, domains: &[dozen_model::names::Domain]) {
    for domain in domains {
        if let Err(error) = change.control.store.add_domain(change.key().id, domain) {
            change.work.progress.warn(error.to_string());
        }
    }
}
