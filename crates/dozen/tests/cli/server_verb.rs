//! `dozen server` where no server is needed: the unit, the addresses, the watcher's lock.

use crate::host::{Host, ran};

#[test]
fn the_unit_can_be_looked_at_first() {
    let host = Host::new();
    let words = ["server", "install", "--print", "--listen", "127.0.0.1:80", "--domain", "apps.example.org"];
    let mut command = host.command(&words);
    command.env("DOZEN_LOG", "warn").env("SECRET", "x");
    command.env("DOZEN_LISTEN_HTTPS", "127.0.0.1:443,[::1]:443");
    command.env("npm_config_//r.example/:_authToken", "t0ken");
    let unit = ran(command).out;
    for line in [
        "Environment=\"DOZEN_LISTEN=127.0.0.1:80\"",
        "Environment=\"DOZEN_LISTEN_HTTPS=127.0.0.1:443,[::1]:443\"",
        "Environment=\"DOZEN_DOMAIN=apps.example.org\"",
        "Environment=\"DOZEN_LOG=warn\"",
        "KillMode=process",
        "Restart=on-failure",
        "Type=notify",
    ] {
        assert!(unit.lines().any(|have| have == line), "{line} in\n{unit}");
    }
    assert!(!unit.contains("SECRET") && !unit.contains("t0ken"), "{unit}");
    assert!(unit.contains(" server start\n"));
}

#[test]
fn what_may_hold_a_password_is_not_in_the_unit_that_everybody_may_ask_for() {
    let host = Host::new();
    let mut command = host.command(&["server", "install", "--print"]);
    command.env("HTTPS_PROXY", "http://ann:pass@proxy.example:3128").env("XDG_CONFIG_HOME", "/nowhere");
    let printed = ran(command).out;
    let folder = if rustix::process::geteuid().is_root() { "/etc/dozen" } else { "/nowhere/dozen" };
    let (unit, variables) = printed.split_once(&format!("\n# {folder}/environment\n")).unwrap();
    assert!(unit.contains(&format!("\nEnvironmentFile={folder}/environment\n")), "{unit}");
    assert!(!unit.contains("HTTPS_PROXY"), "{unit}");
    assert_eq!(variables, "HTTPS_PROXY=\"http://ann:pass@proxy.example:3128\"\n");
}

#[test]
fn apps_are_not_stopped_for_a_shutdown_that_is_none() {
    let host = Host::new();
    // Where it would ask the server, there is none.
    assert_eq!(host.dozen(&["server", "stop", "--all"]).status, 1);
    let ran = host.dozen(&["server", "stop", "--all", "--if-shutting-down"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    assert_eq!(host.dozen(&["server", "stop", "--if-shutting-down"]).status, 2);
}

#[test]
fn a_server_is_started_only_on_the_machine_where_it_is_to_run() {
    let host = Host::new();
    for words in [&["server", "start", "--detached"][..], &["server", "install", "--print"]] {
        let mut command = host.command(words);
        command.env("DOZEN_SERVER", "ssh://ann@far.example");
        let ran = ran(command);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{words:?}: {}", ran.err);
        assert!(ran.err.contains("`ssh://ann@far.example` is another machine"), "{}", ran.err);
    }
}

#[test]
fn a_router_that_nobody_launched_says_so() {
    let ran = Host::new().dozen(&["router"]);
    assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{}", ran.err);
    assert!(ran.err.contains("standard input is not a launch message of control"), "{}", ran.err);
    assert!(ran.err.contains("dozen server start"), "{}", ran.err);
}

#[test]
fn an_address_that_cannot_be_listened_on_is_refused() {
    let host = Host::new();
    for words in [
        &["server", "start", "--listen", "nonsense"][..],
        &["server", "start", "--detached", "--listen", "x"],
    ] {
        let ran = host.dozen(words);
        assert_eq!(ran.status, 1, "{}", ran.err);
        assert!(ran.err.contains("is not an address to listen on"), "{}", ran.err);
    }
}

#[test]
fn where_systemd_is_not_the_init_installing_says_what_to_do_instead() {
    if std::path::Path::new("/run/systemd/system").is_dir() {
        // This machine would really get the unit.
        return;
    }
    let ran = Host::new().dozen(&["server", "install"]);
    assert_eq!(ran.status, 1);
    insta::assert_snapshot!(ran.err, @r"
    error: systemd is not the init of this machine
    hint: let its init run `dozen server start`, or use `dozen server start --detached`
    ");
}
