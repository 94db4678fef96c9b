//! An older database in the place of a newer one: nothing that it does not know of is lost.

use std::{collections::BTreeSet, ffi::OsString, fs};

use crate::{
    host::{TestHost, wait_for},
    project::Project,
};

fn with_volume(name: &str) -> Project {
    let project = Project::small(name);
    // Two apps, two images.
    project
        .write("note", name)
        .write("dozen.toml", "[services.data]\nkind = \"volume\"\npath = \"/data/kept\"\n");
    project.commit("with a volume");
    project
}

#[test]
fn an_older_database_loses_no_data_of_newer_apps_and_mixes_nothing_up() {
    let mut host = TestHost::start();
    host.up(&with_volume("older"));
    let database = host.state().join("state.db");
    host.dozen(["server", "stop"]).succeeds();
    host.wait_for_control_end();
    let backup = host.home().join("backup.db");
    fs::copy(&database, &backup).unwrap();
    host.start_server();
    host.up(&with_volume("newer"));
    let write = "echo precious > /data/kept/file";
    host.dozen(["run", "-a", "newer", "--", "sh", "-c", write]).succeeds();
    host.dozen(["config", "set", "-a", "older", "ANSWER=forgotten"]).succeeds();

    host.dozen(["server", "stop", "--all"]).succeeds();
    host.wait_for_control_end();
    fs::copy(&backup, &database).unwrap();
    let images = images(&host);
    host.start_server();

    assert_eq!(images, self::images(&host), "the newer database may come back");
    let kept = files_named(&host, "file");
    assert_eq!(kept.len(), 1, "{kept:?}");
    let log = fs::read_to_string(host.home().join("server.log")).unwrap();
    let folder = kept[0].parent().unwrap().parent().unwrap();
    assert!(log.contains(&folder.display().to_string()), "its place is named: {log}");
    host.up(&with_volume("newer"));
    host.dozen(["run", "-a", "newer", "--", "sh", "-c", "! test -e /data/kept/file"]).succeeds();
    wait_for("the older app to serve", std::time::Duration::from_secs(30), || {
        host.get("older", "/").body.starts_with("hello v1 ").then_some(())
    });
    host.dozen(["config", "set", "-a", "older", "ANSWER=new"]).succeeds();
    assert!(host.get("older", "/").body.starts_with("new v2 "), "it was waited for");
    let events = fs::read_to_string(host.state().join("deploys/older/production/2.ndjson")).unwrap();
    assert_eq!(events.matches("\"finished\"").count(), 1, "those of the forgotten one are gone: {events}");
}

fn images(host: &TestHost) -> BTreeSet<OsString> {
    let images = fs::read_dir(host.state().join("images")).unwrap().flatten();
    images.map(|image| image.file_name()).collect()
}

fn files_named(host: &TestHost, name: &str) -> Vec<std::path::PathBuf> {
    let stages = fs::read_dir(host.state().join("services")).unwrap().flatten();
    stages.map(|stage| stage.path().join("data").join(name)).filter(|path| path.exists()).collect()
}
