//! What a release is attached to, by tree and by request.

use std::sync::Arc;

use super::*;
use crate::{
    api::wire::DeploySource,
    control::Control,
    stand::Stand,
    store::{NewDeploy, StageRow},
};

/// A change of a stage that is about to be assembled.
fn change(control: &Arc<Control>, stage: &StageRow, kind: DeployKind) -> Change {
    let source = DeploySource::default();
    let new = NewDeploy { kind, source: &source, sealed_request: None, who: "me" };
    let deploy = control.store.queue_deploy(stage.key.id, &new, |_| Ok(())).unwrap().deploy;
    let work = control.work(deploy.id, deploy.number, &stage.key);
    Change { control: Arc::clone(control), stage: stage.clone(), deploy, work }
}

fn sqlite(control: &Control, stage: &StageRow, name: &str) -> i64 {
    let row = ServiceRow {
        id: 0,
        name: name.parse().unwrap(),
        kind: "sqlite".into(),
        path: None,
        sealed_url: None,
        created_at: 0,
    };
    control.store.create_service(stage.key.id, &row).unwrap()
}

fn set(name: &str) -> BTreeMap<ConfigVar, Value> {
    BTreeMap::from([(name.parse().unwrap(), Value { origin: "set".into(), bytes: b"x".to_vec() })])
}

#[test]
fn a_change_that_waited_does_not_take_a_var_from_the_one_before_it() {
    let stand = Stand::new();
    let (control, shop) = (&stand.control, stand.stage());
    let service = sqlite(control, &shop, "db");
    let var: ConfigVar = "DATABASE_URL".parse().unwrap();
    let manifest = AppManifest::default();

    let attach = change(control, &shop, DeployKind::Attach);
    let asked = ChangeRequest { attach: vec![(var.clone(), service)], ..ChangeRequest::default() };
    let refused = attachments_of(&attach, &asked, &manifest, &set("DATABASE_URL"));
    assert!(matches!(refused, Err(ControlError::VarSet { .. })));
    assert_eq!(attachments_of(&attach, &asked, &manifest, &set("OTHER")).unwrap().len(), 1);

    control.store.replace_attachments(shop.key.id, &[AttachmentRow { var, service }]).unwrap();
    let config = change(control, &shop, DeployKind::Config);
    let asked = ChangeRequest {
        set: BTreeMap::from([("DATABASE_URL".into(), "eA==".into())]),
        ..ChangeRequest::default()
    };
    let refused = attachments_of(&config, &asked, &manifest, &set("DATABASE_URL"));
    assert!(matches!(refused, Err(ControlError::VarOfService { .. })));
}

/// What a deploy of a tree with this dozen.toml attaches, as `VAR service` words, and what is
/// said of it.
fn deployed(control: &Arc<Control>, shop: &StageRow, toml: &str) -> (Vec<String>, Vec<String>) {
    use crate::api::wire::Progress;
    let change = change(control, shop, DeployKind::Deploy);
    let (manifest, _) = AppManifest::read(Some(toml.as_bytes()), None).unwrap();
    let rows = attachments_of(&change, &ChangeRequest::default(), &manifest, &BTreeMap::new()).unwrap();
    control.store.replace_attachments(shop.key.id, &rows).unwrap();
    let mut words: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {}", row.var, control.service_name(&shop.key, row.service).unwrap()))
        .collect();
    words.sort();
    let events = change.work.progress.so_far();
    let warnings = events.into_iter().filter_map(|event| match event {
        Progress::Warning { text } => Some(text),
        _ => None,
    });
    (words, warnings.collect())
}

#[test]
fn each_declared_service_gets_a_var_of_its_own_and_keeps_it() {
    let stand = Stand::new();
    let (control, shop) = (&stand.control, stand.stage());
    let one = "[services.db]\nkind = \"sqlite\"\n";
    let two = format!("{one}[services.audit]\nkind = \"sqlite\"\n");
    assert_eq!(deployed(control, &shop, one), (vec!["DATABASE_URL db".into()], vec![]));
    for _ in 0..2 {
        let (words, warnings) = deployed(control, &shop, &two);
        assert_eq!(words, ["AUDIT_URL audit", "DATABASE_URL db"]);
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

#[test]
fn a_declared_service_that_is_not_as_declared_is_said() {
    let stand = Stand::new();
    let (control, shop) = (&stand.control, stand.stage());
    let volume = |path: &str| format!("[services.media]\nkind = \"volume\"\npath = \"{path}\"\n");
    deployed(control, &shop, &volume("/data/old"));
    let (_, warnings) = deployed(control, &shop, &volume("/data/new"));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("`/data/new`") && warnings[0].contains("`/data/old`"), "{warnings:?}");

    let other = sqlite(control, &shop, "other");
    let row = AttachmentRow { var: "DATABASE_URL".parse().unwrap(), service: other };
    control.store.replace_attachments(shop.key.id, &[row]).unwrap();
    let (words, warnings) = deployed(control, &shop, "[services.db]\nkind = \"sqlite\"\n");
    assert_eq!(words, ["DATABASE_URL other"], "its user put another one there");
    assert!(warnings.is_empty(), "{warnings:?}");

    let both = "[services.other]\nkind = \"sqlite\"\n[services.db]\nkind = \"sqlite\"\n\
                attach = \"DATABASE_URL\"\n";
    let (_, warnings) = deployed(control, &shop, both);
    assert!(warnings[0].contains("`db` is not attached"), "{warnings:?}");
}

#[test]
fn a_declared_service_over_the_mount_of_another_is_refused_and_not_made() {
    let stand = Stand::new();
    let (control, shop) = (&stand.control, stand.stage());
    let service = sqlite(control, &shop, "other");
    let row = AttachmentRow { var: "OTHER_URL".parse().unwrap(), service };
    control.store.replace_attachments(shop.key.id, &[row]).unwrap();
    let toml = "[services.media]\nkind = \"volume\"\npath = \"/data/other\"\n";
    let (manifest, _) = AppManifest::read(Some(toml.as_bytes()), None).unwrap();
    let change = change(control, &shop, DeployKind::Deploy);
    let refused = attachments_of(&change, &ChangeRequest::default(), &manifest, &BTreeMap::new());
    assert!(matches!(refused, Err(ControlError::MountTaken { .. })));
    assert_eq!(control.store.services(shop.key.id).unwrap().len(), 1);
}
