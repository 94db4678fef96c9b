//! `git push` deploys: accepted, refused, from a folder, and over ssh.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::channel,
    time::{Duration, Instant},
};

use crate::{
    host::{Ran, TestHost, binary},
    project::Project,
};

/// A host whose push repositories lie in its own folder.
fn host() -> TestHost {
    let mut host = TestHost::start();
    let data = host.home().join("data");
    host.set_env("XDG_DATA_HOME", &data.to_string_lossy());
    host
}

/// Git as the pushing user runs it.
fn git(host: &TestHost, folder: &Path, words: &[&str]) -> Ran {
    let mut command = Command::new("git");
    command.args(words).current_dir(folder).env("XDG_DATA_HOME", host.home().join("data"));
    for name in ["DOZEN_HOME", "DOZEN_RUN", "DOZEN_SERVER", "DOZEN_APP", "DOZEN_STAGE", "XDG_RUNTIME_DIR"] {
        command.env_remove(name);
    }
    command.output().expect("git").into()
}

#[test]
fn a_push_deploys_and_the_next_one_replaces_it() {
    let host = host();
    let project = Project::small("shop");
    let created = host.dozen_in(project.folder(), ["create"]).succeeds();
    assert_eq!(created.stdout, "created shop\n`git push dozen main` deploys shop\n");

    let pushed = git(&host, project.folder(), &["push", "dozen", "main"]).succeeds();
    assert!(pushed.stderr.contains(&format!("remote: shop: v1, http://shop.localhost:{}/", host.port())));
    assert!(host.get("shop", "/").body.starts_with("hello v1 "));

    project.commit("second");
    git(&host, project.folder(), &["push", "dozen", "main"]).succeeds();
    assert!(host.get("shop", "/").body.starts_with("hello v2 "));

    // The remote says which app is meant.
    let releases = host.dozen_in(project.folder(), ["releases"]).succeeds();
    assert!(releases.stdout.starts_with("   RELEASE"), "{releases:#?}");
}

#[test]
fn a_push_that_does_not_get_ready_is_refused_with_the_reason() {
    let host = host();
    let project = Project::small("shop");
    host.dozen_in(project.folder(), ["create"]).succeeds();
    git(&host, project.folder(), &["push", "dozen", "main"]).succeeds();

    project.write("server.py", "raise SystemExit('no such luck')\n").commit("broken");
    let refused = git(&host, project.folder(), &["push", "dozen", "main"]).fails_with(1);
    for said in ["no such luck", "remote: error: web.1 did not get ready", "[remote rejected] main -> main"] {
        assert!(refused.stderr.contains(said), "{said}: {refused:#?}");
    }
    assert!(host.get("shop", "/").body.starts_with("hello v1 "), "what served before serves on");

    // Git has not taken the commit, so the same one can be tried again.
    let again = git(&host, project.folder(), &["push", "dozen", "main"]).fails_with(1);
    assert!(again.stderr.contains("no such luck"), "{again:#?}");
}

#[test]
fn a_push_whose_release_phase_fails_moves_neither_the_app_nor_the_branch() {
    let host = host();
    let project = Project::small("shop");
    host.dozen_in(project.folder(), ["create"]).succeeds();
    git(&host, project.folder(), &["push", "dozen", "main"]).succeeds();
    let branches = || git(&host, project.folder(), &["ls-remote", "dozen"]).succeeds().stdout;
    let before = branches();
    assert!(
        before.contains(&format!("{}\trefs/heads/main\n", project.git(&["rev-parse", "HEAD"]))),
        "{before}"
    );

    let phase = "release: echo migrating 7 rows; exit 3\nweb: /usr/bin/python3 server.py\n";
    project.write("Procfile", phase).commit("fails to migrate");
    let refused = git(&host, project.folder(), &["push", "dozen", "main"]).fails_with(1);
    for said in [
        "migrating 7 rows",
        "remote: error: the release phase ended with exit status 3",
        "[remote rejected] main -> main",
    ] {
        assert!(refused.stderr.contains(said), "{said}: {refused:#?}");
    }
    assert_eq!(branches(), before);
    assert!(host.get("shop", "/").body.starts_with("hello v1 "), "what served before serves on");

    project.write("Procfile", "web: /usr/bin/python3 server.py\n").commit("mended");
    git(&host, project.folder(), &["push", "dozen", "main"]).succeeds();
    assert!(host.get("shop", "/").body.starts_with("hello v3 "), "the failed one keeps its number");
    assert_ne!(branches(), before);
}

#[test]
fn a_second_app_does_not_take_the_remote_of_the_first() {
    let host = host();
    let project = Project::small("shop");
    host.dozen_in(project.folder(), ["create"]).succeeds();
    let before = project.git(&["remote", "-v"]);
    let refused = host.dozen_in(project.folder(), ["create", "other"]).fails_with(1);
    assert_eq!(
        refused.stderr,
        "error: the Git remote `dozen` of this repository deploys shop already\n\
         hint: give this one another name with `--remote`, or `git remote remove dozen` first\n"
    );
    assert_eq!(project.git(&["remote", "-v"]), before);
    let apps = host.dozen(["apps", "--json"]).succeeds().json();
    assert_eq!(apps.as_array().map(Vec::len), Some(1), "no app was made: {apps}");

    host.dozen_in(project.folder(), ["create", "--existing"]).succeeds();
    let staging = ["create", "--existing", "--stage", "staging"];
    host.dozen_in(project.folder(), staging).fails_with(1);
    host.dozen_in(project.folder(), staging.into_iter().chain(["--remote", "staging"])).succeeds();
    assert_eq!(project.git(&["remote"]), "dozen\nstaging");
}

/// A release phase that ends when the file `go` is on its volume.
const WAITS: &str = "release: echo begun; while [ ! -e /data/gate/go ]; do sleep 0.02; done; echo gone on\n\
                     web: /usr/bin/python3 server.py\n";

#[test]
fn the_lines_of_a_release_phase_come_while_it_runs() {
    let host = host();
    let project = Project::small("shop");
    project
        .write("Procfile", WAITS)
        .write("dozen.toml", "[services.gate]\nkind = \"volume\"\n")
        .commit("waits");
    host.dozen_in(project.folder(), ["create"]).succeeds();
    let go = host.state().join("services/1/gate/go");
    let mut up = host.command(["up", "."]);
    up.current_dir(project.folder());
    let mut push = Command::new("git");
    push.args(["push", "dozen", "main"]).current_dir(project.folder());
    push.env("XDG_DATA_HOME", host.home().join("data"));
    for (name, mut command) in [("up", up), ("git push", push)] {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect(name);
        let lines = BufReader::new(child.stderr.take().expect("its stderr")).lines().map_while(Result::ok);
        let (sender, receiver) = channel();
        std::thread::spawn(move || lines.into_iter().try_for_each(|line| sender.send(line)));
        let deadline = Instant::now() + Duration::from_secs(60);
        let next = || receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
        let begun = std::iter::from_fn(next).any(|line| line.trim_end().ends_with("      begun"));
        // Also a phase that was not heard is let go.
        fs::write(&go, "").expect("the file that it waits for");
        assert!(begun, "{name}: its line comes before its end, which waits for us");
        let rest: Vec<String> = receiver.into_iter().collect();
        let told = |text: &str| rest.iter().filter(|line| line.trim_end().ends_with(text)).count();
        assert_eq!((told("      begun"), told("      gone on")), (0, 1), "{name}: each line once: {rest:#?}");
        assert!(child.wait().expect("its end").success(), "{name}: {rest:#?}");
        fs::remove_file(&go).expect("the next one waits again");
        project.commit("another");
    }
}

#[test]
fn main_and_master_are_deployed_tags_come_along_and_others_are_refused() {
    let host = host();
    let project = Project::small("shop");
    host.dozen_in(project.folder(), ["create"]).succeeds();
    let push = |what: &str| git(&host, project.folder(), &["push", "dozen", what]);

    let refused = push("main:topic").fails_with(1);
    assert!(refused.stderr.contains("`topic` is not deployed, only main, master and production"));
    assert!(refused.stderr.contains("hint: push it as main: `git push dozen topic:main`"), "{refused:#?}");
    push("main:master").succeeds();
    project.git(&["tag", "v1.0"]);
    let tagged = push("v1.0").succeeds();
    assert!(tagged.stderr.contains("only tags: nothing to deploy"), "{tagged:#?}");
    assert!(host.get("shop", "/").body.starts_with("hello v1 "), "a tag alone makes no release");

    let kept = push(":master").fails_with(1);
    assert!(
        kept.stderr.contains("[remote rejected]") || kept.stderr.contains("cannot be deleted"),
        "{kept:#?}"
    );
}

#[test]
fn an_app_in_a_folder_of_its_repository_is_pushed_from_there() {
    let host = host();
    let project = Project::small("mono");
    let below = project.folder().join("apps").join("the shop");
    fs::create_dir_all(&below).expect("a folder");
    for name in ["Procfile", "server.py"] {
        fs::rename(project.folder().join(name), below.join(name)).expect("moved");
    }
    project.commit("moved");

    host.dozen_in(&below, ["create", "shop"]).succeeds();
    let pushed = git(&host, &below, &["push", "dozen", "main"]);
    pushed.succeeds();
    assert!(host.get("shop", "/").body.starts_with("hello v1 "));
}

/// A stand-in for ssh and its server: what it is told to run runs here, with an environment of its own.
fn ssh_to(host: &TestHost) -> PathBuf {
    let there = host.home().join("there");
    fs::create_dir_all(&there).expect("a folder for programs");
    symlink(binary(), there.join("dozen")).expect("dozen on the other machine");
    let here = host.home().join("here");
    fs::create_dir_all(&here).expect("a folder for ssh");
    let script = format!(
        "#!/bin/sh\nwhile :; do case $1 in -p|-o) shift 2;; --) shift;; -*) shift;; *) break;; esac; done\n\
         [ \"$1\" = ann@far.example ] || exit 255\nshift\n\
         exec env -i HOME='{home}' DOZEN_HOME='{state}' PATH='{there}':/usr/local/bin:/usr/bin:/bin sh -c \"$*\"\n",
        home = host.home().display(),
        state = host.state().display(),
        there = there.display(),
    );
    fs::write(here.join("ssh"), script).expect("a script");
    fs::set_permissions(here.join("ssh"), fs::Permissions::from_mode(0o755)).expect("made executable");
    here
}

/// Runs a command here whose server is there.
fn run_far(host: &TestHost, here: &Path, folder: &Path, words: &[&str]) -> Ran {
    let mut command = host.command(words.iter().copied());
    // Nothing of the server's folders is known on this side.
    command.env("DOZEN_HOME", host.home().join("elsewhere")).env("PATH", path_with(here));
    command.env("DOZEN_SERVER", "ssh://ann@far.example").current_dir(folder);
    command.output().expect("dozen").into()
}

fn path_with(here: &Path) -> String {
    format!("{}:/usr/local/bin:/usr/bin:/bin", here.display())
}

#[test]
fn a_server_is_stopped_over_ssh() {
    let mut host = TestHost::start();
    let here = ssh_to(&host);
    let far = |words: &[&str]| run_far(&host, &here, host.home(), words);
    far(&["server"]).succeeds();
    let began = Instant::now();
    let stopped = far(&["server", "stop"]).succeeds();
    assert!(stopped.stdout.contains("are stopped"), "{stopped:#?}");
    assert!(began.elapsed() < Duration::from_secs(30), "{stopped:#?}");
    let gone = far(&["apps"]).fails_with(1);
    assert!(gone.stderr.contains("no server is running at `ssh://ann@far.example`"), "{gone:#?}");
    assert!(gone.stderr.contains("start it there"), "{gone:#?}");
    host.wait_for_control_end();
}

#[test]
fn verbs_and_pushes_reach_a_server_over_ssh() {
    let host = TestHost::start();
    let here = ssh_to(&host);
    let project = Project::small("shop");
    let path = path_with(&here);
    let far = |words: &[&str]| run_far(&host, &here, project.folder(), words);
    far(&["create"]).succeeds();
    assert_eq!(project.git(&["remote", "get-url", "dozen"]), "ssh://ann@far.example/shop--production.git");
    let mut push = Command::new("git");
    push.args(["push", "dozen", "main"]).current_dir(project.folder());
    push.env("GIT_SSH_COMMAND", here.join("ssh"));
    let pushed = Ran::from(push.output().expect("git")).succeeds();
    assert!(pushed.stderr.contains("remote: shop: v1"), "{pushed:#?}");

    far(&["config", "set", "ANSWER=far"]).succeeds();
    assert!(host.get("shop", "/").body.starts_with("far v2 "));
    let ran = far(&["run", "--", "sh", "-c", "echo $ANSWER; exit 5"]).fails_with(5);
    assert_eq!(ran.stdout, "far\n", "{ran:#?}");
    far(&["deploy"]).succeeds();
    assert!(host.get("shop", "/").body.starts_with("far v3 "));

    let lost =
        host.command(["apps"]).env("DOZEN_SERVER", "ssh://nobody@far.example").env("PATH", &path).output();
    let lost = Ran::from(lost.expect("dozen")).fails_with(1);
    assert!(lost.stderr.starts_with("error: "), "{lost:#?}");
}
