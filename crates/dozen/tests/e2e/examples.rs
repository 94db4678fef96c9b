//! Each of the repository's examples, deployed as its README says.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use crate::{
    host::{TestHost, wait_for},
    project::Project,
};

/// Queues a mail the way the app does it.
const QUEUE_A_MAIL: &str =
    "from mailqueue.queue import queue_mail; queue_mail('reader@example.org', 'A subject to find', 'text')";

#[test]
fn blango_serves_passes_its_own_tests_keeps_its_data_and_sends_mail_from_its_worker() {
    let host = TestHost::start();
    let project = Project::example("blango");
    let up = host.up(&project);
    assert!(up.stderr.contains("`worker` has no instance yet"), "{up:#?}");
    assert_eq!(host.get("blango", "/healthz").status, 200);
    let run = |words: &[&str]| {
        let words: Vec<&str> =
            ["run", "-a", "blango", "--", "python", "manage.py"].iter().chain(words).copied().collect();
        host.dozen(words).succeeds()
    };
    assert_eq!(run(&["seed"]).stdout, "9 posts added, 0 were there\n");
    let page = host.get("blango", "/");
    assert_eq!(page.status, 200, "{page:?}");
    let style = page.body.split('"').find(|word| word.starts_with("/static/")).expect("a static file");
    assert_eq!(host.get("blango", style).status, 200, "collected in the build, served by the app: {style}");

    let picture =
        page.body.split('"').find(|word| word.starts_with("/media/")).expect("a picture").to_owned();
    let before = host.get("blango", &picture);
    assert_eq!((before.status, before.header("content-type")), (200, Some("image/jpeg")), "{picture}");
    its_own_tests_pass_in_its_image(&host);

    let url = host.dozen(["config", "get", "-a", "blango", "DATABASE_URL"]).succeeds();
    assert_eq!(url.stdout, "sqlite:////data/db/db.sqlite3?transaction_mode=IMMEDIATE&timeout=20\n");

    run(&["shell", "-c", QUEUE_A_MAIL]);
    host.dozen(["ps", "scale", "-a", "blango", "worker=1"]).succeeds();
    wait_for("the mail on the worker's console", Duration::from_secs(60), || {
        let logs = host.dozen(["logs", "-a", "blango", "--ps", "worker.1", "-n", "100"]).succeeds();
        logs.stdout.contains("Subject: A subject to find").then_some(())
    });

    project.commit("another release");
    host.up(&project);
    assert_eq!(run(&["seed"]).stdout, "0 posts added, 9 were there\n", "the database outlives a release");
    let after = host.get("blango", &picture);
    assert_eq!((after.status, after.header("x-blango-release")), (200, Some("v2")), "{picture}");
    assert!(after.body == before.body, "the picture outlives a release");
}

/// Pages, comments, the admin, sign-up, the worker's end and what the settings make of URLs.
fn its_own_tests_pass_in_its_image(host: &TestHost) {
    let test =
        ["run", "-a", "blango", "--", "env", "DJANGO_CONFIGURATION=Test", "python", "manage.py", "test"];
    let tests = host.dozen(test).succeeds();
    let told = format!("{}{}", tests.stdout, tests.stderr);
    let count = told.split("Ran ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    assert!(count >= Some(57) && told.lines().any(|line| line == "OK"), "{told}");
}

#[test]
fn express_hello_streams_events_and_answers_on_a_web_socket() {
    let host = TestHost::start();
    host.up(&Project::example("express-hello"));
    assert!(host.get("express-hello", "/version").body.contains("\"release\":\"v1\""));
    let built = host.get("express-hello", "/build.json");
    assert_eq!(built.status, 200, "the build script ran: {built:?}");

    let mut events = connect(&host);
    events
        .write_all(
            b"GET /events HTTP/1.1\r\nHost: express-hello.localhost\r\nAccept: text/event-stream\r\n\r\n",
        )
        .expect("a request");
    let heard = read_until(&mut events, b"id: 2\n");
    assert!(heard.contains("text/event-stream") && heard.contains("id: 1\n"), "{heard}");

    let mut socket = connect(&host);
    socket
        .write_all(
            b"GET /ws HTTP/1.1\r\nHost: express-hello.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .expect("an upgrade");
    let answer = read_until(&mut socket, b"\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    // Its key's answer, as RFC 6455 gives it for the key of its own example.
    assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
    // A masked text frame of two bytes; its mask is zero, so the text stands as it is.
    socket.write_all(b"\x81\x82\0\0\0\0hi").expect("a frame");
    assert!(read_until(&mut socket, b"hi").ends_with("\u{2}hi"));
}

#[test]
fn a_static_site_is_served_without_a_process() {
    let host = TestHost::start();
    host.up(&Project::example("static-site"));
    let page = host.get("static-site", "/");
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8")),
        "{page:?}"
    );
    let missing = host.get("static-site", "/nowhere/to/be/found");
    let own_page = std::fs::read_to_string(crate::host::examples().join("static-site/public/404.html"));
    assert_eq!((missing.status, missing.body), (404, own_page.expect("the site's page for a lost path")));
    assert!(host.up_instances("static-site").is_empty());
}

fn connect(host: &TestHost) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, host.port())).expect("the router");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    stream
}

/// Reads until the bytes have come; what came is lossy text.
#[track_caller]
fn read_until(stream: &mut TcpStream, end: &[u8]) -> String {
    let mut bytes = Vec::new();
    while !bytes.windows(end.len()).any(|window| window == end) {
        let mut piece = [0; 1024];
        let length = stream.read(&mut piece).expect("an answer in time");
        assert_ne!(length, 0, "the end, after {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..length]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
