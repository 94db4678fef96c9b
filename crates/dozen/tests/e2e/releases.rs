//! Releases from the user's chair: shown, run again as they were, changed by several at once.

use std::{process::Stdio, time::Duration};

use serde_json::Value;

use crate::{
    host::{Ran, TestHost, wait_for},
    project::Project,
};

/// A host that runs the small app `shop`, which commands mean.
fn shop() -> (TestHost, Project) {
    let mut host = TestHost::start();
    host.set_env("DOZEN_APP", "shop");
    let project = Project::small("shop");
    host.up(&project);
    (host, project)
}

/// The releases, the last one first.
fn releases(host: &TestHost) -> Vec<Value> {
    host.dozen(["releases", "--json"]).succeeds().json().as_array().expect("a list").clone()
}

const DOTENV: &str = "# of a developer's machine\nexport ANSWER=\"good day\"\nPORT=5000\nQUOTED='$HOME #1'\n";

#[test]
fn a_dotenv_file_becomes_one_release_of_the_same_image() {
    let (host, project) = shop();
    project.write(".env", DOTENV);
    let imported = host.dozen_in(project.folder(), ["config", "import", ".env"]).succeeds();
    assert_eq!(imported.stdout, "shop: v2, ANSWER, QUOTED set\n");
    assert!(
        imported.stderr.contains("warning: line 3: `PORT` is left out, dozen sets it\n"),
        "{imported:#?}"
    );
    assert!(host.get("shop", "/").body.starts_with("good day v2 "));
    assert_eq!(host.dozen(["config", "get", "QUOTED"]).succeeds().stdout, "$HOME #1\n");

    let made = releases(&host);
    assert_eq!(made.len(), 2, "{made:#?}");
    assert!(made[0]["image"].is_string(), "{made:#?}");
    assert_eq!(made[0]["image"], made[1]["image"], "config alone builds nothing");
    project.write("more", "").commit("another file");
    host.up(&project);
    assert_ne!(releases(&host)[0]["image"], made[0]["image"]);

    let stdin = std::fs::File::open(project.folder().join(".env")).expect("the file");
    let piped = host.command(["config", "import", "-"]).stdin(stdin).output().expect("the binary");
    assert_eq!(Ran::from(piped).succeeds().stdout, "shop: v4, ANSWER, QUOTED set\n");
}

#[test]
fn an_earlier_release_is_shown_and_run_with_its_own_files_and_config() {
    let (host, project) = shop();
    let first = project.git(&["rev-parse", "HEAD"]);
    host.dozen(["config", "set", "ANSWER=early", "ONLY_THEN=1"]).succeeds();
    project.write("Procfile", "web: /usr/bin/python3 server.py --new\n").commit("another Procfile");
    host.up(&project);
    host.dozen(["config", "set", "ANSWER=late"]).succeeds();
    host.dozen(["config", "unset", "ONLY_THEN"]).succeeds();

    let script = "cat Procfile; echo $DOZEN_RELEASE $ANSWER ${ONLY_THEN-unset}";
    let run = |words: &[&str]| {
        let words = ["run"].into_iter().chain(words.iter().copied());
        host.dozen(words.chain(["--", "sh", "-c", script])).succeeds().stdout
    };
    let old = "web: /usr/bin/python3 server.py\n";
    let new = "web: /usr/bin/python3 server.py --new\n";
    assert_eq!(run(&["--release", "v1"]), format!("{old}v1 unset\n"));
    assert_eq!(run(&["--release", "v2"]), format!("{old}v2 early 1\n"));
    assert_eq!(run(&["--release", "v3"]), format!("{new}v3 early 1\n"));
    assert_eq!(run(&[]), format!("{new}v5 late unset\n"));

    let shown = host.dozen(["releases", "info", "v2"]).succeeds().stdout;
    let of = |name: &str| {
        let line = shown.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in {shown}"))[name.len()..].trim().to_owned()
    };
    assert_eq!(of("release"), "v2 (live)");
    assert_eq!((of("change"), of("commit")), ("set ANSWER, ONLY_THEN".to_owned(), first.clone()));
    assert_eq!((of("config"), of("who")), ("ANSWER ONLY_THEN".to_owned(), crate::host::own_name()));
    assert_eq!(of("process"), "web x1: /usr/bin/python3 server.py");
    assert!(!shown.contains("early"), "of config vars only the names: {shown}");
    let info = host.dozen(["releases", "info", "v2", "--json"]).succeeds().json();
    assert_eq!(
        (info["summary"]["number"].as_u64(), info["summary"]["commit"].as_str()),
        (Some(2), Some(first.as_str()))
    );
    assert_eq!(info["config"], serde_json::json!(["ANSWER", "ONLY_THEN"]), "{info:#}");
    let unknown = host.dozen(["releases", "info", "v9"]).fails_with(1);
    assert!(unknown.stderr.contains("there is no release v9"), "{unknown:#?}");
}

#[test]
fn of_several_config_changes_at_once_none_is_lost() {
    let (host, _project) = shop();
    let names = ["A", "B", "C", "D"];
    let set = |name: &&str| {
        let mut command = host.command(["config", "set", &format!("{name}=of-{name}")]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary")
    };
    let changes: Vec<_> = names.iter().map(set).collect();
    for mut change in changes {
        wait_for("its end", Duration::from_secs(30), || change.try_wait().expect("its state"));
        Ran::from(change.wait_with_output().expect("its end")).succeeds();
    }
    let made = releases(&host);
    let numbers: Vec<u64> = made.iter().filter_map(|release| release["number"].as_u64()).collect();
    assert_eq!(numbers, [5, 4, 3, 2, 1], "a release for each");
    assert!(made.iter().all(|release| release["state"] == "live"), "{made:#?}");
    let config = host.dozen(["config", "export"]).succeeds().stdout;
    assert_eq!(config, "A='of-A'\nB='of-B'\nC='of-C'\nD='of-D'\n");
    let seen = host.dozen(["run", "--", "sh", "-c", "echo $A $B $C $D"]).succeeds().stdout;
    assert_eq!(seen, "of-A of-B of-C of-D\n");
    assert!(host.get("shop", "/").body.starts_with("hello v5 "));
}
