//! HTTP/2 to clients, by clients that others wrote and by frames written by hand.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use dozen_model::route_table::{StageRoute, StaticSite, Target};
use parking_lot::Mutex;

use crate::{
    app::{App, Then, say},
    authority::Authority,
    frames::{Frames, Head, kind},
    host::{Host, eventually, stage},
    metrics::metrics,
};

fn serving(app: &App) -> (Host, Authority) {
    let (host, authority) = (Host::start(), Authority::new());
    host.route(vec![stage("one", &[("1", app.address)]), stage("two", &[("2", app.address)])]);
    host.show(vec![authority.certificate(&["one.test"])]);
    (host, authority)
}

fn connect(host: &Host, authority: &Authority) -> Frames {
    Frames::connect(host.tls, "one.test", &authority.client_config(&["h2"]))
}

fn get(path: &str) -> Head {
    Head::new(&[(":method", "GET"), (":scheme", "https"), (":authority", "one.test"), (":path", path)])
}

#[test]
fn curl_speaks_h2_when_it_may_choose() {
    let app = App::start(|seen, stream| {
        assert!(seen.line.ends_with(" HTTP/1.1"), "{}", seen.line);
        say(stream, "hello")
    });
    let (host, authority) = serving(&app);
    let form = "%{http_version} %{response_code} ";
    let words = ["--http2", "--write-out", form, "https://one.test/a?b", "https://one.test/c"];
    let output = authority.curl(host.tls, &words);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello2 200 hello2 200 ", "{output:?}");
    let seen = app.seen.lock();
    assert_eq!(seen[0].path(), "/a?b");
    for (name, value) in [("host", "one.test"), ("x-forwarded-proto", "https")] {
        assert_eq!(seen[0].header(name), Some(value));
    }
    assert_eq!(host.client().status().unwrap().connections, 1);
    let counted = metrics(&host);
    for (name, labels, value) in [
        ("dozen_router_http_requests_total", &[("version", "2")][..], 2.0),
        ("dozen_router_http_requests_total", &[("version", "1")], 0.0),
        ("dozen_router_connections_total", &[("listener", "https")], 1.0),
        ("dozen_router_http2_connections_total", &[], 1.0),
    ] {
        assert_eq!(counted.value(name, labels), Some(value), "{name} {labels:?}");
    }
    eventually("the log lines", || host.access_log("one").matches("status=200").count() == 2);
}

#[test]
fn bodies_pass_in_both_directions_with_a_length_and_without() {
    let app = App::start(|seen, stream| {
        let is_chunked = seen.header("transfer-encoding") == Some("chunked");
        assert_eq!(is_chunked, seen.header("content-length").is_none());
        if seen.path() == "/chunked" {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            for part in seen.body.chunks(50_000) {
                write!(stream, "{:x}\r\n", part.len()).unwrap();
                stream.write_all(part).unwrap();
                stream.write_all(b"\r\n").unwrap();
            }
            stream.write_all(b"0\r\n\r\n").unwrap();
        } else {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", seen.body.len()).unwrap();
            stream.write_all(&seen.body).unwrap();
        }
        Then::KeepAlive
    });
    let (host, authority) = serving(&app);
    let body: Vec<u8> = (0..2_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let file = authority.path("body");
    std::fs::write(&file, &body).unwrap();
    let file = file.to_str().unwrap();
    for (path, words) in [("/sized", ["--data-binary", &format!("@{file}")]), ("/chunked", ["-T", file])] {
        let length = if path == "/sized" { "X-Y: z" } else { "Content-Length:" };
        let url = format!("https://one.test{path}");
        let all = [&["--http2", "-H", "Expect:", "-H", length, "-X", "POST"][..], &words, &[&url]].concat();
        let output = authority.curl(host.tls, &all);
        assert!(output.stdout == body, "{path}: {} bytes, {:?}", output.stdout.len(), output.stderr);
    }
}

#[test]
fn an_answer_to_head_has_a_length_and_no_body() {
    let app = App::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap();
        Then::KeepAlive
    });
    let (host, authority) = serving(&app);
    let mut frames = connect(&host, &authority);
    for (authority, length) in [("one.test", Some("5")), ("none.test", None)] {
        let head = get("/").with(":method", "HEAD").with(":authority", authority);
        let id = frames.request(&head, true);
        let reply = frames.reply(id).unwrap();
        assert_eq!(reply.body, "");
        match length {
            Some(length) => assert_eq!(reply.header("content-length"), Some(length)),
            None => assert_eq!(reply.status, 421),
        }
    }
}

#[test]
fn pages_and_files_of_the_router_pass_like_answers_of_apps() {
    let (host, authority) = (Host::start(), Authority::new());
    let layer = host.dir.path().join("layer");
    std::fs::create_dir_all(layer.join("public")).unwrap();
    std::fs::write(layer.join("public/index.html"), "<p>home").unwrap();
    std::fs::write(layer.join("public/big.bin"), "b".repeat(300_000)).unwrap();
    let target = StaticSite { layers: vec![layer], root: "public".into(), not_found: None };
    host.route(vec![StageRoute { target: Target::Static(target), ..stage("one", &[]) }, stage("two", &[])]);
    host.show(vec![authority.certificate(&["one.test", "two.test"])]);
    let mut frames = connect(&host, &authority);
    let mut ask = |head: &Head| {
        let id = frames.request(head, true);
        frames.reply(id).unwrap()
    };
    let home = ask(&get("/"));
    assert_eq!((home.status, home.body.as_str(), home.header("content-length")), (200, "<p>home", Some("7")));
    assert!(home.header("date").is_some() && home.header("x-request-id").is_some());
    let tag = home.header("etag").unwrap();
    assert_eq!(ask(&get("/").and("if-none-match", tag)).status, 304);
    let head = ask(&get("/big.bin").with(":method", "HEAD"));
    assert_eq!((head.body.len(), head.header("content-length")), (0, Some("300000")));
    eventually("the log lines", || host.access_log("one").lines().count() == 3);
    assert!(!host.access_log("one").contains("code="), "nothing was broken off");
    // More than the window takes; curl opens it again.
    let big = authority.curl(host.tls, &["--http2", "https://one.test/big.bin"]);
    assert_eq!(big.stdout.len(), 300_000);
    let none = ask(&get("/").with(":authority", "two.test").and("accept", "application/json"));
    assert_eq!((none.status, none.header("retry-after")), (503, Some("5")));
    assert!(none.body.starts_with('{'), "{none:?}");
}

#[test]
fn a_request_that_could_be_read_in_two_ways_reaches_no_app() {
    let app = App::says("no");
    let (host, authority) = serving(&app);
    let refused: &[(&str, Head, Option<u16>)] = &[
        ("another host", get("/").and("host", "two.test"), Some(400)),
        ("two hosts", get("/").and("host", "one.test").and("host", "one.test"), Some(400)),
        ("no host", get("/").without(":authority"), Some(400)),
        ("user in the authority", get("/").with(":authority", "me@one.test"), Some(400)),
        ("scheme", get("/").with(":scheme", "ftp"), Some(400)),
        ("path without a slash", get("one"), None),
        ("asterisk", get("*"), Some(400)),
        ("no path", get("/").without(":path"), None),
        ("empty path", get(""), None),
        ("no method", get("/").without(":method"), None),
        ("no scheme", get("/").without(":scheme"), None),
        ("two authorities", get("/").and(":authority", "two.test"), None),
        ("two methods", get("/").and(":method", "POST"), None),
        ("late pseudo-header", get("/").without(":path").and("x", "y").and(":path", "/"), None),
        ("unknown pseudo-header", get("/").and(":x", "y"), None),
        ("status", get("/").and(":status", "200"), None),
        ("connection", get("/").and("connection", "x"), None),
        ("keep-alive", get("/").and("keep-alive", "5"), None),
        ("transfer-encoding", get("/").and("transfer-encoding", "chunked"), None),
        ("upgrade", get("/").and("upgrade", "h2c"), None),
        ("te", get("/").and("te", "gzip"), None),
        ("capitals", get("/").and("X-Y", "z"), None),
        ("space in a name", get("/").and("x y", "z"), None),
        ("line end in a value", get("/").and("x", "y\r\nhost: two.test"), None),
        ("NUL in a value", get("/").and("x", "y\0"), None),
        ("space around a value", get("/").and("x", " y"), Some(400)),
        ("two lengths", get("/").and("content-length", "0").and("content-length", "0"), Some(400)),
        ("differing lengths", get("/").and("content-length", "0").and("content-length", "1"), None),
        ("a length that is none", get("/").and("content-length", "+0"), None),
        ("a length and no body", get("/").and("content-length", "5"), None),
        ("line end in a path", get("/ HTTP/1.1\r\nhost: two.test"), None),
        ("CONNECT", Head::new(&[(":method", "CONNECT"), (":authority", "one.test:443")]), Some(405)),
    ];
    for (name, head, status) in refused {
        // Some end the whole connection.
        let mut frames = connect(&host, &authority);
        let id = frames.request(head, true);
        match (frames.reply(id), status) {
            (Ok(reply), Some(status)) => assert_eq!(reply.status, *status, "{name}"),
            (Ok(reply), None) => assert!(matches!(reply.status, 400), "{name}: {reply:?}"),
            (Err(_), None) => {}
            (Err(reason), Some(_)) => panic!("{name}: reset with {reason}"),
        }
    }
    assert_eq!(app.seen.lock().len(), 0);
    let mut frames = connect(&host, &authority);
    for (_, head, _) in refused.iter().filter(|(_, _, status)| status.is_some()) {
        let id = frames.request(head, true);
        frames.reply(id).unwrap();
    }
    let id = frames.request(&get("/after"), true);
    assert_eq!(frames.reply(id).unwrap().body, "no", "the connection goes on");
}

#[test]
fn a_body_that_is_not_as_long_as_its_length_is_refused() {
    let app = App::says("no");
    let (host, authority) = serving(&app);
    let mut frames = connect(&host, &authority);
    for body in ["123456", "1234"] {
        let head = get("/").with(":method", "POST").and("content-length", "5");
        let id = frames.request(&head, false);
        frames.send(kind::DATA, 1, id, body.as_bytes());
        assert!(frames.reply(id).is_err(), "{body}");
    }
    let seen = app.seen.lock().iter().filter(|seen| !seen.body.is_empty()).count();
    assert_eq!(seen, 0, "no app takes it for a whole request");
}

#[test]
fn cookies_arrive_as_one_field_and_a_host_field_that_agrees_is_fine() {
    let app = App::says("yes");
    let (host, authority) = serving(&app);
    let mut frames = connect(&host, &authority);
    let head =
        get("/").and("cookie", "a=1").and("cookie", "b=2").and("host", "one.test").and("te", "trailers");
    let id = frames.request(&head, true);
    assert_eq!(frames.reply(id).unwrap().status, 200);
    let seen = app.seen.lock();
    let values = |name| {
        seen[0]
            .headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(values("cookie"), ["a=1; b=2"]);
    assert_eq!(values("host"), ["one.test"]);
    assert_eq!(values("te"), ["trailers"]);
}

#[test]
fn trailers_pass_in_both_directions_and_1xx_do_not() {
    let app = App::start(|_, stream| {
        let answer = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nTrailer: x-sum\r\n\
                      Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n";
        stream.write_all(answer.as_bytes()).unwrap();
        Then::KeepAlive
    });
    let (host, authority) = serving(&app);
    let mut frames = connect(&host, &authority);
    let head = get("/").with(":method", "POST").and("te", "trailers").and("trailer", "x-given");
    let id = frames.request(&head, false);
    frames.send(kind::DATA, 0, id, b"body");
    frames.trailers(id, &Head::new(&[("x-given", "9")]));
    let reply = frames.reply(id).unwrap();
    assert_eq!((reply.status, reply.body.as_str(), reply.header("x-sum")), (200, "hi", Some("7")));
    assert_eq!(reply.header("link"), None);
    let seen = app.seen.lock();
    assert_eq!((seen[0].body.as_slice(), seen[0].header("x-given")), (&b"body"[..], Some("9")));
}

#[test]
fn a_host_that_the_certificate_does_not_cover_is_misdirected() {
    let app = App::says("yes");
    let (host, authority) = serving(&app);
    host.show(vec![authority.certificate(&["one.test", "*.one.test"])]);
    let mut frames = connect(&host, &authority);
    for (name, status) in [("one.test", 200), ("one.test:443", 200), ("x.one.test", 404), ("two.test", 421)] {
        let id = frames.request(&get("/").with(":authority", name), true);
        assert_eq!(frames.reply(id).unwrap().status, status, "{name}");
    }
    let reason = ("reason", "misdirected");
    assert_eq!(metrics(&host).value("dozen_router_refused_requests_total", &[reason]), Some(1.0));
}

#[test]
fn too_large_a_head_is_refused_and_the_connection_goes_on() {
    let app = App::says("yes");
    let (host, authority) = serving(&app);
    let mut frames = connect(&host, &authority);
    let mut many = get("/");
    for number in 0..101 {
        many = many.and(&format!("x-{number}"), "y");
    }
    let mut large = get("/");
    for number in 0..10 {
        large = large.and(&format!("x-{number}"), &"y".repeat(7000));
    }
    for head in [many, large] {
        let id = frames.request(&head, true);
        assert_eq!(frames.reply(id).unwrap().status, 431);
    }
    let id = frames.request(&get("/"), true);
    assert_eq!(frames.reply(id).unwrap().status, 200);
    assert_eq!(app.seen.lock().len(), 1);
}

#[test]
fn requests_that_are_broken_off_again_and_again_end_the_connection() {
    let began = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&began);
    let app = App::start(move |_, stream| {
        counted.fetch_add(1, SeqCst);
        say(stream, "x")
    });
    let (host, authority) = serving(&app);
    // All at once, so that most are reset before they are looked at; and one by one, each looked at
    // and on its way to the app.
    for pings in [false, true] {
        let before = (host.memory(), began.load(SeqCst));
        let mut frames = connect(&host, &authority);
        let mut sent = 0;
        let ended = (0..100_000).find_map(|_| {
            let id = frames.request(&get("/slow"), true);
            if pings && frames.ping().is_err() {
                return Some(());
            }
            sent += 1;
            frames.try_send(kind::RESET, 0, id, &8_u32.to_be_bytes()).err().map(drop)
        });
        let reason = frames.goes_away();
        assert!(ended.is_some() || reason.is_some(), "{sent} were taken");
        assert!(reason.is_some(), "it is told so");
        assert!(sent < 100_000, "{sent}");
        let (memory, seen) = (host.memory() - before.0.min(host.memory()), began.load(SeqCst) - before.1);
        assert!(memory < 16 << 10, "{memory} KiB more");
        assert!(seen < 1000, "{seen} reached the app");
    }
    let id = 1;
    let mut frames = connect(&host, &authority);
    assert_eq!(frames.request(&get("/"), true), id);
    assert_eq!(frames.reply(id).unwrap().status, 200);
    eventually("nothing is in flight", || {
        host.client().in_flight().unwrap().get("1").is_none_or(|load| load.requests == 0)
    });
}

#[test]
fn a_head_without_an_end_ends_the_connection() {
    let app = App::says("yes");
    let (host, authority) = serving(&app);
    let before = host.memory();
    for part in [0, 16_000] {
        let mut frames = connect(&host, &authority);
        frames.send(kind::HEADERS, 1, 1, &get("/").encoded());
        let field = Head::new(&[("x", &"y".repeat(part))]).encoded();
        let sent = (0..200_000).find(|_| {
            frames.try_send(kind::CONTINUATION, 0, 1, if part == 0 { &[] } else { &field }).is_err()
        });
        assert!(frames.goes_away().is_some(), "part of {part}, {sent:?} sent");
        assert!(sent.is_some_and(|sent| sent < 150_000), "{sent:?}");
    }
    let more = host.memory().saturating_sub(before);
    assert!(more < 16 << 10, "{more} KiB more");
    assert_eq!(app.seen.lock().len(), 0);
}

#[test]
fn a_connection_that_asks_for_nothing_ends() {
    let host = Host::with(|limits| {
        limits.header_read = Duration::from_millis(300);
        limits.keep_alive = Duration::from_millis(600);
    });
    let (app, authority) = (App::says("yes"), Authority::new());
    host.route(vec![stage("one", &[("1", app.address)])]);
    host.show(vec![authority.certificate(&["one.test"])]);
    let mut silent = connect(&host, &authority);
    assert_eq!(silent.goes_away(), Some(0));
    let mut idle = connect(&host, &authority);
    let id = idle.request(&get("/"), true);
    assert_eq!(idle.reply(id).unwrap().status, 200);
    assert_eq!(idle.goes_away(), Some(0));
    eventually("both are closed", || host.client().status().unwrap().open_connections == 0);
}

#[test]
fn an_answer_that_nobody_takes_is_given_up() {
    let host = Host::with(|limits| limits.idle = Duration::from_millis(500));
    let app = App::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n").unwrap();
        // Until the router gives up.
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
        Then::Close
    });
    let authority = Authority::new();
    host.route(vec![stage("one", &[("1", app.address)])]);
    host.show(vec![authority.certificate(&["one.test"])]);
    let mut frames = connect(&host, &authority);
    frames.request(&get("/"), true);
    // The window is never opened again.
    eventually("it is given up", || host.access_log("one").contains("code=H27"));
    assert_eq!(host.client().in_flight().unwrap().get("1").map_or(0, |load| load.requests), 0);
}

#[test]
fn sigterm_sends_clients_elsewhere_and_finishes_what_they_asked() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let app = App::start(move |seen, stream| {
        if seen.path() == "/slow" {
            wait.lock().recv_timeout(Duration::from_secs(30)).unwrap();
        }
        say(stream, "done")
    });
    let (host, authority) = serving(&app);
    let (mut idle, mut busy) = (connect(&host, &authority), connect(&host, &authority));
    let id = idle.request(&get("/"), true);
    assert_eq!(idle.reply(id).unwrap().body, "done");
    let id = busy.request(&get("/slow"), true);
    eventually("it is in flight", || host.client().in_flight().unwrap()["1"].requests == 1);
    host.terminate();
    assert_eq!(idle.goes_away(), Some(0));
    assert_eq!(host.exited(), None);
    go.send(()).unwrap();
    assert_eq!(busy.reply(id).unwrap().body, "done");
    assert_eq!(busy.goes_away(), Some(0));
    eventually("it ends", || host.exited().is_some());
    assert_eq!(host.exited().unwrap().code(), Some(0));
}

#[test]
fn h2load_loses_no_request() {
    let app = App::says("hello");
    let (host, authority) = serving(&app);
    let url = format!("https://one.test:{}/", host.tls.port());
    let mut command = Command::new("h2load");
    command.args(["-n", "2000", "-c", "4", "-m", "50", "--connect-to", &host.tls.to_string(), &url]);
    let started = command.stdin(Stdio::null()).output();
    let output = started.expect("h2load is needed: install the package `nghttp2-client`");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("2000 succeeded, 0 failed, 0 errored"), "{text}");
    assert!(text.contains("Application protocol: h2"), "{text}");
    drop(authority);
}
