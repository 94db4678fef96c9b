//! What the router decides before, or in place of, passing a request on: per stage, from
//! `[router]` of dozen.toml and by verbs, and for the whole server.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use crate::{
    client::{self, Answer},
    host::{TestHost, wait_for},
    project::Project,
};

/// A small app that declares this in dozen.toml.
fn declaring(name: &str, dozen_toml: &str) -> Project {
    let project = Project::small(name);
    project.write("dozen.toml", dozen_toml).commit("declared");
    project
}

/// A request with these header lines.
fn ask(host: &TestHost, first_line: &str, headers: &str) -> Answer {
    let request = format!("{first_line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    client::try_request(host.port(), &request).unwrap_or_else(|error| panic!("{first_line}: {error}"))
}

fn post(host: &TestHost, app: &str, bytes: usize) -> Answer {
    let head = format!("Host: {app}.localhost\r\nContent-Length: {bytes}\r\n");
    let request = format!("POST / HTTP/1.1\r\nConnection: close\r\n{head}\r\n{}", "x".repeat(bytes));
    client::try_request(host.port(), &request).unwrap_or_else(|error| panic!("POST: {error}"))
}

#[test]
fn a_release_brings_its_limits_and_the_next_one_takes_them_away() {
    let host = TestHost::start();
    let project = declaring("shop", "[router]\nmax_body = \"1K\"\nfirst_byte = \"300ms\"\n");
    host.up(&project);
    assert_eq!(post(&host, "shop", 1024).status, 200);
    let refused = post(&host, "shop", 1025);
    assert_eq!((refused.status, refused.header("connection")), (413, Some("close")));
    let late = host.get("shop", "/slow");
    assert_eq!((late.status, host.get("shop", "/").status), (504, 200));

    project.write("dozen.toml", "[stages.production.router]\nfirst_byte = \"20s\"\n").commit("patient");
    host.up(&project);
    assert_eq!((post(&host, "shop", 1025).status, host.get("shop", "/slow").status), (200, 200));
}

#[test]
fn only_listed_addresses_are_served_and_a_trusted_range_of_proxies_says_whose_it_is() {
    let host = TestHost::start_with(&[("DOZEN_TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.1")]);
    host.up(&declaring("shop", "[router]\nallow = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n"));
    for (headers, status) in [
        ("", 403),
        ("X-Forwarded-For: 192.0.2.7\r\n", 200),
        ("X-Forwarded-For: 192.0.2.7, 6.6.6.6\r\n", 403),
        ("X-Forwarded-For: 6.6.6.6, 192.0.2.8, 10.0.0.1\r\n", 200),
        ("Forwarded: for=\"[2001:db8::9]\";proto=https\r\n", 200),
        ("Forwarded: for=192.0.2.7\r\nX-Forwarded-For: 6.6.6.6\r\n", 403),
    ] {
        let answer = ask(&host, "GET /", &format!("Host: shop.localhost\r\n{headers}"));
        assert_eq!(answer.status, status, "{headers}");
    }
    let json = ask(&host, "GET /", "Host: shop.localhost\r\nAccept: application/json\r\n");
    assert_eq!((json.status, json.header("content-type")), (403, Some("application/json")));
    wait_for("the client's address in the log", Duration::from_secs(10), || {
        let log = host.dozen(["logs", "-a", "shop"]).succeeds().stdout;
        (log.contains("fwd=\"192.0.2.8\"") && log.contains("status=403")).then_some(())
    });
}

/// How long a connection lives on which half a head was sent.
fn half_a_head_lives(host: &TestHost) -> Duration {
    let began = Instant::now();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, host.port())).expect("the router");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop").expect("half a head");
    let _ = stream.read_to_end(&mut Vec::new());
    began.elapsed()
}

#[test]
fn another_limit_of_the_server_is_another_router_and_no_limit_is_refused_by_name() {
    let mut host = TestHost::start_with(&[("DOZEN_ROUTER_HEADER_READ", "5s")]);
    host.up(&Project::small("shop"));
    let first = host.router_pid();
    host.kill_control();
    host.start_server();
    assert_eq!(host.router_pid(), first, "the same limits are the same router");

    host.kill_control();
    host.set_env("DOZEN_ROUTER_HEADER_READ", "300ms");
    host.start_server();
    assert_ne!(host.router_pid(), first);
    let lived = half_a_head_lives(&host);
    assert!(lived < Duration::from_secs(4), "{lived:?}");
    assert_eq!(host.get("shop", "/").status, 200);

    let mut other = TestHost::without_server();
    other.set_env("DOZEN_ROUTER_CONNECT", "5");
    let refused = other.refused_start();
    let said = "error: `DOZEN_ROUTER_CONNECT`: `5` is not a duration";
    assert!(refused.stderr.starts_with(said), "{refused:#?}");
}

#[test]
fn in_maintenance_visitors_get_a_page_and_the_operator_gets_the_app() {
    let mut host = TestHost::start_with(&[("DOZEN_TRUSTED_PROXIES", "127.0.0.1")]);
    host.up(&Project::small("shop"));
    let said = host.dozen(["maintenance", "on", "-a", "shop", "--allow", "192.0.2.0/24,::1"]).succeeds();
    assert_eq!(said.stdout, "shop: in maintenance, 192.0.2.0/24, ::1 let through\n");
    let page = host.get("shop", "/");
    assert_eq!((page.status, page.header("retry-after")), (503, Some("60")));
    assert!(page.body.contains("503 Maintenance"), "{page:?}");
    let json = ask(&host, "GET /", "Host: shop.localhost\r\nAccept: application/json\r\n");
    assert_eq!((json.status, json.header("content-type")), (503, Some("application/json")));
    let operator = "Host: shop.localhost\r\nX-Forwarded-For: 192.0.2.7\r\n";
    assert_eq!(ask(&host, "GET /", operator).status, 200);

    // It outlives control, the router and a release; one-off processes and health checks go on.
    host.kill_control();
    host.start_server();
    assert_eq!(host.get("shop", "/").status, 503);
    let changed = host.dozen(["config", "set", "-a", "shop", "ANSWER=new"]).succeeds();
    assert!(changed.stdout.contains("v2"), "{changed:?}");
    assert_eq!(host.get("shop", "/").status, 503);
    host.dozen(["run", "-a", "shop", "--", "true"]).succeeds();
    let listed = host.dozen(["ps", "-a", "shop"]).succeeds();
    assert!(listed.stderr.contains("shop v2, in maintenance"), "{listed:?}");
    let status = host.dozen(["maintenance", "status", "-a", "shop", "--json"]).succeeds().json();
    assert_eq!((&status["maintenance"], &status["allow"][0]), (&true.into(), &"192.0.2.0/24".into()));

    assert_eq!(host.dozen(["maintenance:off", "-a", "shop"]).succeeds().stdout, "shop: not in maintenance\n");
    assert!(host.get("shop", "/").body.starts_with("new v2 "));
    assert_eq!(host.dozen(["maintenance", "-a", "shop"]).succeeds().stdout, "shop: not in maintenance\n");
    let log = host.dozen(["logs", "-a", "shop"]).succeeds().stdout;
    assert!(log.contains("code=H80 desc=\"Maintenance mode\""), "{log}");
}

/// A `GET` of the root on a connection of its own, whose answer is asked for later.
struct Asked(TcpStream);

impl Asked {
    fn at(host: &TestHost, path: &str) -> Self {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, host.port())).expect("the router");
        let request = format!("GET {path} HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a request");
        Self(stream)
    }

    /// Whether nothing came back for so long.
    fn waits_for(&self, time: Duration) -> bool {
        self.0.set_read_timeout(Some(time)).expect("a limit");
        self.0.peek(&mut [0]).is_err()
    }

    fn answer(mut self) -> String {
        self.0.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        let mut text = String::new();
        self.0.read_to_string(&mut text).expect("an answer");
        text
    }
}

#[test]
fn a_pause_lets_what_is_in_flight_finish_and_holds_the_rest_until_the_resume() {
    let host = TestHost::start();
    host.up(&Project::small("shop"));
    let slow = Asked::at(&host, "/slow");
    wait_for("it to be in flight", Duration::from_secs(10), || {
        (host.ps("shop")["traffic"]["in_flight"] == 1).then_some(())
    });
    let paused = host.dozen(["pause", "-a", "shop", "--wait", "--limit", "1m"]).succeeds();
    assert_eq!(paused.stdout, "shop: requests wait, for 60s at most, none is in flight\n");
    assert!(!slow.waits_for(Duration::from_millis(1)), "it was answered before the verb came back");
    assert!(slow.answer().starts_with("HTTP/1.1 200"));
    let (get, mut post) = (Asked::at(&host, "/"), client::Held::at(host.port(), "shop.localhost"));
    post.is_held_for(Duration::from_millis(300));
    assert!(get.waits_for(Duration::from_millis(1)), "reads wait, too");
    let listed = host.dozen(["ps", "-a", "shop"]).succeeds();
    assert!(listed.stderr.contains(", paused for 5"), "{listed:?}");
    assert_eq!(host.dozen(["resume", "-a", "shop"]).succeeds().stdout, "shop: requests go on\n");
    assert!(get.answer().starts_with("HTTP/1.1 200"));
    assert!(post.finish().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_forgotten_pause_ends_by_itself_also_without_control_and_nobody_waits_beyond_the_hold_limit() {
    let mut host = TestHost::start_with(&[("DOZEN_ROUTER_HELD", "2")]);
    host.up(&declaring("shop", "[router]\nhold_limit = \"500ms\"\n"));
    host.dozen(["pause", "-a", "shop", "--limit", "3s"]).succeeds();
    let began = Instant::now();
    let waiting = [Asked::at(&host, "/"), Asked::at(&host, "/")];
    assert!(waiting[1].waits_for(Duration::from_millis(100)));
    let beyond = host.get("shop", "/");
    assert_eq!((beyond.status, beyond.header("retry-after")), (503, Some("5")), "the queue is full");
    for asked in waiting {
        let answer = asked.answer();
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 5"), "{answer}");
    }
    host.kill_control();
    wait_for("the end of the pause", Duration::from_secs(10), || {
        (host.get("shop", "/").status == 200).then_some(())
    });
    let paused = began.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(8)).contains(&paused), "{paused:?}");
    host.start_server();
    assert_eq!(host.ps("shop")["traffic"]["paused_for_ms"], serde_json::Value::Null);
}

#[test]
fn a_pause_that_ends_before_what_was_in_flight_says_so() {
    let host = TestHost::start();
    host.up(&Project::small("shop"));
    let upload = client::Held::at(host.port(), "shop.localhost");
    wait_for("it to be in flight", Duration::from_secs(10), || {
        (host.ps("shop")["traffic"]["in_flight"] == 1).then_some(())
    });
    let refused = host.dozen(["pause", "-a", "shop", "--wait", "--limit", "1s"]).fails_with(1);
    assert!(refused.stderr.contains("1 of the requests before it are still in flight"), "{refused:?}");
    assert!(upload.finish().starts_with("HTTP/1.1 200"));
    for limit in ["999ms", "11m"] {
        let refused = host.dozen(["pause", "-a", "shop", "--limit", limit]).fails_with(1);
        assert!(refused.stderr.starts_with("error: a pause is from 1s to 600s long"), "{refused:?}");
    }
}

/// Answers its health page well, but for the second instance once a file says so.
const MOODY: &str = "\
import http.server, os, pathlib
class Moody(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name, mood = os.environ['DYNO'], pathlib.Path(os.environ['MOOD_PATH'], 'sick')
        sick = self.path == '/healthz' and name == 'web.2' and mood.exists()
        body = name.encode()
        self.send_response(500 if sick else 200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Moody).serve_forever()
";

#[test]
fn an_instance_that_fails_its_probe_gets_no_requests_until_it_passes_again() {
    let host = TestHost::start();
    let declared = "[router]\nprobe = \"/healthz\"\nprobe_interval = \"1s\"\nprobe_failures = 1\n\
                    [services.mood]\nkind = \"volume\"\n[formation]\nweb = 2\n";
    let project = declaring("shop", declared);
    project.write("server.py", MOODY).commit("moody");
    host.up(&project);
    let served_by = || {
        let mut names: Vec<String> = (0..4).map(|_| host.get("shop", "/").body).collect();
        names.sort();
        names.dedup();
        names
    };
    let logged = |text: &str| {
        wait_for(text, Duration::from_secs(20), || {
            host.dozen(["logs", "-a", "shop"]).succeeds().stdout.contains(text).then_some(())
        });
    };
    assert_eq!(served_by(), ["web.1", "web.2"]);
    let touch = |verb: &str| {
        let script = format!("{verb} \"$MOOD_PATH/sick\"");
        host.dozen(["run", "-a", "shop", "--", "sh", "-c", &script]).succeeds();
    };
    touch("touch");
    logged("instance=web.2 desc=\"out of rotation: `/healthz` failed once: status 500\"");
    assert_eq!(served_by(), ["web.1"]);
    touch("rm");
    logged("instance=web.2 desc=\"`/healthz` answers again\"");
    assert_eq!(served_by(), ["web.1", "web.2"]);
}
