//! Builds that fail, or are interrupted.

use super::{
    Page,
    apps::{interrupted, without_times},
    host,
};
use crate::{host::Ran, project::Project};

const LOCK_WITHOUT_SIX: &str = r#"version = 1
revision = 2
requires-python = ">=3.9"

[[package]]
name = "shop"
version = "1"
source = { virtual = "." }
"#;

/// One host for all: the runtime is copied once.
#[test]
fn a_build_that_fails_or_is_interrupted_says_so_and_never_prints_config() {
    let host = host();
    let mut page = Page::of(&host);
    let secret = "value-of-the-config-var";
    host.dozen(["create", "shop"]).succeeds();
    host.dozen(["config", "set", "-a", "shop", &format!("TOKEN={secret}")]).succeeds();

    let project = Project::small("shop");
    project.write("requirements.txt", "").write("token.txt", secret);
    project.write(
        "dozen.toml",
        "[build]\ncommand = \"cat token.txt; echo \\\" x$(cat token.txt)y\\\"; exit 4\"\n",
    );
    project.commit("a build that prints what it should not");
    page.add(
        "a build command that fails",
        &told_from("  … Making", host.dozen_in(project.folder(), ["up", "."])),
    );
    let kept = host.dozen(["builds", "-a", "shop", "1"]);
    let logs = host.dozen(["logs", "-a", "shop"]);

    project.write("dozen.toml", "[build]\ncommand = \"echo begun; sleep 60\"\n").commit("a slow build");
    page.add("Ctrl-C in a build", &without_times(interrupted(&host, project.folder(), "begun")));
    let builds = host.dozen(["builds", "-a", "shop", "--json"]).succeeds().json();
    assert_eq!(builds[0]["state"], "cancelled", "{builds:#}");

    project.git(&["rm", "-q", "requirements.txt", "dozen.toml"]);
    let needs_six = "[project]\nname = \"shop\"\nversion = \"1\"\nrequires-python = \">=3.9\"\ndependencies = [\"six\"]\n";
    project.write("pyproject.toml", needs_six).write("uv.lock", LOCK_WITHOUT_SIX).commit("an old lock");
    let ran = host.dozen_in(project.folder(), ["up", "."]);
    page.add("a lock that does not match", &told_from("      error: The lockfile", ran));

    for (what, text) in [("page", &page.text), ("kept log", &kept.stderr), ("log", &logs.stdout)] {
        assert!(!text.contains(secret), "{what}: {text}");
    }
    assert!(kept.stderr.contains("x[redacted]y"), "{kept:#?}");
    insta::assert_snapshot!(page.text);
}

#[test]
fn a_release_phase_that_writes_much_is_told_in_part_and_logged_to_its_end() {
    let host = host();
    let project = Project::small("shop");
    let phase =
        "release: /usr/bin/python3 -c \"[print('x' * 99) for _ in range(90000)]; print('at its end')\"\n";
    project
        .write("Procfile", &format!("web: /usr/bin/python3 server.py\n{phase}"))
        .commit("a talkative phase");
    let told = host.up(&project).stderr;
    let rest = "(more than 4 MiB of output; the rest is in `dozen logs`)";
    assert_eq!(told.matches(rest).count(), 1);
    assert!(!told.lines().any(|line| line.trim() == "at its end"));
    let kept = host.state().join("deploys/shop/production/1.ndjson");
    let bytes = std::fs::metadata(kept).expect("the deploy's events").len();
    assert!(bytes < 5 << 20, "{bytes} bytes are kept");
    assert!(host.dozen(["logs", "-a", "shop"]).succeeds().stdout.contains("at its end"));
}

/// What was told from this line on; above it tools say how long they took.
#[track_caller]
fn told_from(line: &str, mut ran: Ran) -> Ran {
    let from = ran.stderr.find(line).unwrap_or_else(|| panic!("no `{line}` in {ran:#?}"));
    ran.stderr.drain(..from);
    ran
}
