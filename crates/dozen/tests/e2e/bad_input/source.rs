//! Sources that cannot be taken.

use super::{Page, host};
use crate::project::Project;

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
    oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

/// What `django-admin startproject shop .` makes, as far as it is looked at.
const STARTPROJECT: [(&str, &str); 3] = [
    ("manage.py", "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"),
    ("shop/settings.py", "ROOT_URLCONF = 'shop.urls'\n"),
    ("shop/wsgi.py", "application = None\n"),
];
const PYPROJECT: &str = "[project]\nname = \"shop\"\nversion = \"1\"\ndependencies = [\"django\"]\n";

#[test]
fn a_folder_that_is_no_clean_commit_is_refused() {
    let host = host();
    let mut page = Page::of(&host);
    let plain = host.home().join("plain");
    std::fs::create_dir(&plain).unwrap();
    page.add("not a Git repository", &host.dozen_in(&plain, ["up", "."]));
    page.add_up(&host, "no commit yet", &Project::empty("shop"));

    let changed = Project::small("shop");
    changed.write("Procfile", "web: ./other\n").write("new.txt", "");
    page.add_up(&host, "uncommitted changes", &changed);
    page.add("a branch that is not there", &host.dozen_in(changed.folder(), ["up", ".", "mian"]));
    let folder = host.dozen_in(changed.folder(), ["deploy", "main", "--folder", "blog", "-a", "shop"]);
    let commit = changed.git(&["rev-parse", "HEAD"]);
    page.replace(&commit[..12], "[COMMIT]").add("a folder that is not there", &folder);
    // Git's own switch: every repository is taken for another user's.
    let shop = changed.folder().display().to_string();
    page.replace(shop, "[FOLDER]");
    for (case, words) in [
        ("another user's repository", &["up", "."][..]),
        ("a remote in another user's repository", &["create", "shop"]),
    ] {
        let mut command = host.command(words.iter().copied());
        command.current_dir(changed.folder()).env("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1");
        page.add(case, &command.output().unwrap().into());
    }
    for (case, words) in
        [("no Git on the machine", &["up", "."][..]), ("a remote without Git", &["create", "shop"])]
    {
        let mut command = host.command(words.iter().copied());
        command.current_dir(changed.folder()).env("PATH", host.home());
        page.add(case, &command.output().unwrap().into());
    }
    host.dozen(["destroy", "shop", "--confirm", "shop"]).succeeds();
    insta::assert_snapshot!(page.text);
    assert_eq!(host.dozen(["apps", "--json"]).succeeds().json(), serde_json::json!([]), "no app was made");
}

#[test]
fn a_folder_that_cannot_be_deployed_is_no_reason_to_start_a_server() {
    let host = crate::host::TestHost::without_server();
    let plain = host.home().join("plain");
    std::fs::create_dir(&plain).unwrap();
    host.dozen_in(&plain, ["up", "."]).fails_with(1);
    let status = host.dozen(["server", "status"]).fails_with(1);
    assert!(status.stderr.starts_with("error: no server is running"), "{status:#?}");
}

#[test]
fn a_tree_with_submodules_or_lfs_pointers_is_refused_by_path() {
    let host = host();
    let mut page = Page::of(&host);
    let outer = Project::small("shop");
    std::fs::create_dir_all(outer.folder().join("vendor/theme")).unwrap();
    let link = format!("160000,{},vendor/theme", "a".repeat(40));
    outer.git(&["update-index", "--add", "--cacheinfo", &link]);
    outer.git(&["commit", "-q", "-m", "a submodule"]);
    page.add_up(&host, "a submodule", &outer);

    let large = Project::small("shop");
    large.write("media/film.mp4", POINTER).commit("a pointer");
    page.add_up(&host, "a Git LFS pointer", &large);
    insta::assert_snapshot!(page.text);
}

#[test]
fn a_tree_that_nothing_can_run_says_what_was_looked_for() {
    let host = host();
    let mut page = Page::of(&host);
    page.add_up(&host, "nothing detected", &Project::with("shop", &[("notes.txt", "hello")]));
    page.add_up(&host, "a Dockerfile only", &Project::with("shop", &[("Dockerfile", "FROM scratch\n")]));
    let worker = Project::with("shop", &[("requirements.txt", ""), ("work.py", "")]);
    page.add_up(&host, "Python without a process type", &worker);
    for (case, more) in [
        ("a bare Django project", &[][..]),
        ("Django without a server", &[("requirements.txt", "django==5.2.1\n")]),
        ("Django without a server, by uv", &[("pyproject.toml", PYPROJECT), ("uv.lock", "version = 1\n")]),
    ] {
        page.add_up(&host, case, &Project::with("shop", &[&STARTPROJECT[..], more].concat()));
    }
    insta::assert_snapshot!(page.text);
}

#[test]
fn a_python_that_is_not_installed_is_named_with_those_that_are() {
    let host = host();
    let project = Project::small("shop");
    project.write("requirements.txt", "").write(".python-version", "3.4.10\n").commit("an old Python");
    let mut ran = host.dozen_in(project.folder(), ["up", "."]);
    let (_, found) = super::line_with(&ran.stderr, "error: no Python").split_once("found ").expect("a list");
    // What uv says depends on whether it can be reached.
    let (found, said) = found.split_once("; it could not be installed: ").expect("why not");
    assert!(found.contains("/usr/bin/python3") && said.contains("uv"), "{found} {said}");
    let mut page = Page::of(&host);
    page.replace(found, "[VERSIONS]").replace(said, "[UV SAYS]");
    ran.stderr.drain(..ran.stderr.find("  ✗ Preparing").expect("the step's end"));
    page.add("a version that is not there", &ran);

    project.write(".python-version", "three\n").commit("no version");
    page.add_up(&host, "a version that is none", &project);
    insta::assert_snapshot!(page.text);
}
