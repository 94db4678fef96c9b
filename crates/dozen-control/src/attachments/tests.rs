//! What is made for a service, and that no link of an app leads it elsewhere.

use std::os::unix::fs::symlink;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::*;
use crate::stand::Stand;

/// A plan of a SQLite service, and the folder of it.
fn planned(stand: &Stand) -> (ServicePlan, PathBuf) {
    let request = ServiceRequest::new("db".parse().unwrap(), ServiceKind::Sqlite);
    let plan = driver(ServiceKind::Sqlite).unwrap().plan(&request).unwrap();
    (plan, stand.control.services_folder(stand.key.id).join("db"))
}

/// The same, made, without its database: an app may unlink it.
fn without_database() -> (Stand, ServicePlan, PathBuf) {
    let stand = Stand::new();
    let (plan, folder) = planned(&stand);
    stand.control.make_service(&stand.key, &plan).unwrap();
    fs::remove_file(folder.join("db.sqlite3")).unwrap();
    (stand, plan, folder)
}

#[test]
fn in_an_app_s_folder_nothing_happens_but_that_a_complete_database_arrives() {
    let (stand, plan, folder) = without_database();
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, &folder, WatchFlags::ALL_EVENTS).unwrap();

    stand.control.make_service(&stand.key, &plan).unwrap();

    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let mut seen = Vec::new();
    while let Ok(event) = events.next() {
        if let Some(name) = event.file_name() {
            seen.push((name.to_string_lossy().into_owned(), event.events()));
        }
    }
    assert_eq!(seen, [("db.sqlite3".to_owned(), ReadFlags::MOVED_TO)]);
    let database = rusqlite::Connection::open(folder.join("db.sqlite3")).unwrap();
    let mode: String = database.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    assert_eq!(fs::read_dir(folder.parent().unwrap()).unwrap().count(), 1, "the workshop is gone");
}

#[test]
fn a_link_in_the_place_of_a_database_is_the_app_s_and_leads_nowhere() {
    let (stand, plan, folder) = without_database();
    let victim = stand.control.home.root().join("victim");
    symlink(&victim, folder.join("db.sqlite3")).unwrap();
    stand.control.make_service(&stand.key, &plan).unwrap();
    assert!(!victim.exists());
    assert!(folder.join("db.sqlite3").is_symlink());
}

#[test]
fn the_folder_of_a_service_is_never_a_link() {
    let (stand, plan, folder) = without_database();
    let elsewhere = stand.control.home.root().join("elsewhere");
    fs::rename(&folder, &elsewhere).unwrap();
    symlink(&elsewhere, &folder).unwrap();
    stand.control.make_service(&stand.key, &plan).unwrap_err();
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn what_a_killed_server_was_making_goes_at_the_next_start() {
    let (stand, _, folder) = without_database();
    let workshop = folder.with_file_name(".new-db");
    fs::create_dir(&workshop).unwrap();
    fs::write(workshop.join("db.sqlite3"), "half of it").unwrap();
    stand.control.complete_services(&stand.key).unwrap();
    assert!(!workshop.exists());
}
