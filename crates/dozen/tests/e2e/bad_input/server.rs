//! Servers that are not there, or must not start.

use std::{net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Command};

use super::{Page, host};
use crate::{
    host::{Ran, TestHost, only_root},
    project::Project,
};

#[test]
fn without_a_server_a_verb_says_how_to_start_one() {
    let host = TestHost::without_server();
    let mut page = Page::of(&host);
    page.add("apps", &host.dozen(["apps"]));
    page.add("server stop", &host.dozen(["server", "stop"]));
    insta::assert_snapshot!(page.text);
}

#[test]
fn a_port_that_is_taken_is_named_and_nothing_is_left_running() {
    let somebody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = somebody.local_addr().unwrap();
    let mut host = TestHost::without_server();
    host.set_env("LC_ALL", "C.UTF-8");
    host.set_env("DOZEN_LISTEN", &address.to_string());
    let mut page = Page::of(&host);
    let own_name = std::fs::read_to_string("/proc/self/comm").unwrap();
    let who = format!("`{}` (pid {})", own_name.trim_end(), std::process::id());
    page.replace(address, "[ADDRESS]").replace(who, "[WHO]");
    page.add("server start", &host.dozen(["server", "start"]));
    let project = Project::small("shop");
    page.add_up(&host, "up", &project);
    page.add("server status", &host.dozen(["server", "status"]));
    host.set_env("DOZEN_LISTEN", "nowhere");
    page.add("no address", &host.dozen(["server", "start"]));
    insta::assert_snapshot!(page.text);
}

#[test]
fn a_second_server_on_one_home_is_refused_and_the_first_serves_on() {
    let host = host();
    host.up(&Project::small("shop"));
    let mut page = Page::of(&host);
    page.add("server start", &host.dozen(["server", "start"]));
    insta::assert_snapshot!(page.text);
    assert_eq!(host.get("shop", "/").status, 200);
}

#[test]
fn a_database_that_cannot_be_used_is_refused_and_kept() {
    let mut host = host();
    host.up(&Project::small("shop"));
    host.dozen(["server", "stop", "--all"]).succeeds();
    host.wait_for_control_end();
    let file = host.state().join("state.db");
    let good = std::fs::read(&file).unwrap();
    let mut page = Page::of(&host);

    // The schema's number stands in the file's header, at 60.
    let newer = [&good[..60], &99_u32.to_be_bytes(), &good[64..]].concat();
    let ran = start_with(&host, &file, Some(&newer));
    let known = ran.stderr.split_once("this one knows ").unwrap().1.split(')').next().unwrap().to_owned();
    page.replace(format!("knows {known}"), "knows [N]").add("from a newer version", &ran);
    let damaged = [&good[..4096], &vec![0xff; 8192], &good[12_288..]].concat();
    let ran = start_with(&host, &file, Some(&damaged));
    let detail = super::line_with(&ran.stderr, "damaged:").split_once("damaged: ").unwrap().1.to_owned();
    page.replace(detail, "[WHAT SQLITE SAYS]").add("damaged", &ran);
    page.add("no database", &start_with(&host, &file, Some(b"not a database")));
    page.add("empty", &start_with(&host, &file, Some(b"")));
    page.add("gone", &start_with(&host, &file, None));
    insta::assert_snapshot!(page.text);

    std::fs::write(&file, &good).unwrap();
    host.start_server();
    let releases = host.dozen(["releases", "-a", "shop"]).succeeds();
    assert!(releases.stdout.contains("v1"), "the right one in its place is all it needs: {releases:#?}");
}

/// Puts a database in place, starts a server, and looks that the file is still the same.
fn start_with(host: &TestHost, file: &Path, bytes: Option<&[u8]>) -> Ran {
    match bytes {
        Some(bytes) => std::fs::write(file, bytes).unwrap(),
        None => std::fs::remove_file(file).unwrap(),
    }
    let ran = host.refused_start();
    assert_eq!(std::fs::read(file).ok().as_deref(), bytes, "it was touched");
    ran
}

/// Becomes the user of its first argument and asks the API's socket for the server; what comes back.
const ASK: &str = r#"
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
api = socket.socket(socket.AF_UNIX)
api.connect(sys.argv[2])
answer = b""
try:
    api.sendall(b"GET /v1/server HTTP/1.1\r\nHost: dozen\r\nConnection: close\r\n\r\n")
    answer = api.recv(100)
except OSError:
    pass
print(answer.split(b"\r\n")[0].decode())
"#;

#[test]
fn a_stranger_who_reaches_the_socket_is_not_heard() {
    if !only_root("becomes another user") {
        return;
    }
    let host = TestHost::start();
    let socket = host.state().join("run/control.sock");
    for (path, mode) in [(host.home(), 0o711), (socket.as_path(), 0o666)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let ask = |uid: &str| {
        let mut command = Command::new("/usr/bin/python3");
        let output = command.args(["-c", ASK, uid]).arg(&socket).output().unwrap();
        Ran::from(output).succeeds().stdout
    };
    assert_eq!(ask("0"), "HTTP/1.1 200 OK\n");
    assert_eq!(ask("65534"), "\n");
}
