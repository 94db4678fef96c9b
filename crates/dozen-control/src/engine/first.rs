//! A change of config or attachments whose stage turned out to have no release: the first deploy,
//! which it waited for, has failed. It is kept for the next one.

use super::Change;
use crate::{
    error::ControlError,
    release_config::{Value, check_size, from_base64, sealed_row, stage_vars},
    requests::KEPT,
    store::{AttachmentRow, DeployKind, ForFirst},
};

/// Whether the change has no release to change.
pub(super) fn is_before_first(change: &Change) -> bool {
    let kind = change.deploy.kind;
    let of_release = matches!(kind, DeployKind::Config | DeployKind::Attach | DeployKind::Detach);
    of_release && change.stage.current.is_none()
}

/// Keeps what was asked for.
pub(super) fn keep(change: &Change) -> Result<(), ControlError> {
    let (control, key) = (&change.control, change.key());
    let request = change.request()?;
    let mut vars = stage_vars(&control.key, key, &control.store.config(key.id)?)?;
    let (mut set, mut unset) = (Vec::new(), Vec::new());
    for (name, value) in &request.set {
        let value = Value { origin: "set".into(), bytes: from_base64(name, value)? };
        set.push(sealed_row(&control.key, key, name.parse()?, &value));
        vars.insert(name.parse()?, value);
    }
    for name in &request.unset {
        unset.push(name.parse()?);
        vars.remove(&name.parse()?);
    }
    check_size(&key.app, &vars)?;
    let attach = request.attach.into_iter().map(|(var, service)| AttachmentRow { var, service });
    let attach: Vec<AttachmentRow> = attach.collect();
    let kept = ForFirst { set: &set, unset: &unset, attach: &attach, detach: &request.detach };
    if !control.store.keep_for_first(key.id, &kept, Some(change.deploy.id))? {
        return Err(ControlError::NoRelease { app: key.app.clone() });
    }
    change.work.progress.hint(KEPT);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        engine::{ChangeRequest, drive},
        release_config::to_base64,
        stand::Stand,
        store::DeployState,
    };

    fn set(name: &str) -> ChangeRequest {
        let set = BTreeMap::from([(name.to_owned(), to_base64(b"a"))]);
        ChangeRequest { change: format!("set {name}"), set, ..ChangeRequest::default() }
    }

    fn names(stand: &Stand) -> Vec<String> {
        let rows = stand.control.store.config(stand.key.id).unwrap();
        rows.iter().map(|row| row.name.to_string()).collect()
    }

    #[test]
    fn what_is_set_while_the_first_deploy_is_under_way_waits_for_it_and_outlives_its_failure() {
        let stand = Stand::new();
        let (first, _) = stand.release();
        let rows = [sealed_row(
            &stand.control.key,
            &stand.key,
            "EARLY".parse().unwrap(),
            &Value { origin: "set".into(), bytes: b"a".to_vec() },
        )];
        let kept = ForFirst { set: &rows, ..ForFirst::default() };
        assert!(!stand.control.store.keep_for_first(stand.key.id, &kept, None).unwrap());
        assert!(names(&stand).is_empty());

        let waiting = stand.queue_request(DeployKind::Config, &set("LATE"));
        stand.control.store.end_deploy(first.id, DeployState::Failed, None).unwrap();
        drive(&stand.control, stand.stage(), waiting.clone()).unwrap();

        assert_eq!(names(&stand), ["LATE"]);
        let ended = stand.control.store.deploy(waiting.id).unwrap().unwrap();
        assert_eq!((ended.state, ended.release), (DeployState::Succeeded, None));
        assert!(stand.control.store.keep_for_first(stand.key.id, &kept, None).unwrap());
        assert_eq!(names(&stand), ["EARLY", "LATE"], "one does not undo the other");
    }

    #[test]
    fn nothing_is_kept_for_a_first_release_that_is_there() {
        let stand = Stand::new();
        let (first, _) = stand.serve_release();
        stand.control.store.end_deploy(first.id, DeployState::Succeeded, None).unwrap();
        let kept = ForFirst { unset: &["A".parse().unwrap()], ..ForFirst::default() };
        assert!(!stand.control.store.keep_for_first(stand.key.id, &kept, None).unwrap());
    }
}
