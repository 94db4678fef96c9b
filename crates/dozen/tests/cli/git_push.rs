//! `git push` without a server: the remote, the repository behind it, and refused pushes.

use std::path::Path;

use crate::host::{Host, Ran, ran};

/// A repository with one commit and the remote that `dozen create` would add.
fn repository() -> Host {
    let host = Host::new();
    std::fs::create_dir_all(host.path("home")).unwrap();
    host.git(&["init", "-q"]);
    host.write("Procfile", "web: ./server\n");
    host.git(&["add", "Procfile"]);
    let commit = host.git(&["commit", "-q", "-m", "First"]);
    assert_eq!(commit.status, 0, "{}", commit.err);
    host.git(&["remote", "add", "dozen", "/anywhere/blog--production.git"]);
    let receive = format!("{} receive-pack", env!("CARGO_BIN_EXE_dozen"));
    host.git(&["config", "remote.dozen.receivepack", &receive]);
    host
}

fn push(host: &Host, refspec: &str) -> Ran {
    host.git(&["push", "-q", "dozen", refspec])
}

#[test]
fn a_push_without_a_server_is_refused_and_says_why() {
    let host = repository();
    let pushed = push(&host, "main");
    assert_ne!(pushed.status, 0);
    assert!(pushed.err.contains("remote: error: no server is running at"), "{}", pushed.err);
    assert!(pushed.err.contains("pre-receive hook declined"), "{}", pushed.err);
}

#[test]
fn a_refused_push_leaves_no_ref_behind_so_it_can_be_repeated() {
    let host = repository();
    push(&host, "main");
    let again = push(&host, "main");
    assert!(again.err.contains("pre-receive hook declined"), "{}", again.err);
}

#[test]
fn another_branch_is_refused_with_the_command_that_works() {
    let pushed = push(&repository(), "HEAD:refs/heads/topic");
    assert!(pushed.err.contains("`topic` is not deployed"), "{}", pushed.err);
    assert!(pushed.err.contains("`git push dozen topic:main`"), "{}", pushed.err);
}

#[test]
fn the_users_own_hooks_do_not_replace_ours() {
    let host = repository();
    host.write("hooks/pre-receive", "#!/bin/sh\nexit 0\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(host.path("hooks/pre-receive"), mode).unwrap();
    host.write("home/.gitconfig", &format!("[core]\nhooksPath = {}\n", host.path("hooks").display()));
    assert_ne!(push(&host, "main").status, 0);
}

#[test]
fn the_repository_of_pushes_belongs_to_the_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let host = repository();
    push(&host, "main");
    let folder = host.path("home/.local/share/dozen-git");
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o077, 0);
    let server = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    assert!(server.join("blog--production.git/hooks/pre-receive").exists());
}

#[test]
fn an_address_that_names_no_app_is_refused() {
    let ran = Host::new().dozen(&["receive-pack", "/etc"]);
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("does not name an app and a stage"), "{}", ran.err);
}

#[test]
fn the_remote_tells_which_app_a_verb_means() {
    let host = repository();
    // The server is not there, but the app was found: without it the error is another one.
    assert!(host.dozen(&["ps"]).err.contains("no server is running"));
    let mut outside = host.command(&["ps"]);
    outside.current_dir(Path::new("/"));
    assert!(ran(outside).err.contains("not clear which app"));
}
