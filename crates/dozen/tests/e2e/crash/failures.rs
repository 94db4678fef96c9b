//! Each way in which a deploy fails leaves what served before, and says why.

use std::time::{Duration, Instant};

use super::processes::{nothing_is_left_over, pid_of};
use crate::{
    host::{Ran, TestHost},
    project::Project,
};

const LISTENS_NEVER: &str = "import time\nprint('thinking', flush=True)\ntime.sleep(60)\n";
const ENDS_AT_ONCE: &str = "print('no database today', flush=True)\nraise SystemExit(5)\n";

/// Time enough for Python to start and to say something on a busy machine.
const PATIENT: &str = "[health]\ntimeout = \"4s\"\n";

/// A server that answers everything with one status.
fn answering(status: u16) -> String {
    format!(
        "import os\nfrom http.server import BaseHTTPRequestHandler, HTTPServer\n\
         class Handler(BaseHTTPRequestHandler):\n    def do_GET(self):\n        \
         print('answering with {status}', flush=True)\n        self.send_response({status})\n        \
         self.send_header('Content-Length', '0')\n        self.end_headers()\n\
         HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()\n"
    )
}

/// A host on which `v1` of an app serves, and the app's repository.
struct Served {
    host: TestHost,
    project: Project,
    pid: u32,
}

impl Served {
    fn v1() -> Self {
        let host = TestHost::start();
        let project = Project::small("shop");
        host.up(&project);
        let pid = pid_of(&host, "shop", "web.1");
        Self { host, project, pid }
    }

    /// Deploys other files, which has to fail, and finds `v1` untouched.
    #[track_caller]
    fn refuses(&self, files: &[(&str, &str)]) -> Ran {
        for (path, text) in files {
            self.project.write(path, text);
        }
        self.project.commit("broken");
        let failed = self.host.dozen_in(self.project.folder(), ["up", "."]).fails_with(1);
        assert!(failed.stderr.contains("error: "), "{failed:#?}");
        assert!(failed.stderr.contains("hint: "), "{failed:#?}");
        assert!(self.host.get("shop", "/").body.starts_with("hello v1 "), "{failed:#?}");
        assert_eq!(pid_of(&self.host, "shop", "web.1"), self.pid);
        nothing_is_left_over(&self.host, &["shop"]);
        failed
    }
}

#[track_caller]
fn says(failed: &Ran, texts: &[&str]) {
    for text in texts {
        assert!(failed.stderr.contains(text), "no `{text}` in {failed:#?}");
    }
}

#[test]
fn a_build_that_fails_leaves_what_serves() {
    let served = Served::v1();
    let failed = served.refuses(&[("dozen.toml", "[helth]\npath = \"/\"\n")]);
    says(&failed, &["helth", "health"]);
}

/// A package of the tree whose own build ends badly; its tool comes from no index.
const BROKEN_PACKAGE: [(&str, &str); 3] = [
    ("requirements.txt", "./broken\n"),
    (
        "broken/pyproject.toml",
        "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
    ),
    ("broken/backend.py", "def build_wheel(*_):\n    raise SystemExit('no such header')\n"),
];

#[test]
fn a_build_step_that_fails_leaves_what_serves_and_says_what_to_do_next() {
    let served = Served::v1();
    let failed = served.refuses(&BROKEN_PACKAGE);
    let hint = "hint: the lines above are its own; run `pip install -r requirements.txt` in a fresh checkout";
    says(&failed, &["no such header", "error: install ended with status 1", hint]);

    let command = "[build]\ncommand = \"printf 'NoNewPrivs:\\t1\\n'; exit 2\"\n";
    let failed = served.refuses(&[("requirements.txt", ""), ("dozen.toml", command)]);
    let named = "error: `[build] command` of dozen.toml ended with status 2";
    says(&failed, &[named, "hint: the lines above are its own; run it in a fresh checkout of the app"]);
    assert_eq!(failed.stderr.matches("NoNewPrivs:    1").count(), 1, "{failed:#?}");
}

#[test]
fn a_release_phase_that_exits_3_leaves_what_serves() {
    let served = Served::v1();
    let procfile = "web: /usr/bin/python3 server.py\nrelease: sh -c 'echo migrating 7 rows; exit 3'\n";
    let failed = served.refuses(&[("Procfile", procfile)]);
    says(&failed, &["migrating 7 rows", "exit status 3"]);
}

#[test]
fn a_release_phase_beyond_its_limit_leaves_what_serves() {
    let served = Served::v1();
    let procfile = "web: /usr/bin/python3 server.py\nrelease: sh -c 'echo migrating slowly; sleep 60'\n";
    let failed = served.refuses(&[("Procfile", procfile), ("dozen.toml", "[release]\ntimeout = \"3s\"\n")]);
    says(&failed, &["migrating slowly", "3s"]);
}

#[test]
fn an_app_that_never_listens_leaves_what_serves() {
    let served = Served::v1();
    let failed = served.refuses(&[("server.py", LISTENS_NEVER), ("dozen.toml", PATIENT)]);
    says(&failed, &["thinking", "listen"]);
}

#[test]
fn an_app_whose_health_path_answers_500_leaves_what_serves() {
    let served = Served::v1();
    let health = format!("{PATIENT}path = \"/healthz\"\n");
    let failed = served.refuses(&[("server.py", &answering(500)), ("dozen.toml", &health)]);
    says(&failed, &["answering with 500", "500"]);
}

#[test]
fn an_app_that_answers_400_to_its_own_host_leaves_what_serves() {
    let served = Served::v1();
    let failed = served.refuses(&[("server.py", &answering(400)), ("dozen.toml", PATIENT)]);
    says(&failed, &["answering with 400", "shop.localhost", "ALLOWED_HOSTS"]);
}

#[test]
fn an_app_that_ends_at_once_leaves_what_serves() {
    let served = Served::v1();
    let failed = served.refuses(&[("server.py", ENDS_AT_ONCE)]);
    says(&failed, &["no database today", "exit status 5"]);
}

#[test]
fn the_instances_of_a_failed_start_end_side_by_side() {
    let host = TestHost::start();
    let project = Project::small("shop");
    let procfile = "web: /usr/bin/python3 server.py\nworker: trap '' TERM; while :; do sleep 1; done\n";
    let grace = "[formation.worker]\ngrace = \"2s\"\n";
    project.write("Procfile", procfile).write("dozen.toml", grace).commit("with workers");
    host.up(&project);
    host.dozen(["ps", "scale", "-a", "shop", "worker=8"]).succeeds();
    project.write("server.py", ENDS_AT_ONCE).commit("broken");
    let began = Instant::now();
    host.dozen_in(project.folder(), ["up", "."]).fails_with(1);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(12), "each takes two seconds, all at once: {took:?}");
    nothing_is_left_over(&host, &["shop"]);
}
