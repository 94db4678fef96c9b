//! Apps that do not behave.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use super::{Page, host, line_with};
use crate::{
    host::{Ran, TestHost, wait_for},
    project::Project,
};

/// A web server after the lines that make it misbehave.
fn misbehaving(name: &str, lines: &str, toml: &str) -> Project {
    let server = format!("{lines}\n{PLAIN_SERVER}");
    let files =
        [("Procfile", "web: /usr/bin/python3 server.py\n"), ("server.py", &server), ("dozen.toml", toml)];
    Project::with(name, &files)
}

const PLAIN_SERVER: &str = r#"
import http.server, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(os.environ.get("STATUS", "200")))
        self.end_headers()
    def log_message(self, *rest):
        pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

const TWO_SECONDS: &str = "[health]\ntimeout = \"2s\"\n";

#[test]
fn an_app_that_does_not_get_ready_is_told_what_was_seen_of_it() {
    let host = host();
    let mut page = Page::of(&host);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let wrong_port = misbehaving("port", &format!("import os; os.environ['PORT'] = '{free}'"), TWO_SECONDS);
    let ran = host.dozen_in(wrong_port.folder(), ["up", "."]);
    let assigned = line_with(&ran.stderr, "`PORT` is ").split_once("`PORT` is ").unwrap().1.to_owned();
    page.replace(free, "[ITS PORT]").replace(assigned, "[THE APP'S]").add("the wrong port", &ran);

    for (case, lines) in [
        ("answers 500", "import os; os.environ['STATUS'] = '500'"),
        ("answers 400, as Django to an unknown host", "import os; os.environ['STATUS'] = '400'"),
        ("never listens", "print('thinking', flush=True); import time; time.sleep(60)"),
        ("ends at once", "print('no settings', flush=True); raise SystemExit(3)"),
        ("kills itself", "import os; os.kill(os.getpid(), 9)"),
    ] {
        let ran = host.dozen_in(misbehaving("shop", lines, TWO_SECONDS).folder(), ["up", "."]);
        page.add(case, &once(without_times(ran)));
    }
    let missing = Project::with("shop", &[("Procfile", "web: gunicron shop.wsgi\n")]);
    page.add("a program that is not there", &without_times(host.dozen_in(missing.folder(), ["up", "."])));
    insta::assert_snapshot!(page.text);
}

#[test]
fn an_app_that_ignores_sigterm_is_killed_after_its_grace_period() {
    let host = host();
    let ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)";
    host.up(&misbehaving("shop", ignore, "[formation.web]\ngrace = \"1s\"\n"));
    let began = Instant::now();
    let down = host.dozen(["down", "-a", "shop"]).succeeds();
    let told = line_with(&down.stderr, "warning: ");
    assert_eq!(told, "warning: web.1 did not end within 1s of SIGTERM and was killed");
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(10), "{took:?}");
    let logs = host.dozen(["logs", "-a", "shop", "--source", "dozen"]).succeeds().stdout;
    let end = line_with(&logs, "SIGTERM").split_once(' ').unwrap().1;
    assert_eq!(end, "dozen[web.1]: web.1 of v1 did not end within 1s of SIGTERM and was killed");
}

#[test]
fn the_stop_signal_reaches_a_server_that_a_shell_started() {
    let host = host();
    let say = "import signal, sys\ndef end(*_):\n    print('asked to end', flush=True)\n    sys.exit(0)\n\
               signal.signal(signal.SIGTERM, end)";
    let project = misbehaving("shop", say, "");
    project.write("Procfile", "web: cd . && /usr/bin/python3 server.py && echo done\n").commit("a shell");
    host.up(&project);
    host.dozen(["down", "-a", "shop"]).succeeds();
    let logs = host.dozen(["logs", "-a", "shop"]).succeeds().stdout;
    line_with(&logs, "app[web.1]: asked to end");
    line_with(&logs, "dozen[web.1]: web.1 of v1 stopped");
}

#[test]
fn a_log_line_cannot_write_to_the_terminal() {
    let host = host();
    let hostile =
        r#"print("\x1b[2J\x1b]0;title\x07one \x1b[31mred\x1b[0m \u009b2J\u202etwo\rthree", flush=True)"#;
    host.up(&misbehaving("shop", hostile, ""));
    for words in [&["logs", "-a", "shop"][..], &["logs", "-a", "shop", "--color", "always"]] {
        let logs = host.dozen(words.iter().copied()).succeeds().stdout;
        let line = line_with(&logs, "one ");
        let plain = line
            .replace("\x1b[31m", "")
            .replace("\x1b[34m", "")
            .replace("\x1b[2m", "")
            .replace("\x1b[0m", "");
        assert!(!plain.chars().any(|letter| letter.is_control() || letter == '\u{202e}'), "{plain:?}");
        assert!(plain.contains("one red") && plain.contains("two"), "{plain:?}");
        assert_eq!(line.contains('\x1b'), words.contains(&"always"), "colour alone stays: {line:?}");
    }
    let json = host.dozen(["logs", "-a", "shop", "--json"]).succeeds().stdout;
    assert!(!json.chars().any(|letter| letter.is_control() && letter != '\n'), "{json:?}");
}

#[test]
fn ctrl_c_says_whether_the_change_ends_or_goes_on() {
    let host = host();
    let project = Project::small("shop");
    project
        .write("Procfile", "web: /usr/bin/python3 server.py\nrelease: echo migrating; sleep 2\n")
        .commit("slow");
    let mut page = Page::of(&host);

    let first = interrupted(&host, project.folder(), "migrating");
    page.add("in the release phase", &without_times(first));
    assert!(host.get("shop", "/").body.starts_with("hello v1 "), "it went on to its end");
    insta::assert_snapshot!(page.text);
}

/// Runs `up`, with Ctrl-C as soon as a line has `mark` in it.
pub(super) fn interrupted(host: &TestHost, folder: &Path, mark: &str) -> Ran {
    let mut command = host.command(["up", "."]);
    command.current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let mut stderr = String::new();
    let mut sent = false;
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    while lines.read_line(&mut stderr).unwrap() > 0 {
        if !sent && stderr.contains(mark) {
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
            sent = true;
        }
    }
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    Ran { status: child.wait().unwrap().code().unwrap_or(-1), stdout, stderr }
}

/// A line that stands twice only once: whoever ends at once may have been started again by then.
fn once(mut ran: Ran) -> Ran {
    let mut lines: Vec<&str> = ran.stderr.lines().collect();
    lines.dedup();
    ran.stderr = lines.join("\n");
    ran
}

/// Seconds and ports are the machine's affair; statuses, of three digits, are the app's.
pub(super) fn without_times(mut ran: Ran) -> Ran {
    let mut told = String::new();
    for word in ran.stderr.split_inclusive([' ', '\n']) {
        let number = word.trim_end();
        let is_number = number.parse::<f64>().is_ok();
        if is_number && (number.contains('.') || number.len() > 3) {
            told.push_str(&word.replace(number, "[N]"));
        } else {
            told.push_str(word);
        }
    }
    ran.stderr = told;
    ran
}

#[test]
fn an_app_that_prints_without_end_is_cut_into_lines_and_answers() {
    let host = host();
    let endless = "import os, threading\n\
                   threading.Thread(target=lambda: os.write(1, b'x' * (4 << 20)), daemon=True).start()";
    host.up(&misbehaving("shop", endless, ""));
    wait_for("the output in the log", Duration::from_secs(20), || {
        let logs = host.dozen(["logs", "-a", "shop", "-n", "5", "--source", "app"]).succeeds().stdout;
        logs.lines().all(|line| line.len() < 100_000).then_some(()).filter(|()| logs.contains("xxxx"))
    });
    assert_eq!(host.get("shop", "/").status, 200);
}
