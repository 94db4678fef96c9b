//! What people do with an app day by day: data, services, domains, terminals, logs.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    client,
    host::{Ran, TestHost, own_name, wait_for},
    project::Project,
    pty::on_a_terminal,
};

/// A host that runs the small app `shop`, and that app's folder with a remote for it.
fn shop() -> (TestHost, Project) {
    let mut host = TestHost::start();
    let data = host.home().join("data");
    host.set_env("XDG_DATA_HOME", &data.to_string_lossy());
    host.set_env("DOZEN_APP", "shop");
    let project = Project::small("shop");
    host.up(&project);
    (host, project)
}

/// A command inside the current release, which must succeed; what it printed.
#[track_caller]
fn inside(host: &TestHost, script: &str) -> String {
    host.dozen(["run", "--", "sh", "-c", script]).succeeds().stdout
}

#[test]
fn a_volume_keeps_its_files_over_releases() {
    let (host, project) = shop();
    host.dozen(["services", "create", "volume", "media", "--path", "/data/media"]).succeeds();
    host.dozen(["services", "attach", "media"]).succeeds();
    inside(&host, "echo kept > \"$MEDIA_PATH\"/file");

    project.commit("another release");
    host.up(&project);
    assert_eq!(inside(&host, "cat /data/media/file; echo $DOZEN_RELEASE"), "kept\nv3\n");
    let outside = host.dozen(["run", "--", "sh", "-c", "echo lost > /app/file"]);
    assert_ne!(outside.status, 0, "the release itself is read-only: {outside:#?}");
}

#[test]
fn a_sqlite_service_is_attached_by_its_url_and_detached_with_its_data_kept() {
    let (host, _project) = shop();
    host.dozen(["services", "create", "sqlite", "db"]).succeeds();
    host.dozen(["services", "attach", "db"]).succeeds();
    let write = "import os,re,sqlite3; path=re.match('sqlite:///(/[^?]*)',os.environ['DATABASE_URL'])[1]; \
                 db=sqlite3.connect(path); db.execute('create table if not exists notes (text)'); \
                 db.execute(\"insert into notes values ('a')\"); db.commit(); \
                 print(db.execute('select count(*) from notes').fetchone()[0])";
    let count =
        |host: &TestHost| host.dozen(["run", "--", "/usr/bin/python3", "-c", write]).succeeds().stdout;
    assert_eq!(count(&host), "1\n");
    // An option that only Django knows keeps every other library from connecting.
    assert_eq!(inside(&host, "echo $DATABASE_URL"), "sqlite:////data/db/db.sqlite3?timeout=20\n");

    host.dozen(["services", "detach", "db"]).succeeds();
    assert_eq!(inside(&host, "echo ${DATABASE_URL-none}"), "none\n");
    let changes = host.dozen(["builds", "--json"]).succeeds().json();
    assert_eq!([&changes[0]["kind"], &changes[1]["kind"]], ["detach", "attach"], "{changes}");
    host.dozen(["services", "attach", "db"]).succeeds();
    assert_eq!(count(&host), "2\n", "the data is still there");
}

#[test]
fn an_external_service_is_a_url_that_is_shown_to_the_app_and_to_nobody_else() {
    let (host, _project) = shop();
    let url = "postgresql://ann:very-secret@db.example.org/shop";
    let mut create = host.command(["services", "create", "external", "db", "--url-stdin"]);
    let mut create = create.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("dozen");
    std::io::Write::write_all(create.stdin.as_mut().expect("its stdin"), url.as_bytes()).expect("the URL");
    let created = Ran::from(create.wait_with_output().expect("its end")).succeeds();
    assert!(!created.stderr.contains("loopback"), "{created:#?}");
    let attached = host.dozen(["services", "attach", "db", "--as", "DATABASE_URL"]).succeeds();
    let listed = host.dozen(["services"]).succeeds();
    let config = host.dozen(["config"]).succeeds();
    for ran in [created, attached, listed, config] {
        assert!(!format!("{ran:?}").contains("very-secret"), "{ran:#?}");
    }
    assert_eq!(inside(&host, "echo $DATABASE_URL"), format!("{url}\n"));
}

#[test]
fn a_service_takes_the_place_of_another_in_one_release() {
    let (host, project) = shop();
    project.write("Procfile", "release: test -n \"$DATABASE_URL\"\nweb: /usr/bin/python3 server.py\n");
    project.write("dozen.toml", "[services.db]\nkind = \"sqlite\"\n").commit("needs a database");
    host.up(&project);
    let url = "postgresql://ann@localhost/shop";
    let made = host.dozen(["services", "create", "external", "pg", "--url", url]).succeeds();
    assert!(made.stderr.contains("warning: `pg` is at a loopback address"), "{made:#?}");

    let attach = ["services", "attach", "pg", "--as", "DATABASE_URL"];
    let refused = host.dozen(attach).fails_with(1);
    assert!(
        refused.stderr.contains("`dozen services attach pg --as DATABASE_URL --replace`"),
        "{refused:#?}"
    );
    let replaced = host.dozen(attach.into_iter().chain(["--replace"])).succeeds();
    assert_eq!(replaced.stdout, "shop: v3, pg attached\n");
    assert_eq!(inside(&host, "echo $DATABASE_URL"), format!("{url}\n"));
    let services = host.dozen(["services", "--json"]).succeeds().json();
    let attached: Vec<_> =
        services.as_array().expect("a list").iter().map(|one| one["attached"].clone()).collect();
    assert_eq!(attached, [serde_json::json!([]), serde_json::json!(["DATABASE_URL"])], "{services}");
}

#[test]
fn config_shows_what_is_attached_before_the_first_release() {
    let host = TestHost::start();
    host.dozen(["create", "shop"]).succeeds();
    let dozen = |words: &[&str]| host.dozen(words.iter().copied().chain(["-a", "shop"]));
    dozen(&["config", "set", "ANSWER=early"]).succeeds();
    dozen(&["services", "create", "sqlite", "db"]).succeeds();
    dozen(&["services", "attach", "db"]).succeeds();
    let config = dozen(&["config", "--reveal"]).succeeds();
    assert_eq!(
        config.stdout,
        "ANSWER        early                      set\n\
         DATABASE_URL  from the first release on  service db\n"
    );
    let value = dozen(&["config", "get", "DATABASE_URL"]).fails_with(1);
    assert!(value.stderr.contains("service db sets it from the first release on"), "{value:#?}");
    assert_eq!(dozen(&["config", "export"]).succeeds().stdout, "ANSWER='early'\n");
    host.up(&Project::small("shop"));
    let config = dozen(&["config"]).succeeds().stdout;
    assert_eq!(config, "ANSWER        ********  set\nDATABASE_URL  ********  service db\n");
}

#[test]
fn a_command_that_never_ran_ends_as_a_shell_would_end_it() {
    let (host, project) = shop();
    let missing = host.dozen(["run", "--", "no-such-program"]).fails_with(127);
    assert!(missing.stderr.starts_with("error: could not find the program `no-such-program` in `PATH`\n"));
    let plain = host.dozen(["run", "--", "./server.py"]).fails_with(126);
    assert!(
        plain.stderr.starts_with("error: could not execute `./server.py`: Permission denied"),
        "{plain:#?}"
    );
    assert!(plain.stderr.contains("hint: make it executable"), "{plain:#?}");
    drop(project);
}

#[test]
fn what_reaches_no_app_is_counted_and_told_in_the_servers_log() {
    let (host, _project) = shop();
    let refused = || host.dozen(["server", "status", "--json"]).succeeds().json()["refused"].clone();
    assert_eq!(refused(), serde_json::json!({ "malformed": 0, "unknown_hosts": 0 }));
    assert_eq!(client::get(host.port(), "nobody.example.org", "/page?token=secret").status, 404);
    wait_for("the count", Duration::from_secs(30), || {
        (refused() == serde_json::json!({ "malformed": 0, "unknown_hosts": 1 })).then_some(())
    });
    let log = wait_for("its line", Duration::from_secs(30), || {
        let log = std::fs::read_to_string(host.home().join("server.log")).expect("the server's log");
        log.contains("refused a request: no app answers").then_some(log)
    });
    let line = log.lines().find(|line| line.contains("refused a request")).expect(&log);
    for part in ["no app answers to its host", "status=404", "host=\"nobody.example.org\"", "path=\"/page\""]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!log.contains("secret"), "a query string stays out: {log}");
    let status = host.dozen(["server"]).succeeds().stdout;
    assert!(
        status.contains("0 requests that cannot be read (400), 1 for a host that no app has (404)"),
        "{status}"
    );
}

/// Presses Ctrl-C once the command serves.
const SERVER_TERMINAL: &str = r#"
pressed = []
def look(fd, drawn):
    if b"serving" in drawn and not pressed:
        pressed.append(os.write(fd, b"\x03"))
watch(sys.argv[1:], look)
"#;

#[test]
fn a_server_runs_on_a_terminal_until_ctrl_c_and_says_that_it_ends() {
    let host = TestHost::without_server();
    let mut command = on_a_terminal(&host, SERVER_TERMINAL, &[], &["server", "start"]);
    // As in most terminals: one that knows colour, and nothing that forbids it.
    command.env_remove("NO_COLOR").env("TERM", "xterm-256color");
    let ran = Ran::from(command.output().expect("python3")).succeeds();
    assert!(ran.stdout.contains("ending: the router finishes what it holds"), "{ran:#?}");
    assert_eq!(host.dozen(["server", "status"]).status, 1, "it is gone");
}

#[test]
fn ctrl_c_at_the_servers_terminal_lets_requests_finish() {
    let mut host = TestHost::without_server();
    host.start_server_in_a_group_of_its_own();
    host.up(&Project::small("shop"));
    let port = host.port();
    let slow = client::Held::at(port, "shop.localhost");
    wait_for("the request in the app", Duration::from_secs(30), || {
        (host.ps("shop")["instances"][0]["in_flight"] == 1).then_some(())
    });
    let group = rustix::process::Pid::from_raw(host.control_pid().cast_signed()).expect("a pid");
    let router = host.router_pid();
    let groups = rustix::process::getpgid(rustix::process::Pid::from_raw(router.cast_signed()));
    assert_ne!(groups.expect("the router's group"), group, "it would end before control has told it to");
    rustix::process::kill_process_group(group, rustix::process::Signal::INT).expect("Ctrl-C");
    assert!(slow.finish().starts_with("HTTP/1.1 200 "));
    host.wait_for_control_end();
    wait_for("the router's end", Duration::from_secs(30), || {
        (!std::path::Path::new(&format!("/proc/{router}")).exists()).then_some(())
    });
}

#[test]
fn a_domain_leads_to_its_app_until_it_is_removed() {
    let (host, _project) = shop();
    let get = || client::get(host.port(), "shop.example.org", "/").status;
    assert_eq!(get(), 404);
    host.dozen(["domains", "add", "shop.example.org"]).succeeds();
    assert_eq!(get(), 200);
    host.dozen(["domains", "remove", "shop.example.org"]).succeeds();
    assert_eq!(get(), 404);
}

/// Resizes the terminal once its size was printed, and presses Ctrl-C once the new one was.
const TERMINAL: &str = r#"
def look(fd, drawn):
    if b"24 80" in drawn and b"50 132" not in drawn:
        resize(fd, 50, 132)
    if b"50 132" in drawn:
        os.write(fd, b"\x03")
watch(sys.argv[1:], look)
"#;

#[test]
fn a_one_off_process_has_the_callers_terminal_its_size_and_its_keys() {
    let (host, _project) = shop();
    let script = "stty size; test -t 0 && echo a terminal; while :; do sleep 0.05; stty size; done";
    let mut command = on_a_terminal(&host, TERMINAL, &[], &["run", "--", "sh", "-c", script]);
    let ran = Ran::from(command.env("TERM", "xterm").output().expect("python3")).fails_with(130);
    for shown in ["24 80\r\n", "a terminal\r\n", "50 132\r\n"] {
        assert!(ran.stdout.contains(shown), "{shown:?}: {ran:#?}");
    }
}

#[test]
fn a_detached_process_is_named_logged_and_gone_after_its_end() {
    let (host, _project) = shop();
    let started = host.dozen(["run", "--detach", "--", "sh", "-c", "echo from afar; exit 4"]).succeeds();
    assert_eq!(started.stdout, "run.1\n");
    let log = wait_for("its end in the log", Duration::from_secs(30), || {
        let log = host.dozen(["logs", "--ps", "run.1"]).succeeds().stdout;
        (log.contains("exit status 4") && log.contains("from afar")).then_some(log)
    });
    assert!(log.contains("app[run.1]: from afar"), "{log}");
    assert!(log.contains(&format!("dozen[run.1]: {} runs `sh` in v1\n", own_name())), "{log}");
    wait_for("its end in the list", Duration::from_secs(30), || {
        let status = host.ps("shop");
        let names = status["instances"].as_array().into_iter().flatten().map(|one| one["name"].clone());
        (!names.into_iter().any(|name| name == "run.1")).then_some(())
    });
    assert_eq!(record_of_one_off(&host), format!("run.1 v1 {} exit status 4\n", own_name()));
}

/// What the database keeps of the only one-off process: its name, release, caller and end.
fn record_of_one_off(host: &TestHost) -> String {
    let read = "import sqlite3, sys; db = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True); \
                [print(*row) for row in db.execute(\"SELECT process || '.' || number, 'v' || release, \
                who, outcome FROM launches WHERE purpose = 'run'\")]";
    let mut command = Command::new("/usr/bin/python3");
    let output = command.args(["-c", read]).arg(host.state().join("state.db")).output().expect("python3");
    Ran::from(output).succeeds().stdout
}

#[test]
fn the_caller_of_a_one_off_process_is_named_while_it_runs() {
    let (host, _project) = shop();
    host.dozen(["run", "--detach", "--", "sleep", "600"]).succeeds();
    let status = host.ps("shop");
    let one_off = |one: &&serde_json::Value| one["name"] == "run.1";
    let shown = status["instances"].as_array().into_iter().flatten().find(one_off).expect("the process");
    assert_eq!((&shown["who"], &shown["command"]), (&own_name().into(), &"sleep 600".into()), "{status:#}");
    host.dozen(["ps", "stop", "run.1"]).succeeds();
}

#[test]
fn a_log_is_shown_from_a_time_on() {
    let (host, _project) = shop();
    inside(&host, "echo before");
    inside(&host, "echo then; echo after");
    let log = host.dozen(["logs", "--ps", "run"]).succeeds().stdout;
    // The stamp ends at microseconds: the line itself is no earlier.
    let then = log.lines().find_map(|line| line.strip_suffix(" app[run.2]: then")).expect(&log);
    let texts = |since: &str| {
        let log = host.dozen(["logs", "--source", "app", "--ps", "run", "--since", since]).succeeds().stdout;
        let text = |line: &str| line.rsplit(": ").next().expect("its text").to_owned();
        log.lines().map(text).collect::<Vec<_>>()
    };
    assert_eq!(texts(then), ["then", "after"], "{log}");
    assert_eq!(texts("1h"), ["before", "then", "after"]);
    assert_eq!(texts("2099-01-01T00:00:00Z"), [""; 0]);
}

#[test]
fn a_followed_log_shows_the_lines_of_app_and_router_as_they_come() {
    let (host, _project) = shop();
    let mut follower = host.command(["logs", "-f", "-n", "0"]).stdout(Stdio::piped()).spawn().expect("dozen");
    let lines = BufReader::new(follower.stdout.take().expect("its stdout")).lines();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut heard: Vec<String> = Vec::new();
    let line_of = |heard: &[String], label: &str| {
        let of_it = |line: &&String| line.contains(label) && line.contains("/followed");
        heard.iter().find(of_it).cloned()
    };
    // The follower may begin after the first request.
    let (_, of_router) = wait_for("both lines of a request", Duration::from_secs(30), || {
        host.get("shop", "/followed?token=secret");
        while let Ok(line) = receiver.recv_timeout(Duration::from_millis(100)) {
            heard.push(line);
        }
        Some((line_of(&heard, " app[web.1]: served ")?, line_of(&heard, " dozen[router]: ")?))
    });
    follower.kill().expect("its end");
    follower.wait().expect("its end");
    for part in ["dozen[router]: at=info method=GET path=\"/followed", "host=shop.localhost", "status=200"] {
        assert!(of_router.contains(part), "{part}: {of_router}");
    }
}

#[test]
fn herokus_colon_forms_work() {
    let (host, _project) = shop();
    host.dozen(["config:set", "ANSWER=colon"]).succeeds();
    assert!(host.get("shop", "/").body.starts_with("colon v2 "));
    assert_eq!(host.dozen(["config:get", "ANSWER"]).succeeds().stdout, "colon\n");
    host.dozen(["ps:scale", "web=2"]).succeeds();
    assert_eq!(host.up_instances("shop"), ["web.1", "web.2"]);
    host.dozen(["addons:create", "sqlite", "db"]).succeeds();
    host.dozen(["config:unset", "ANSWER"]).succeeds();
    host.dozen(["releases:rollback", "v2"]).succeeds();
    assert!(host.get("shop", "/").body.starts_with("colon v4 "));
    let ran = host.dozen(["run:detached", "--", "true"]).succeeds();
    assert_eq!(ran.stdout, "run.1\n");
}
