//! The store's promises, each once.

use super::*;
use crate::api::wire::DeploySource;
use dozen_model::{digest::Digest, formation::Formation, release::ReleaseNumber};
use dozen_run::ExitReason;

fn store() -> (tempfile::TempDir, Store, i64) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state.db")).unwrap();
    store.create_app(&"blango".parse().unwrap()).unwrap();
    let stage = store.stages().unwrap()[0].key.id;
    (folder, store, stage)
}

fn queue(store: &Store, stage: i64, kind: DeployKind) -> DeployRow {
    queued(store, stage, kind).0
}

fn queued(store: &Store, stage: i64, kind: DeployKind) -> (DeployRow, Vec<i64>) {
    let source = DeploySource::default();
    let new = NewDeploy { kind, source: &source, sealed_request: None, who: "me" };
    let queued = store.queue_deploy(stage, &new, |_| Ok(())).unwrap();
    (queued.deploy, queued.superseded)
}

fn launch(store: &Store, stage: i64, id: &str, purpose: Purpose) -> u32 {
    store.add_launch(&launch_row(stage, id, purpose)).unwrap()
}

fn launch_row(stage: i64, id: &str, purpose: Purpose) -> LaunchRow {
    LaunchRow {
        id: id.into(),
        stage,
        purpose,
        name: if purpose == Purpose::OneOff { "run.1" } else { "web.1" }.parse().unwrap(),
        release: ReleaseNumber(1),
        deploy: None,
        port: None,
        state: LaunchState::Starting,
        sealed_command: None,
        who: None,
        outcome: None,
        created_at: 0,
    }
}

fn release(store: &Store, stage: i64, deploy: i64, image: &Digest) -> ReleaseNumber {
    let formation = Formation::default();
    let new = NewRelease { deploy, image, formation: &formation, change: "deploy", who: "me", commit: None };
    store.add_release(stage, &new, |_| vec![1]).unwrap()
}

#[test]
fn a_release_can_be_neither_changed_nor_deleted() {
    let (_folder, store, stage) = store();
    let deploy = queue(&store, stage, DeployKind::Deploy);
    release(&store, stage, deploy.id, &Digest::of(b"image"));
    assert!(store.lock().execute("UPDATE releases SET who = 'x'", []).is_err());
    assert!(store.lock().execute("DELETE FROM releases", []).is_err());
    store.delete_app(&"blango".parse().unwrap()).unwrap();
    let left: i64 = store.lock().query_row("SELECT COUNT(*) FROM releases", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0, "they go with their app");
}

#[test]
fn a_newer_push_replaces_an_older_queued_one_and_nothing_else() {
    let (_folder, store, stage) = store();
    let running = queue(&store, stage, DeployKind::Deploy);
    store.begin_deploy(running.id).unwrap();
    let config = queue(&store, stage, DeployKind::Config);
    let older = queue(&store, stage, DeployKind::Deploy);
    let (newer, superseded) = queued(&store, stage, DeployKind::Deploy);
    assert_eq!(superseded, [older.id]);
    let open: Vec<i64> = store.open_deploys(stage).unwrap().iter().map(|deploy| deploy.id).collect();
    assert_eq!(open, [running.id, config.id, newer.id]);
}

#[test]
fn a_deploy_that_has_ended_neither_begins_nor_ends_again() {
    let (_folder, store, stage) = store();
    let older = queue(&store, stage, DeployKind::Deploy);
    queue(&store, stage, DeployKind::Deploy);
    assert!(!store.begin_deploy(older.id).unwrap(), "a newer one took its place");
    store.end_deploy(older.id, DeployState::Failed, None).unwrap();
    assert_eq!(store.deploy(older.id).unwrap().unwrap().state, DeployState::Superseded);
}

#[test]
fn a_launch_goes_on_and_never_back() {
    let (_folder, store, stage) = store();
    launch(&store, stage, "a", Purpose::Service);
    assert!(store.set_launch_state("a", LaunchState::Serving).unwrap());
    assert!(store.set_launch_state("a", LaunchState::Draining).unwrap());
    assert!(!store.set_launch_state("a", LaunchState::Serving).unwrap(), "it is out of rotation");
    store.end_launch("a", "exit status 3").unwrap();
    store.end_launch("a", "gone").unwrap();
    assert!(!store.set_launch_state("a", LaunchState::Draining).unwrap());
    let row = store.launch("a").unwrap().unwrap();
    assert_eq!((row.state, row.exit()), (LaunchState::Ended, Some(ExitReason::Status(3))));
}

#[test]
fn an_instance_stays_in_service_when_its_successor_has_ended() {
    let (_folder, store, stage) = store();
    for id in ["old", "new"] {
        launch(&store, stage, id, Purpose::Service);
    }
    store.set_launch_state("old", LaunchState::Serving).unwrap();
    store.end_launch("new", "gone").unwrap();
    let new = launch_row(stage, "new", Purpose::Service);
    let refused = store.swap_launches(&new, "old").unwrap_err();
    assert_eq!(refused.to_string(), "there is no process `web.1`");
    assert_eq!(store.launch("old").unwrap().unwrap().state, LaunchState::Serving);
    assert_eq!(store.launch("new").unwrap().unwrap().state, LaunchState::Ended);
}

#[test]
fn a_one_off_process_gets_its_number_with_its_row() {
    let (_folder, store, stage) = store();
    assert_eq!(launch(&store, stage, "a", Purpose::OneOff), 1);
    assert_eq!(launch(&store, stage, "b", Purpose::OneOff), 2);
    store.end_launch("b", "exit status 0").unwrap();
    assert_eq!(launch(&store, stage, "c", Purpose::OneOff), 3);
    assert_eq!(store.launch("c").unwrap().unwrap().name.number, 3);
}

#[test]
fn a_row_whose_files_cannot_be_kept_does_not_exist() {
    let (_folder, store, stage) = store();
    let source = DeploySource::default();
    let new = NewDeploy { kind: DeployKind::Deploy, source: &source, sealed_request: None, who: "me" };
    assert!(store.queue_deploy(stage, &new, |_| Err(ControlError::Cancelled)).is_err());
    assert!(store.deploys(stage, 10).unwrap().is_empty());
}

#[test]
fn a_domain_has_one_owner() {
    let (_folder, store, stage) = store();
    store.create_app(&"other".parse().unwrap()).unwrap();
    let other = store.stages().unwrap().iter().find(|row| row.key.app.as_str() == "other").unwrap().key.id;
    let domain = "blog.example.org".parse().unwrap();
    store.add_domain(stage, &domain).unwrap();
    store.add_domain(stage, &domain).unwrap();
    assert!(matches!(store.add_domain(other, &domain), Err(ControlError::DomainTaken { .. })));
}

#[test]
fn an_unknown_app_comes_with_the_nearest_name() {
    let (_folder, store, _) = store();
    let error = store.stage(&"blanko".parse().unwrap(), &"production".parse().unwrap()).unwrap_err();
    assert!(
        matches!(error, ControlError::NoSuchApp { nearest: Some(ref name), .. } if name == "blango"),
        "{error:?}"
    );
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let (folder, store, _) = store();
    drop(store);
    let path = folder.path().join("state.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(Store::open(&path), Err(ControlError::NewerSchema { found: 99, .. })));
    assert!(std::fs::read(&path).unwrap() == before, "it was changed");
}

#[test]
fn a_damaged_database_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    assert!(matches!(Store::open(&path), Err(ControlError::DamagedStore { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), vec![b'x'; 8192]);
}

#[test]
fn images_of_the_last_releases_and_of_what_runs_are_in_use() {
    let (_folder, store, stage) = store();
    let images: Vec<Digest> = (0..4_u8).map(|n| Digest::of(&[n])).collect();
    for image in &images {
        let deploy = queue(&store, stage, DeployKind::Deploy);
        release(&store, stage, deploy.id, image);
        store.end_deploy(deploy.id, DeployState::Succeeded, None).unwrap();
    }
    let live =
        GoLive { stage, release: ReleaseNumber(1), config: &[], attachments: &[], domains: &[], start: None };
    store.make_current(&live).unwrap();
    let used = store.images_in_use(2).unwrap();
    assert!(used.contains(&images[0]) && used.contains(&images[2]) && used.contains(&images[3]));
    assert!(!used.contains(&images[1]), "neither recent nor serving");
}

#[test]
fn an_image_is_an_apps_own_while_no_other_app_names_it() {
    let (_folder, store, stage) = store();
    store.create_app(&"other".parse().unwrap()).unwrap();
    let other = store.stages().unwrap().into_iter().find(|row| row.key.id != stage).unwrap().key.id;
    let [released, built, shared, foreign] = [0_u8, 1, 2, 3].map(|n| Digest::of(&[n]));
    for (stage, image) in [(stage, &released), (stage, &shared), (other, &shared), (other, &foreign)] {
        let deploy = queue(&store, stage, DeployKind::Deploy);
        release(&store, stage, deploy.id, image);
        store.end_deploy(deploy.id, DeployState::Succeeded, None).unwrap();
    }
    let cut_off = queue(&store, stage, DeployKind::Deploy);
    store.set_deploy_image(cut_off.id, &built).unwrap();

    let own = store.images_only_of(&"blango".parse().unwrap()).unwrap();
    assert_eq!(own, [released, built].into());
}

#[test]
fn nothing_begins_for_an_app_that_is_to_be_destroyed() {
    let (_folder, store, stage) = store();
    let app = "blango".parse().unwrap();
    assert_eq!(store.doom_app(&app).unwrap().len(), 1);
    assert_eq!(store.doom_app(&app).unwrap()[0].key.id, stage, "twice is fine");

    let doomed = |error: ControlError| matches!(error, ControlError::Doomed { .. });
    assert!(doomed(store.create_app(&app).unwrap_err()));
    assert!(doomed(store.stage(&app, &"production".parse().unwrap()).unwrap_err()));
    assert!(doomed(store.add_domain(stage, &"blog.example.org".parse().unwrap()).unwrap_err()));
    let source = DeploySource::default();
    let new = NewDeploy { kind: DeployKind::Deploy, source: &source, sealed_request: None, who: "me" };
    assert!(doomed(store.queue_deploy(stage, &new, |_| Ok(())).unwrap_err()));
    let service = ServiceRow {
        id: 0,
        name: "db".parse().unwrap(),
        kind: "sqlite".into(),
        path: None,
        sealed_url: None,
        created_at: 0,
    };
    assert!(doomed(store.create_service(stage, &service).unwrap_err()));
    let launch = launch_row(stage, "abc", Purpose::OneOff);
    assert!(doomed(store.add_launch(&launch).unwrap_err()));

    assert!(store.apps().unwrap().is_empty(), "nobody sees it");
    assert_eq!(store.doomed_apps().unwrap(), std::slice::from_ref(&app));
    store.delete_app(&app).unwrap();
    store.create_app(&app).unwrap();
}

#[test]
fn declared_domains_come_with_the_release_and_those_of_others_are_named() {
    let (_folder, store, stage) = store();
    store.create_app(&"other".parse().unwrap()).unwrap();
    let other = store.stages().unwrap().iter().find(|row| row.key.app.as_str() == "other").unwrap().key.id;
    store.add_domain(other, &"taken.example.org".parse().unwrap()).unwrap();
    let deploy = queue(&store, stage, DeployKind::Deploy);
    let release = release(&store, stage, deploy.id, &Digest::of(b"image"));
    let domains = ["taken.example.org".parse().unwrap(), "blog.example.org".parse().unwrap()];
    let live = GoLive { stage, release, config: &[], attachments: &[], domains: &domains, start: None };

    let left_out = store.make_current(&live).unwrap();

    assert!(matches!(&left_out[..], [ControlError::DomainTaken { .. }]), "{left_out:?}");
    assert_eq!(store.domains(stage).unwrap(), domains[1..]);
    assert_eq!(store.domains(other).unwrap(), domains[..1]);
}

#[test]
fn a_rollback_returns_to_the_newest_release_that_served() {
    let (_folder, store, stage) = store();
    for number in 1..=4 {
        let deploy = queue(&store, stage, DeployKind::Deploy);
        let release = release(&store, stage, deploy.id, &Digest::of(b"image"));
        if number == 3 {
            store.fail_release(stage, release).unwrap();
            continue;
        }
        let (config, attachments, domains) = (&[], &[], &[]);
        store.make_current(&GoLive { stage, release, config, attachments, domains, start: None }).unwrap();
    }
    let before = |number| store.live_before(stage, ReleaseNumber(number)).unwrap().map(|row| row.number.0);
    assert_eq!([before(4), before(2), before(1)], [Some(2), Some(1), None]);
}

#[test]
fn a_migration_that_cannot_run_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    // Another table of that name is in the way of the first migration.
    connection.execute_batch("CREATE TABLE apps (x)").unwrap();
    drop(connection);
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, ControlError::Store(_)), "{error}");
}

#[test]
fn a_change_that_waits_needs_the_key_that_sealed_it() {
    let (_folder, store, stage) = store();
    assert!(!store.has_secrets().unwrap());
    let source = DeploySource::default();
    let new = NewDeploy {
        kind: DeployKind::Config,
        source: &source,
        sealed_request: Some(&|_| vec![1]),
        who: "me",
    };
    store.queue_deploy(stage, &new, |_| Ok(())).unwrap();
    assert!(store.has_secrets().unwrap());
}

#[test]
fn a_deploy_does_not_start_what_was_stopped_after_it_was_asked_for() {
    let (_folder, store, stage) = store();
    let go_live = |deploy: i64| {
        let release = release(&store, stage, deploy, &Digest::of(b"image"));
        let (config, attachments, domains, start) = (&[], &[], &[], Some(deploy));
        store.make_current(&GoLive { stage, release, config, attachments, domains, start }).unwrap();
        store.stage_by_id(stage).unwrap().unwrap().stopped
    };
    let before = queue(&store, stage, DeployKind::Deploy).id;
    store.set_stopped(stage, true).unwrap();
    assert!(go_live(before));
    let after = queue(&store, stage, DeployKind::Deploy).id;
    assert!(!go_live(after));
}
