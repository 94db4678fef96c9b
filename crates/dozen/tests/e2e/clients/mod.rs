//! Real clients through the router: curl, wrk, a WebSocket library of Python, a browser. Those that
//! come by TLS are in [`secure`].
//!
//! The app is a server of Python's standard library, so whatever goes wrong is the router's doing.

mod secure;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    client,
    host::{Ran, TestHost, skip, wait_for},
    project::Project,
};

const HOST: &str = "clients.localhost";

/// A host that runs the app for clients.
fn serving() -> TestHost {
    serving_with(&[])
}

/// The same with these settings.
fn serving_with(env: &[(&str, &str)]) -> TestHost {
    let host = TestHost::start_with(env);
    host.up(&Project::with(
        "clients",
        &[
            ("Procfile", "web: /usr/bin/python3 server.py\n"),
            ("server.py", include_str!("server.py")),
            ("page.html", include_str!("page.html")),
        ],
    ));
    host
}

/// Whether a program is there; what its absence leaves out is told.
fn is_installed(program: &str) -> bool {
    let is_there = Path::new("/usr/bin").join(program).is_file();
    if !is_there {
        skip(&format!("`{program}` is not installed"));
    }
    is_there
}

fn url(host: &TestHost, path: &str) -> String {
    format!("http://{HOST}:{}{path}", host.port())
}

/// curl, told where the app's host is.
fn curl(host: &TestHost, words: &[&str]) -> Ran {
    let resolve = format!("{HOST}:{}:127.0.0.1", host.port());
    let fixed = ["-sS", "--max-time", "30", "--noproxy", "*", "--resolve", &resolve];
    let mut command = Command::new("curl");
    command.args(fixed).args(words).current_dir(host.home()).env("HOME", host.home());
    Ran::from(command.output().expect("curl")).succeeds()
}

/// What `sha256sum` says of a file of the host.
fn digest(host: &TestHost, file: &str) -> String {
    let output = Command::new("sha256sum").arg(host.home().join(file)).output().expect("sha256sum");
    Ran::from(output).succeeds().stdout[..64].to_owned()
}

#[test]
fn curl_uploads_resumes_and_keeps_its_connection() {
    if !is_installed("curl") {
        return;
    }
    let host = serving();
    std::fs::write(host.home().join("upload"), vec![b'u'; 3 << 20]).expect("a file to upload");
    let uploaded = format!("{} {}\n", 3 << 20, digest(&host, "upload"));
    let to = url(&host, "/upload");

    let length = curl(&host, &["-v", "-H", "Expect: 100-continue", "--data-binary", "@upload", &to]);
    assert_eq!(length.stdout, format!("length {uploaded}"));
    assert!(length.stderr.contains("< HTTP/1.1 100 Continue"), "{}", length.stderr);
    let chunked = curl(&host, &["-H", "Transfer-Encoding: chunked", "-T", "upload", &to]);
    assert_eq!(chunked.stdout, format!("chunked {uploaded}"));
    let without = curl(&host, &["-H", "Expect:", "--data-binary", "@upload", &to]);
    assert_eq!(without.stdout, format!("length {uploaded}"));
    let old = curl(&host, &["--http1.0", "--data-binary", "@upload", &to]);
    assert_eq!(old.stdout, format!("length {uploaded}"));

    let file = url(&host, "/file");
    curl(&host, &["-o", "whole", &file]);
    let whole = std::fs::read(host.home().join("whole")).expect("the file");
    std::fs::write(host.home().join("half"), &whole[..300_000]).expect("a part of it");
    curl(&host, &["-C", "-", "-o", "half", &file]);
    assert_eq!(digest(&host, "half"), digest(&host, "whole"), "what was missing was appended");
    let head = curl(&host, &["-I", &file]).stdout.to_ascii_lowercase();
    assert!(head.contains("content-length: 1048576"), "{head}");

    let pages: Vec<String> = (0..5).map(|number| url(&host, &format!("/{number}"))).collect();
    let mut words = vec!["-v"];
    words.extend(pages.iter().map(String::as_str));
    let kept = curl(&host, &words);
    assert_eq!(kept.stdout, "GET /0\nGET /1\nGET /2\nGET /3\nGET /4\n");
    assert_eq!(kept.stderr.matches("Re-using existing connection").count(), 4, "{}", kept.stderr);
}

#[test]
fn wrk_meets_no_error() {
    if !is_installed("wrk") {
        return;
    }
    let host = serving();
    let address = format!("http://127.0.0.1:{}/", host.port());
    for connection in ["keep-alive", "close"] {
        let (name, connection) = (format!("Host: {HOST}"), format!("Connection: {connection}"));
        let words = ["-t1", "-c16", "-d1s", "-H", &name, "-H", &connection, &address];
        let ran = Ran::from(Command::new("wrk").args(words).output().expect("wrk")).succeeds();
        let requests = ran.stdout.lines().find_map(|line| line.trim().split_once(" requests in"));
        let requests: u32 = requests.and_then(|(count, _)| count.parse().ok()).expect("a count");
        assert!(requests > 10, "{}", ran.stdout);
        for word in ["Socket errors", "Non-2xx"] {
            assert!(!ran.stdout.contains(word), "{connection}: {}", ran.stdout);
        }
    }
}

const WEBSOCKETS: &str = r#"
import asyncio, ssl, sys, websockets

async def one(uri, number, **more):
    async with websockets.connect(uri, proxy=None, **more) as socket:
        for message in [f"hello {number}", "", "x" * 70_000, b"\x00\xff" * 500]:
            await socket.send(message)
            assert await socket.recv() == message, number
        await (await socket.ping())

async def main(uri, ca=None):
    more = {"ssl": ssl.create_default_context(cafile=ca)} if ca else {}
    await asyncio.gather(*(one(uri, number, **more) for number in range(20)))

asyncio.run(main(*sys.argv[1:]))
print("all echoed")
"#;

/// Runs a script with packages of PyPI, where the host's name is this machine.
fn python(host: &TestHost, packages: &[&str], script: &str, words: &[&str]) -> Ran {
    let target = host.home().join("packages");
    let run = |words: &[&str]| {
        let mut command = Command::new("python3");
        command.args(words).env("PYTHONPATH", &target).env("HOME", host.home()).current_dir(host.home());
        Ran::from(command.output().expect("python3")).succeeds()
    };
    let target = target.to_string_lossy();
    if !packages.is_empty() {
        run(&[&["-m", "pip", "install", "--quiet", "--target", &target], packages].concat());
    }
    // Its resolver does not know the name on every machine.
    let script = format!(
        "import socket\nfind = socket.getaddrinfo\n\
         socket.getaddrinfo = lambda name, *rest, **more: find('127.0.0.1', *rest, **more)\n{script}"
    );
    run(&[&["-c", &script], words].concat())
}

#[test]
fn a_websocket_library_of_python_talks_through_the_router() {
    let host = serving();
    let uri = format!("ws://{HOST}:{}/socket", host.port());
    let ran = python(&host, &["websockets==15.0.1"], WEBSOCKETS, &[&uri]);
    assert_eq!(ran.stdout, "all echoed\n");
}

/// A browser, ended with the test.
struct Browser(Child);

impl Browser {
    fn open(host: &TestHost, words: &[&str]) -> Self {
        let profile = format!("--user-data-dir={}", host.home().join("profile").display());
        let mut command = Command::new("chromium");
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-proxy-server",
            "--disable-dev-shm-usage",
        ]);
        command.arg(profile).args(words).env("HOME", host.home()).current_dir(host.home());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("chromium"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its other processes end with it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the page at this address reports, when it has done all it does.
fn reported(host: &TestHost, words: &[&str]) -> String {
    let _browser = Browser::open(host, words);
    wait_for("the page's report", Duration::from_secs(60), || {
        let reported = client::get(host.port(), HOST, "/reported").body;
        (!reported.is_empty()).then_some(reported)
    })
}

#[test]
fn a_browser_gets_a_page_its_events_and_a_websocket() {
    if !is_installed("chromium") {
        return;
    }
    let host = serving();
    let reported = reported(&host, &[&url(&host, "/page")]);
    assert_eq!(reported, "http/1.1: echo hello, events 0,1,2, pages 30, upload length 300000");
}
