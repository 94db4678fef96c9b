//! Without a server: errors, statuses, doctor, settings.

use std::{
    io::Read,
    process::Stdio,
    time::{Duration, Instant},
};

use crate::host::{Host, ran};

#[test]
fn usage_errors_have_status_2_and_a_suggestion() {
    let host = Host::new();
    for words in [
        &["relases"][..],
        &["ps", "scale", "web"],
        &["rollback", "latest"],
        &["destroy", "blog"],
        &["destroy", "blog", "--confirm", "other"],
        &["config", "set", "-a", "blog", "no-equals-sign"],
        &["config", "set", "-a", "blog", "PORT=1"],
        &["logs", "--since", "yesterday"],
        &["ps", "-a", "Not An App"],
        &["up", ".", "v1", "--dirty"],
        &["maintenance", "on", "--allow", "10.0.0.1/8"],
        &["pause", "--limit", "30"],
        &["deploy", "main", "--archive", "a.zip"],
        &["ps", "--server", "tcp://host"],
        &["services", "create", "external", "x", "--url", "u", "--url-stdin"],
    ] {
        let ran = host.dozen(words);
        assert_eq!(ran.status, 2, "{words:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{words:?}");
    }
    insta::assert_snapshot!(host.dozen(&["relases"]).err, @r"
    error: unrecognized subcommand 'relases'

      tip: some similar subcommands exist: 'create', 'resume', 'releases'

    Usage: dozen [OPTIONS] <VERB>

    For more information, try '--help'.
    ");
}

#[test]
fn a_secret_that_went_astray_is_not_printed_back() {
    let ran = Host::new().dozen(&["config", "set", "-a", "blog", "hunter2"]);
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
}

#[test]
fn every_verb_that_asks_says_that_no_server_runs_and_what_to_do() {
    let host = Host::new();
    for words in [
        &["apps"][..],
        &["ps"],
        &["down"],
        &["builds"],
        &["builds", "3"],
        &["builds", "cancel", "3"],
        &["releases"],
        &["releases", "info", "v1"],
        &["rollback"],
        &["config"],
        &["config", "set", "A=1"],
        &["config:set", "A=1"],
        &["config", "get", "A"],
        &["domains"],
        &["maintenance"],
        &["maintenance", "on"],
        &["maintenance:off"],
        &["pause"],
        &["resume"],
        &["services"],
        &["run", "ls"],
        &["logs"],
        &["logs", "-f"],
        &["server"],
        &["server", "stop"],
        &["destroy", "blog", "--confirm", "blog"],
        &["create", "blog"],
        &["deploy"],
    ] {
        let mut command = host.command(words);
        command.env("DOZEN_APP", "blog");
        let ran = ran(command);
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{words:?}: {}", ran.err);
        assert!(ran.err.starts_with("error: no server is running at `unix:"), "{words:?}: {}", ran.err);
        assert!(
            ran.err.ends_with("hint: start it with `dozen server start` or let `dozen up` do it\n"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn a_bridge_says_by_its_status_alone_that_no_server_runs() {
    let ran = Host::new().dozen(&["api-bridge"]);
    assert_eq!((ran.status, ran.out.as_str(), ran.err.as_str()), (69, "", ""));
}

#[test]
fn a_folder_that_names_no_app_is_refused_with_the_verbs_own_way_to_name_one() {
    let host = Host::new();
    host.write("123/Procfile", "web: ./run\n");
    for (words, hint) in [
        (&["create"][..], "hint: name it: `dozen create NAME`\n"),
        (&["up"], "hint: name it: `dozen up --app NAME`\n"),
    ] {
        let mut command = host.command(words);
        command.current_dir(host.path("123"));
        let ran = ran(command);
        assert_eq!(ran.status, 1, "{}", ran.err);
        assert!(ran.err.ends_with(hint), "{words:?}: {}", ran.err);
    }
}

#[test]
fn a_verb_without_an_app_says_how_to_name_one() {
    let ran = Host::new().dozen(&["ps"]);
    assert_eq!(ran.status, 1);
    insta::assert_snapshot!(ran.err, @r"
    error: it is not clear which app is meant
    hint: name it with `--app` or in `DOZEN_APP`, or add a Git remote for it with `dozen create --existing`
    ");
}

#[test]
fn doctor_works_without_a_server() {
    let host = Host::new();
    let ran = host.dozen(&["doctor"]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    for word in ["git version", "is made when it is needed", "no server is running"] {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
    let checks: serde_json::Value = serde_json::from_str(&host.dozen(&["doctor", "--json"]).out).unwrap();
    assert_eq!(checks[0]["name"], "git");
}

#[test]
fn doctor_fails_when_a_socket_cannot_fit() {
    let host = Host::new();
    let mut command = host.command(&["doctor"]);
    command.env("DOZEN_RUN", format!("/{}", "x".repeat(120)));
    let ran = ran(command);
    assert_eq!(ran.status, 1);
    assert!(ran.out.contains("at most 107"), "{}", ran.out);
}

#[test]
fn a_bad_setting_is_refused_by_name() {
    let host = Host::new();
    for (name, value) in [("DOZEN_APP", "No App"), ("DOZEN_STAGE", "--"), ("DOZEN_SERVER", "http://x")] {
        let mut command = host.command(&["ps"]);
        command.env(name, value);
        let ran = ran(command);
        assert_eq!(ran.status, 1, "{name}");
        assert!(ran.err.contains(value), "{}", ran.err);
    }
}

#[test]
fn colour_is_asked_for_and_refused_by_flag_and_variable() {
    let host = Host::new();
    assert!(host.dozen(&["ps", "--color", "always"]).err.contains('\x1b'));
    assert!(host.dozen(&["relases", "--color=always"]).err.contains('\x1b'));
    let mut command = host.command(&["ps"]);
    command.env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1");
    assert!(!ran(command).err.contains('\x1b'));
}

#[test]
fn a_reader_that_goes_away_ends_the_verb_quietly() {
    let host = Host::new();
    let mut child =
        host.command(&["reference"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // More than a pipe holds is not needed: the pipe is closed before anything is read.
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

#[test]
fn ssh_is_told_the_machine_and_nothing_that_could_be_an_option() {
    let host = Host::new();
    host.write("bin/ssh", "#!/bin/sh\necho \"$*\" >> \"$HOME/../ssh-args\"\nexit 255\n");
    let ssh = host.path("bin/ssh");
    std::fs::set_permissions(&ssh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir(host.path("home")).unwrap();
    let mut command = host.command(&["apps", "--server", "ssh://ann@host.example:2222"]);
    command.env("PATH", format!("{}:{}", host.path("bin").display(), env!("PATH")));
    let ran = ran(command);
    assert_eq!(ran.status, 1, "{}", ran.err);
    assert!(ran.err.contains("`ssh://ann@host.example:2222` ended"), "{}", ran.err);
    let args = std::fs::read_to_string(host.path("ssh-args")).unwrap();
    assert_eq!(args, "-T -p 2222 -- ann@host.example dozen api-bridge\n");
}

#[test]
fn help_and_a_plain_verb_cost_a_few_milliseconds() {
    let host = Host::new();
    for words in [&["--help"][..], &["ps", "-a", "blog"]] {
        // The best of several: other tests share the machine.
        let best = (0..20)
            .map(|_| {
                let since = Instant::now();
                host.dozen(words);
                since.elapsed()
            })
            .min()
            .unwrap();
        assert!(best < Duration::from_millis(20), "{words:?}: {best:?}");
    }
}
