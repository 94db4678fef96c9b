//! What a deploy is made of: a tag, an archive, uncommitted changes; and the build that makes it.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use crate::{
    crash::processes::nothing_is_left_over,
    host::{Ran, TestHost, only_root},
    project::Project,
};

/// A host without an app; commands mean the app `shop`.
fn host() -> TestHost {
    let mut host = TestHost::start();
    host.set_env("DOZEN_APP", "shop");
    host
}

/// Makes the small app answer with another word.
fn says<'a>(project: &'a Project, word: &str) -> &'a Project {
    let file = project.folder().join("server.py");
    let server = std::fs::read_to_string(file).expect("the server");
    let (head, rest) = server.split_once("\"ANSWER\", \"").expect("its answer");
    let (_, rest) = rest.split_once('"').expect("its end");
    project.write("server.py", &format!("{head}\"ANSWER\", \"{word}\"{rest}"))
}

/// The last deploy, as `builds --json` has it.
fn last_deploy(host: &TestHost) -> serde_json::Value {
    host.dozen(["builds", "--json"]).succeeds().json()[0].clone()
}

#[test]
fn a_tag_an_archive_and_uncommitted_changes_are_deployed() {
    let host = host();
    let project = Project::small("shop");
    let deploy = |words: &[&str]| {
        let words = ["deploy"].into_iter().chain(words.iter().copied());
        host.dozen_in(project.folder(), words).succeeds()
    };
    let answer = || host.get("shop", "/").body;
    says(&project, "tagged").commit("to be tagged");
    project.git(&["tag", "1.0"]);
    let tagged = project.git(&["rev-parse", "HEAD"]);
    says(&project, "committed").commit("after it");
    host.dozen(["create", "shop"]).succeeds();

    let told = deploy(&["1.0"]);
    assert_eq!(told.stdout, format!("shop: v1, http://shop.localhost:{}/\n", host.port()));
    assert!(answer().starts_with("tagged v1 "), "{told:#?}");
    let made = last_deploy(&host);
    assert_eq!(
        (made["source"]["commit"].as_str(), made["source"]["reference"].as_str()),
        (Some(tagged.as_str()), Some("1.0"))
    );
    deploy(&[]);
    assert!(answer().starts_with("committed v2 "), "the current commit, where none is named");

    for (name, release) in [("shop.tar.gz", "v3"), ("shop.zip", "v4")] {
        let archive = host.home().join(name).display().to_string();
        says(&project, name).commit(name);
        project.git(&["archive", "-o", &archive, "HEAD"]);
        deploy(&["--archive", &archive]);
        assert!(answer().starts_with(&format!("{name} {release} ")), "{}", answer());
        assert_eq!(last_deploy(&host)["source"]["reference"], name);
    }

    says(&project, "uncommitted");
    let told = deploy(&["--dirty"]);
    assert!(answer().starts_with("uncommitted v5 "));
    assert!(told.stderr.contains(" with uncommitted changes "), "{told:#?}");
    assert_eq!(last_deploy(&host)["source"]["dirty"], true);
    let releases = host.dozen(["releases"]).succeeds().stdout;
    assert!(
        releases.contains("*  v5       deploy ") && releases.contains(" with uncommitted changes "),
        "{releases}"
    );
    assert_eq!(releases.matches("uncommitted").count(), 1, "{releases}");
}

/// An app whose build runs this command.
fn with_build_command(command: &str) -> Project {
    let project = Project::small("shop");
    project
        .write("requirements.txt", "")
        .write("dozen.toml", &format!("[build]\ncommand = \"{command}\"\n"))
        .commit("with a build command");
    project
}

/// Begins to deploy and waits until a line of the build has come.
#[track_caller]
fn deploy_up_to(host: &TestHost, project: &Project, mark: &str) -> (Child, BufReader<impl std::io::Read>) {
    let mut command = host.command(["deploy"]);
    let mut child = command
        .current_dir(project.folder())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    let mut lines = BufReader::new(child.stderr.take().expect("its stderr"));
    let mut told = String::new();
    while !told.ends_with(&format!(" {mark}\n")) {
        assert_ne!(lines.read_line(&mut told).expect("text"), 0, "no `{mark}` in {told}");
    }
    (child, lines)
}

#[test]
fn a_running_build_is_cancelled_by_its_number() {
    let host = host();
    host.up(&Project::small("shop"));
    let project = with_build_command("echo begun; sleep 60");
    let (child, mut lines) = deploy_up_to(&host, &project, "begun");
    assert_eq!(last_deploy(&host)["state"], "running");

    let cancelled = host.dozen(["builds", "cancel", "2"]).succeeds();
    assert_eq!(cancelled.stdout, "shop: deploy 2 is cancelled\n");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).expect("text");
    Ran::from(child.wait_with_output().expect("its end")).fails_with(130);
    assert!(rest.ends_with("cancelled; what ran before goes on\n"), "{rest}");
    assert_eq!(last_deploy(&host)["state"], "cancelled");
    assert!(host.get("shop", "/").body.starts_with("hello v1 "));
    nothing_is_left_over(&host, &["shop"]);

    let again = host.dozen(["builds", "cancel", "2"]).fails_with(1);
    assert!(again.stderr.starts_with("error: deploy 2 cannot be cancelled any more"), "{again:#?}");
}

#[test]
fn each_build_runs_as_a_user_of_its_own() {
    if !only_root("gives a build a user") {
        return;
    }
    let host = host();
    let project = with_build_command("echo built by $(id -u)");
    let user = |build: &str| -> u32 {
        project.commit("another build");
        host.up(&project);
        let log = host.dozen(["builds", build]).succeeds().stderr;
        let line = log.lines().find_map(|line| line.trim().strip_prefix("built by ")).expect(&log);
        line.parse().expect(&log)
    };
    says(&project, "first");
    let first = user("1");
    says(&project, "second");
    let second = user("2");
    assert!(first >= 100_000 && second >= 100_000 && first != second, "{first} and {second}");
}
