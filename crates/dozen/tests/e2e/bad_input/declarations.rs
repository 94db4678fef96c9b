//! Procfile, dozen.toml and lock files with mistakes.

use std::os::unix::fs::symlink;

use super::{Page, host};
use crate::{host::Ran, project::Project};

#[test]
fn a_procfile_with_a_mistake_is_refused_by_line() {
    let host = host();
    let mut page = Page::of(&host);
    for (case, text) in [
        ("a line that is no process", "web: ./server\ngunicorn shop.wsgi\n"),
        ("a name that comes twice", "web: ./server\n\nworker: ./work\nweb: ./other\n"),
        (
            "the mark of a merge",
            "worker: ./work\n<<<<<<< HEAD\nweb: ./server\n=======\nweb: ./other\n>>>>>>> x\n",
        ),
        ("no command", "web:\n"),
        ("a control character", "web: ./server \u{1b}[2J\n"),
    ] {
        page.add_up(&host, case, &Project::with("shop", &[("Procfile", text)]));
    }
    insta::assert_snapshot!(page.text);
}

#[test]
fn a_declaration_that_is_a_link_out_is_neither_followed_nor_quoted() {
    let host = host();
    let mut page = Page::of(&host);
    let secret = host.home().join("secret");
    std::fs::write(&secret, "root-only words\n").unwrap();
    for name in ["Procfile", "dozen.toml", "uv.lock"] {
        let project = Project::small("shop");
        project.write("pyproject.toml", "[project]\nname = \"shop\"\nversion = \"1\"\n");
        let file = project.folder().join(name);
        let _ = std::fs::remove_file(&file);
        symlink(&secret, &file).unwrap();
        project.commit("a link");
        page.add_up(&host, name, &project);
    }
    insta::assert_snapshot!(page.text);
    assert!(!page.text.contains("root-only"), "{}", page.text);
    let kept = host.dozen(["logs", "-a", "shop"]).succeeds().stdout;
    assert!(!kept.contains("root-only"), "{kept}");
}

#[test]
fn a_mistake_in_dozen_toml_is_refused_by_line_with_what_was_meant() {
    let host = host();
    let mut page = Page::of(&host);
    for (case, text) in [
        ("a section that is misspelt", "[helth]\npath = \"/\"\n"),
        ("a key that is misspelt", "[health]\npath = \"/\"\ntimeot = \"2s\"\n"),
        ("a key that resembles none", "[health]\ncolour = \"red\"\n"),
        ("a table in place of a command", "[processes.web]\ngrace = \"1s\"\n"),
        ("a duration without a unit", "[health]\ntimeout = \"2\"\n"),
        ("no TOML", "[health\n"),
    ] {
        let project = Project::small("shop");
        project.write("dozen.toml", text).commit("a mistake");
        page.add_up(&host, case, &project);
    }
    insta::assert_snapshot!(page.text);
}

#[test]
fn two_lock_files_stop_the_build_until_one_is_named() {
    let host = host();
    let mut page = Page::of(&host);
    let project = Project::small("shop");
    project.write("pyproject.toml", "[project]\nname = \"shop\"\nversion = \"1\"\n");
    project.write("uv.lock", "version = 1\n").write("poetry.lock", "").commit("two locks");
    page.add_up(&host, "two lock files", &project);
    project.write("dozen.toml", "[app]\nlock = \"pdm.lock\"\n").commit("the third");
    page.add_up(&host, "`[app] lock` names none of them", &project);
    project.write("dozen.toml", "[app]\nlock = \"poetry.lock\"\n").commit("the one without a plan");
    page.add_up(&host, "a lock that is not supported", &project);
    insta::assert_snapshot!(page.text);
}

#[test]
fn what_is_declared_and_has_no_effect_or_no_value_is_named() {
    let host = host();
    let mut page = Page::of(&host);
    let project = Project::small("shop");
    let keys = "[app]\npackage_manager = \"poetry\"\n[factors]\nIV = \"no backing service\"\n\
                [system]\npackages = [\"dpkg\", \"no-such-library5\"]\n\
                [build]\nsystem_packages = [\"no-such-compiler\"]\n";
    project.write("dozen.toml", keys).commit("keys");
    let ran = host.dozen_in(project.folder(), ["up", "."]);
    page.add("keys without effect", &Ran { stdout: String::new(), ..until_the_end(ran) });

    let required = "[config]\nPAYMENT_KEY = { required = true, description = \"from the payment provider's dashboard\" }\n\
                    OTHER_KEY = { required = true }\nLEVEL = { default = \"info\", description = \"how much it says\" }\n";
    project.write("dozen.toml", required).commit("required");
    page.add_up(&host, "required config", &project);
    host.dozen(["config", "set", "-a", "shop", "PAYMENT_KEY=a", "OTHER_KEY=b"]).succeeds();
    host.up(&project);
    page.add("config", &host.dozen(["config", "-a", "shop"]).succeeds());
    insta::assert_snapshot!(page.text);
}

/// What was told up to the line that says that an app is up.
fn until_the_end(ran: Ran) -> Ran {
    let told: Vec<&str> = ran.stderr.lines().take_while(|line| !line.ends_with(" is up")).collect();
    Ran { stderr: told.join("\n"), ..ran }
}
