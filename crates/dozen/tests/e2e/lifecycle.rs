//! One app from its first deploy to its end.

use std::time::{Duration, Instant};

use crate::{
    client,
    host::{TestHost, wait_for},
    project::Project,
};

/// An app that reads the whole of a `POST` and ends at once when it is told to.
const SLOW_SERVER: &str = r#"
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()
    def do_POST(self):
        print("begun", flush=True)
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[test]
fn an_instance_stays_while_the_router_before_this_one_has_a_request_in_it() {
    let mut host = TestHost::start();
    host.set_env("DOZEN_APP", "shop");
    let project = Project::small("shop");
    project.write("server.py", SLOW_SERVER).commit("slow");
    host.up(&project);
    let mut asked = client::Held::at(host.port(), "shop.localhost");
    wait_for("the request at the app", Duration::from_secs(30), || {
        host.dozen(["logs"]).succeeds().stdout.contains("begun").then_some(())
    });
    let old_router = host.router_pid();
    host.dozen(["server", "stop"]).succeeds();
    host.wait_for_control_end();
    host.start_server();
    assert_ne!(host.router_pid(), old_router);
    host.dozen(["config", "set", "A=1"]).succeeds();
    asked.is_held_for(Duration::from_secs(1));
    let answer = asked.finish();
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
}

#[test]
fn an_app_is_deployed_configured_scaled_rolled_back_and_destroyed() {
    let host = TestHost::start();
    let project = Project::small("shop");
    let up = host.up(&project);
    assert!(up.stdout.contains(&format!("http://shop.localhost:{}/", host.port())), "{up:#?}");
    assert!(host.get("shop", "/").body.starts_with("hello v1 "));

    host.dozen(["config", "set", "-a", "shop", "ANSWER=salut"]).succeeds();
    assert!(host.get("shop", "/").body.starts_with("salut v2 "));

    host.dozen(["ps", "scale", "-a", "shop", "web=3"]).succeeds();
    assert_eq!(host.up_instances("shop"), ["web.1", "web.2", "web.3"]);

    let back = host.dozen(["rollback", "-a", "shop"]).succeeds();
    assert_eq!(back.stdout, "shop: v3, rolled back to v1\n");
    assert!(host.get("shop", "/").body.starts_with("hello v3 "));

    project.write("server.py", "raise SystemExit(3)\n");
    project.commit("broken");
    let failed = host.dozen_in(project.folder(), ["deploy", "-a", "shop"]).fails_with(1);
    assert!(failed.stderr.contains("exit status 3"), "{failed:#?}");
    assert!(host.get("shop", "/").body.starts_with("hello v3 "), "what served before serves on");

    host.dozen(["destroy", "shop", "--confirm", "shop"]).succeeds();
    assert_eq!(host.get("shop", "/").status, 404);
}

#[test]
fn a_one_off_process_runs_in_the_release_and_passes_its_status_on() {
    let host = TestHost::start();
    host.up(&Project::small("shop"));
    let ran = host
        .dozen(["run", "-a", "shop", "--", "sh", "-c", "echo $DOZEN_RELEASE $DYNO; exit 7"])
        .fails_with(7);
    assert_eq!(ran.stdout, "v1 run.1\n", "{ran:#?}");
    wait_for("its line in the log", Duration::from_secs(30), || {
        let logs = host.dozen(["logs", "-a", "shop", "-n", "50"]).succeeds();
        logs.stdout.contains("app[run.1]: v1 run.1").then_some(())
    });
}

#[test]
fn a_stages_own_release_command_takes_the_place_of_the_apps() {
    let host = TestHost::start();
    let project = Project::small("shop");
    let toml = "[release]\ncommand = \"echo of the app\"\n\n\
                [stages.production.release]\ncommand = \"echo of the stage\"\n";
    project.write("dozen.toml", toml).commit("two release commands");
    host.up(&project);
    let logs = host.dozen(["logs", "-a", "shop", "--ps", "release"]).succeeds();
    assert!(logs.stdout.contains("of the stage") && !logs.stdout.contains("of the app"), "{logs:#?}");
}

#[test]
fn ps_shows_what_an_instance_takes_and_where_it_is_reached() {
    let host = TestHost::start();
    host.up(&Project::small("shop"));
    let endpoint = host.ps("shop")["instances"][0]["endpoint"].as_str().expect("an address").to_owned();
    let ran = host.dozen(["ps", "-a", "shop"]).succeeds();
    for word in ["STATE", "RELEASE", "FOR", "RESTARTS", "MEMORY", "ENDPOINT", &endpoint] {
        assert!(ran.stdout.contains(word), "{word}: {ran:#?}");
    }
    assert!(ran.stderr.contains("walls: mount, pid"), "{ran:#?}");
}

#[test]
fn many_instances_without_a_port_are_waited_for_as_long_as_one() {
    let host = TestHost::start();
    let project = Project::small("shop");
    project.write("Procfile", "web: /usr/bin/python3 server.py\nworker: sleep 600\n").commit("with a worker");
    host.up(&project);
    let began = Instant::now();
    host.dozen(["ps", "scale", "-a", "shop", "worker=12"]).succeeds();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(9), "each is to live for a second, all at once: {took:?}");
    assert_eq!(host.up_instances("shop").len(), 13);
}
