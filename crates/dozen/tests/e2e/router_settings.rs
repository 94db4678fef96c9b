//! Each setting of the router, from the environment or dozen.toml to what a client sees of it. Those
//! that are not here are in `router_policy.rs`.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{self, Answer},
    host::{Ran, TestHost, wait_for},
    project::Project,
};

fn connect(host: &TestHost) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, host.port())).expect("the router");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    stream
}

fn with_headers(host: &TestHost, headers: &str) -> Answer {
    let request = format!("GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n{headers}\r\n");
    client::try_request(host.port(), &request).expect("an answer")
}

#[test]
fn heads_and_connections_are_bounded_as_the_environment_says() {
    let host = TestHost::start_with(&[
        ("DOZEN_ROUTER_HEAD_SIZE", "2K"),
        ("DOZEN_ROUTER_HEADERS", "20"),
        ("DOZEN_ROUTER_KEEP_ALIVE", "500ms"),
        ("DOZEN_ROUTER_CONNECTIONS_PER_CLIENT", "8"),
    ]);
    host.up(&Project::small("shop"));
    for (headers, status) in [
        (format!("X: {}\r\n", "y".repeat(1500)), 200),
        (format!("X: {}\r\n", "y".repeat(2500)), 431),
        ("X: y\r\n".repeat(18), 200),
        ("X: y\r\n".repeat(19), 431),
    ] {
        assert_eq!(with_headers(&host, &headers).status, status, "{} bytes", headers.len());
    }

    let mut kept = connect(&host);
    kept.write_all(b"GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n").expect("a request");
    let began = Instant::now();
    kept.read_to_end(&mut Vec::new()).expect("an answer, and the end");
    let lived = began.elapsed();
    assert!((Duration::from_millis(450)..Duration::from_secs(10)).contains(&lived), "{lived:?}");

    let mut held: Vec<TcpStream> = (0..8).map(|_| connect(&host)).collect();
    for stream in &mut held {
        stream.write_all(b"GET ").expect("a part of a request");
    }
    let turned_away = wait_for("all of them to be counted", Duration::from_secs(10), || {
        let answer = host.get("shop", "/");
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(turned_away.header("retry-after"), Some("5"));
    drop(held);
    wait_for("a place", Duration::from_secs(10), || (host.get("shop", "/").status == 200).then_some(()));
}

#[test]
fn clients_beyond_all_connections_wait_until_one_has_gone() {
    let host = TestHost::start_with(&[("DOZEN_ROUTER_CONNECTIONS", "2")]);
    host.up(&Project::small("shop"));
    // More than one for each thread, wherever the kernel puts them.
    let mut taken: Vec<TcpStream> = (0..24).map(|_| connect(&host)).collect();
    for stream in &mut taken {
        stream.write_all(b"GET ").expect("a part of a request");
    }
    let mut waiting = connect(&host);
    waiting
        .write_all(b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n")
        .expect("a request");
    waiting.set_read_timeout(Some(Duration::from_millis(300))).expect("a limit");
    waiting.peek(&mut [0]).expect_err("neither an answer nor an end");
    drop(taken);
    waiting.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Listens for one connection at a time, and after `/deaf` takes none any more.
const DEAF: &str = r#"
import os, socket, time
server = socket.socket()
server.bind(("127.0.0.1", int(os.environ["PORT"])))
server.listen(0)
while True:
    client, _ = server.accept()
    asked = client.recv(65536)
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
    client.close()
    while b"/deaf" in asked:
        time.sleep(1)
"#;

#[test]
fn an_instance_that_takes_no_connection_is_given_up_in_the_time_of_the_setting() {
    let host = TestHost::start_with(&[("DOZEN_ROUTER_CONNECT", "300ms")]);
    let toml = "[router]\nhold_limit = \"400ms\"\nfirst_byte = \"20s\"\n";
    let files =
        [("Procfile", "web: /usr/bin/python3 server.py\n"), ("server.py", DEAF), ("dozen.toml", toml)];
    host.up(&Project::with("shop", &files));
    assert_eq!(host.get("shop", "/deaf").status, 200);
    // These are in the queue of its listener, which is full then.
    let queued: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = connect(&host);
            stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n").expect("a request");
            stream
        })
        .collect();
    let began = Instant::now();
    let answer = host.get("shop", "/");
    let waited = began.elapsed();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!((Duration::from_millis(300)..Duration::from_secs(4)).contains(&waited), "{waited:?}");
    drop(queued);
}

/// curl through TLS: what it was answered with, and over which version.
fn curl(host: &TestHost, address: &str, version: &str, words: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "30", "--noproxy", "*", version, "--output", "/dev/null"]);
    command.args(["--write-out", "%{http_version} %{response_code}", "--connect-to"]);
    command.arg(format!("::{address}")).arg("--cacert").arg(host.home().join("authority.pem")).args(words);
    let ran = Ran::from(command.stdin(Stdio::null()).output().expect("curl"));
    if ran.status == 0 { ran.stdout } else { ran.stderr }
}

#[test]
fn the_limits_of_a_stage_hold_over_http_2_as_well() {
    let host = TestHost::start_with(&[("DOZEN_LISTEN_HTTPS", "127.0.0.1:0")]);
    let toml =
        "[router]\nmax_body = \"1K\"\nfirst_byte = \"300ms\"\nidle = \"600ms\"\nhold_limit = \"500ms\"\n";
    let server = include_str!("clients/server.py");
    let files =
        [("Procfile", "web: /usr/bin/python3 server.py\n"), ("server.py", server), ("dozen.toml", toml)];
    host.up(&Project::with("shop", &files));
    let info = host.dozen(["server", "status", "--json"]).succeeds().json();
    let address = info["listen_https"][0].as_str().expect("an address for HTTPS");
    let authority = host.dozen(["certs", "trust", "--print"]).succeeds().stdout;
    std::fs::write(host.home().join("authority.pem"), authority).expect("a file");
    for (name, length) in [("fits", 1024), ("large", 1025)] {
        std::fs::write(host.home().join(name), "x".repeat(length)).expect("a file");
    }
    let url = "https://shop.localhost/";
    wait_for("a certificate", Duration::from_secs(30), || {
        (curl(&host, address, "--http2", &[url]) == "2 200").then_some(())
    });
    let file = |name: &str| format!("@{}", host.home().join(name).display());
    let (fits, large) = (file("fits"), file("large"));
    for (version, told) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let ask = |words: &[&str]| curl(&host, address, version, words);
        assert_eq!(ask(&["--data-binary", &fits, url]), format!("{told} 200"));
        assert_eq!(ask(&["--data-binary", &large, url]), format!("{told} 413"));
        assert_eq!(ask(&["https://shop.localhost/slow"]), format!("{told} 504"), "first_byte");
        // A queue that nobody fills: half of the body comes, and nothing more.
        let queue = host.home().join(format!("queue{told}"));
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &queue,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .expect("a queue");
        let filled = thread::spawn({
            let queue = queue.clone();
            move || {
                let mut queue = std::fs::OpenOptions::new().write(true).open(queue).expect("the queue");
                let _ = queue.write_all(b"half");
                thread::sleep(Duration::from_secs(2));
            }
        });
        let upload = ask(&["-X", "POST", "-H", "Expect:", "-T", queue.to_str().expect("a path"), url]);
        assert_eq!(upload, format!("{told} 408"), "idle");
        filled.join().expect("the other end");
        host.dozen(["pause", "-a", "shop", "--limit", "30s"]).succeeds();
        let began = Instant::now();
        assert_eq!(ask(&[url]), format!("{told} 503"), "hold_limit");
        let held = began.elapsed();
        assert!((Duration::from_millis(450)..Duration::from_secs(10)).contains(&held), "{held:?}");
        host.dozen(["resume", "-a", "shop"]).succeeds();
    }
}
