//! TLS in front of HTTP/1.1, by clients that others wrote: curl, openssl, rustls.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    sync::mpsc,
    time::Duration,
};

use dozen_model::certificates::{Certificate, CertificateSet, HttpChallenge, PrivateKey};
use parking_lot::Mutex;

use crate::{
    app::{App, Then, say},
    authority::{Authority, TlsBrowser, leaf},
    host::{Host, eventually, stage},
    metrics::metrics,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n";

/// Handshakes that came to nothing, for this reason.
fn failures(host: &Host, reason: &str) -> Option<f64> {
    metrics(host).value("dozen_router_tls_failures_total", &[("reason", reason)])
}

/// A router with one app and the certificates for these names.
fn serving(names: &[&[&str]]) -> (Host, App, Authority) {
    let (host, app, authority) = (Host::start(), App::says("hello"), Authority::new());
    host.route(vec![stage("one", &[("1", app.address)])]);
    host.show(names.iter().map(|names| authority.certificate(names)).collect());
    (host, app, authority)
}

#[test]
fn curl_reaches_the_app_twice_over_one_connection() {
    let (host, app, authority) = serving(&[&["one.test"]]);
    let port = host.tls.port().to_string();
    let words = ["--http1.1", "--write-out", "%{num_connects} ", "https://one.test/a", "https://one.test/b"];
    let output = authority.curl(host.tls, &words);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello1 hello0 ", "{output:?}");
    let seen = app.seen.lock();
    for (name, value) in
        [("x-forwarded-proto", "https"), ("x-forwarded-port", &port), ("x-forwarded-host", "one.test")]
    {
        assert_eq!(seen[0].header(name), Some(value));
    }
    assert_eq!(host.client().status().unwrap().tls_handshakes, 1);
}

#[test]
fn large_bodies_pass_in_both_directions() {
    let (host, authority) = (Host::start(), Authority::new());
    let app = App::start(|seen, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", seen.body.len()).unwrap();
        stream.write_all(&seen.body).unwrap();
        Then::KeepAlive
    });
    host.route(vec![stage("one", &[("1", app.address)])]);
    host.show(vec![authority.certificate(&["one.test"])]);
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let file = authority.path("body");
    std::fs::write(&file, &body).unwrap();
    let upload = format!("@{}", file.display());
    let words = ["--http1.1", "-H", "Expect:", "--data-binary", &upload, "https://one.test/"];
    let output = authority.curl(host.tls, &words);
    assert!(output.stdout == body, "{} bytes: {:?}", output.stdout.len(), output.stderr);
}

#[test]
fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let (host, _app, authority) = serving(&[&["one.test"]]);
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let text = authority.openssl(host.tls, GET, &[version, "-servername", "one.test"]);
        assert!(text.contains(&format!("New, {name}")) && text.contains("Verify return code: 0"), "{text}");
        assert!(text.contains("HTTP/1.1 200 OK"), "{text}");
    }
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-servername", "one.test"];
    let text = authority.openssl(host.tls, GET, &old);
    assert!(text.contains("SSL alert number") && !text.contains("200 OK"), "{text}");
    eventually("it is counted", || failures(&host, "incompatible") == Some(1.0));
}

#[test]
fn a_name_without_a_certificate_is_refused_and_no_name_gets_the_servers() {
    let (host, _app, authority) = serving(&[&["one.test"], &["server.test"]]);
    let text = authority.openssl(host.tls, GET, &["-servername", "two.test"]);
    assert!(text.contains("unrecognized name"), "{text}");
    let text = authority.openssl(host.tls, GET, &["-noservername"]);
    assert!(text.contains("subject=CN = server.test"), "{text}");
    assert_eq!(host.client().status().unwrap().tls_failures, 1);
    assert_eq!(failures(&host, "no_certificate"), Some(1.0));

    host.show(vec![authority.certificate(&["one.test"])]);
    let text = authority.openssl(host.tls, GET, &["-noservername"]);
    assert!(text.contains("unrecognized name"), "{text}");
}

#[test]
fn a_session_is_resumed_with_a_ticket_and_without_on_any_thread() {
    let (host, _app, authority) = serving(&[&["one.test"]]);
    for (case, words) in [&["-tls1_3"][..], &["-tls1_2"], &["-tls1_2", "-no_ticket"]].into_iter().enumerate()
    {
        let file = authority.path("session");
        let file = file.to_str().unwrap();
        let common = [words, &["-servername", "one.test"]].concat();
        let first = authority.openssl(host.tls, GET, &[&common[..], &["-sess_out", file]].concat());
        assert!(first.contains("New, TLS"), "{first}");
        // Two threads accept, and which of them does is the kernel's choice.
        for _ in 0..4 {
            let again = authority.openssl(host.tls, GET, &[&common[..], &["-sess_in", file]].concat());
            assert!(again.contains("Reused, TLS") && again.contains("200 OK"), "{words:?}: {again}");
        }
        let status = host.client().status().unwrap();
        assert_eq!(
            (status.tls_handshakes, status.tls_resumed),
            (5 * (case as u64 + 1), 4 * (case as u64 + 1))
        );
        let counted = metrics(&host);
        let handshakes = |kind| counted.value("dozen_router_tls_handshakes_total", &[("kind", kind)]);
        let case = case as f64 + 1.0;
        assert_eq!((handshakes("full"), handshakes("resumed")), (Some(case), Some(4.0 * case)));
    }
}

#[test]
fn a_wildcard_covers_one_label_and_an_exact_name_comes_first() {
    let (host, _app, authority) = serving(&[&["*.apps.test"], &["shop.apps.test"]]);
    for (name, shown) in [("blog.apps.test", "*.apps.test"), ("SHOP.apps.test", "shop.apps.test")] {
        let text = authority.openssl(host.tls, GET, &["-servername", name]);
        assert!(text.contains(&format!("subject=CN = {shown}")), "{text}");
    }
    let text = authority.openssl(host.tls, GET, &["-servername", "a.b.apps.test"]);
    assert!(text.contains("unrecognized name"), "{text}");
}

#[test]
fn a_certificate_is_swapped_while_a_download_goes_on_and_a_connection_stays() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let app = App::start(move |seen, stream| {
        if seen.path() != "/slow" {
            return say(stream, "quick");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n").unwrap();
        stream.write_all(&[b'a'; 100_000]).unwrap();
        wait.lock().recv_timeout(Duration::from_secs(30)).unwrap();
        stream.write_all(&[b'b'; 100_000]).unwrap();
        Then::KeepAlive
    });
    let (host, authority) = (Host::start(), Authority::new());
    host.route(vec![stage("one", &[("1", app.address)])]);
    let (old, new) = (authority.certificate(&["one.test"]), authority.certificate(&["one.test"]));
    host.show(vec![old.clone()]);
    let config = authority.client_config(&["http/1.1"]);
    let connect = || TlsBrowser::connect(host.tls, "one.test", &config).unwrap();
    let (mut kept, mut download) = (connect(), connect());
    assert_eq!(kept.get("one.test", "/").unwrap().body, "quick");
    download.send("GET /slow HTTP/1.1\r\nHost: one.test\r\n\r\n");
    assert_eq!(download.head().unwrap().status, 200);
    assert_eq!(download.bytes(100_000).unwrap(), [b'a'; 100_000]);

    host.show(vec![new.clone()]);

    // A session of before is resumed without a certificate: ask without one.
    let fresh = TlsBrowser::connect(host.tls, "one.test", &authority.client_config(&[])).unwrap();
    assert_eq!((kept.leaf(), fresh.leaf()), (leaf(&old), leaf(&new)));
    assert_eq!(kept.get("one.test", "/").unwrap().body, "quick");
    go.send(()).unwrap();
    assert_eq!(download.bytes(100_000).unwrap(), [b'b'; 100_000]);
}

#[test]
fn a_challenge_is_answered_to_who_offers_nothing_else() {
    let (host, app, authority) = serving(&[&["one.test"]]);
    let mut challenge = authority.certificate(&["new.test"]);
    let own = challenge.chain.clone();
    challenge.names.push("one.test".parse().unwrap());
    host.set_certificates(|set| {
        set.certificates = vec![authority.certificate(&["one.test"])];
        set.tls_challenges = vec![challenge];
    });
    for name in ["new.test", "one.test"] {
        let text = authority.openssl(host.tls, GET, &["-servername", name, "-alpn", "acme-tls/1"]);
        assert!(text.contains("ALPN protocol: acme-tls/1") && text.contains("CN = new.test"), "{text}");
        assert!(text.contains(own.lines().nth(1).unwrap()), "{text}");
        assert!(!text.contains("HTTP/1.1 "), "the connection is only for the challenge: {text}");
    }
    let both = ["-servername", "one.test", "-alpn", "acme-tls/1,http/1.1"];
    let text = authority.openssl(host.tls, GET, &both);
    assert!(text.contains("ALPN protocol: http/1.1") && text.contains("subject=CN = one.test"), "{text}");
    let text = authority.openssl(host.tls, GET, &["-servername", "new.test", "-alpn", "http/1.1"]);
    assert!(text.contains("unrecognized name"), "a challenge is nothing to serve by: {text}");
    host.set_certificates(|set| set.certificates = vec![authority.certificate(&["one.test"])]);
    let text = authority.openssl(host.tls, GET, &["-servername", "one.test", "-alpn", "acme-tls/1"]);
    assert!(text.contains("no application protocol"), "{text}");
    assert_eq!(app.seen.lock().len(), 1);
}

#[test]
fn a_router_that_is_started_again_serves_tls_from_its_disk() {
    let (host, _app, authority) = serving(&[&["one.test"]]);
    let stored = host.dir.path().join("state/certificates.json");
    assert_eq!(std::fs::metadata(&stored).unwrap().permissions().mode() & 0o777, 0o600);
    host.kill_and_restart();
    let output = authority.curl(host.tls, &["https://one.test/"]);
    assert_eq!(output.stdout, b"hello", "{output:?}");
    let status = host.client().status().unwrap();
    assert_eq!((status.certificate_generation, status.certificates), (1, 1));
}

#[test]
fn certificates_that_cannot_be_shown_leave_those_in_use_and_no_key_is_told() {
    let (host, _app, authority) = serving(&[&["one.test"]]);
    let set =
        |generation, certificates| CertificateSet { generation, certificates, ..CertificateSet::default() };
    let mut client = host.client();
    let bad = |change: fn(&mut Certificate, &Authority)| {
        let mut bad = authority.certificate(&["bad.test"]);
        change(&mut bad, &authority);
        bad
    };
    for (certificate, reason) in [
        (bad(|bad, other| bad.key = other.certificate(&["x.test"]).key), "not the one of the certificate"),
        (bad(|bad, _| bad.key = PrivateKey::new("SECRET")), "cannot be used"),
        (bad(|bad, _| bad.chain = "SECRET".into()), "is not PEM"),
    ] {
        let error = client.set_certificates(&set(7, vec![certificate])).unwrap_err().to_string();
        assert!(error.contains("bad.test") && error.contains(reason) && !error.contains("SECRET"), "{error}");
    }
    let stale = client.set_certificates(&set(0, Vec::new())).unwrap_err().to_string();
    assert!(stale.contains("older"), "{stale}");
    let other = client.set_certificates(&set(1, Vec::new())).unwrap_err().to_string();
    assert!(other.contains("different"), "{other}");
    let mut raw = std::os::unix::net::UnixStream::connect(host.dir.path().join("control")).unwrap();
    raw.write_all(b"{\"set_certificates\":{\"generation\":\"SECRET\"}}\n").unwrap();
    raw.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    raw.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("{\"refused\"") && !answer.contains("SECRET"), "{answer}");
    assert_eq!(authority.curl(host.tls, &["https://one.test/"]).stdout, b"hello");
}

#[test]
fn a_handshake_that_does_not_come_ends_and_nobody_waits_for_it() {
    let host = Host::with(|limits| limits.header_read = Duration::from_millis(400));
    let (app, authority) = (App::says("hello"), Authority::new());
    host.route(vec![stage("one", &[("1", app.address)])]);
    host.show(vec![authority.certificate(&["one.test"])]);
    let mut stalled: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(host.tls).unwrap()).collect();
    for stream in &mut stalled {
        // The first bytes of a ClientHello.
        stream.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    }
    let config = authority.client_config(&[]);
    for _ in 0..4 {
        let mut browser = TlsBrowser::connect(host.tls, "one.test", &config).unwrap();
        assert_eq!(browser.get("one.test", "/").unwrap().body, "hello");
    }
    for mut stream in stalled {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert!(matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_)));
    }
    // What is no TLS at all is told so, with an alert.
    let mut plain = host.browser_at(host.tls);
    plain.send("GET / HTTP/1.1\r\nHost: one.test\r\n\r\n");
    assert!(plain.rest().as_bytes().starts_with(&[21, 3]));
    // One that says nothing and goes is nobody's failure.
    drop(TcpStream::connect(host.tls).unwrap());
    eventually("all are counted", || host.client().status().unwrap().tls_failures == 21);
    assert_eq!((failures(&host, "timeout"), failures(&host, "malformed")), (Some(20.0), Some(1.0)));
    eventually("all are closed", || host.client().status().unwrap().open_connections == 0);
}

#[test]
fn a_websocket_passes_through_tls_and_is_closed_in_it() {
    let app = App::start(|_, stream| {
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut frame = [0; 4];
        while stream.read_exact(&mut frame).is_ok() && stream.write_all(&frame).is_ok() {}
        Then::Close
    });
    let (host, authority) = (Host::start(), Authority::new());
    host.route(vec![stage("one", &[("1", app.address)])]);
    host.show(vec![authority.certificate(&["one.test"])]);
    let config = authority.client_config(&["http/1.1"]);
    let mut browser = TlsBrowser::connect(host.tls, "one.test", &config).unwrap();
    browser.send("GET /ws HTTP/1.1\r\nHost: one.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(browser.head().unwrap().status, 101);
    browser.stream.get_mut().write_all(b"\x81\x02hi").unwrap();
    assert_eq!(browser.bytes(4).unwrap(), b"\x81\x02hi");
    assert_eq!(host.client().close_upgraded("1").unwrap(), 1);
    assert_eq!(browser.bytes(4).unwrap(), [0x88, 2, 0x03, 0xe9]);
    assert_eq!(browser.bytes(1), None);
}

#[test]
fn an_open_challenge_is_answered_for_any_host_in_the_clear() {
    let (host, app, authority) = serving(&[&["one.test"]]);
    host.set_certificates(|set| {
        set.certificates = vec![authority.certificate(&["one.test"])];
        set.http_challenges = vec![HttpChallenge { token: "tok".into(), answer: "tok.print".into() }];
    });
    let path = "/.well-known/acme-challenge/tok";
    for name in ["one.test", "new.test", "127.0.0.1"] {
        let reply = host.get(name, path);
        assert_eq!((reply.status, reply.body.as_str()), (200, "tok.print"), "{name}");
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    assert_eq!(app.seen.lock().len(), 0);
    // Everything else goes where it always goes.
    for other in ["/.well-known/acme-challenge/", "/.well-known/acme-challenge/other"] {
        assert_eq!(host.get("one.test", other).body, "hello");
        assert_eq!(host.get("new.test", other).status, 404);
    }
    assert_eq!(host.browser().post("one.test", path, "x").unwrap().body, "hello");
    assert_eq!(host.get("one.test", "/x").status, 301, "all else is sent to HTTPS");
    let config = authority.client_config(&[]);
    let mut browser = TlsBrowser::connect(host.tls, "one.test", &config).unwrap();
    assert_eq!(browser.get("one.test", path).unwrap().body, "hello");
    host.show(Vec::new());
    assert_eq!(host.get("one.test", path).body, "hello");
}

#[test]
fn a_client_that_reads_late_gets_all_of_it() {
    let app = App::start(|seen, stream| {
        let length: usize = seen.path()[1..].parse().unwrap();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").unwrap();
        stream.write_all(&vec![b'x'; length]).unwrap();
        Then::KeepAlive
    });
    let (host, authority) = (Host::start(), Authority::new());
    host.route(vec![stage("one", &[("1", app.address)])]);
    host.show(vec![authority.certificate(&["one.test"])]);
    let config = authority.client_config(&["http/1.1"]);
    // Somewhere among these the last bytes are taken by TLS and not by the kernel.
    for length in (1..=160).map(|step| step * 40_000) {
        let mut browser = TlsBrowser::connect(host.tls, "one.test", &config).unwrap();
        browser.send(&format!("GET /{length} HTTP/1.1\r\nHost: one.test\r\n\r\n"));
        assert_eq!(browser.head().unwrap().status, 200);
        eventually("the router has all of it, or can pass on no more", || {
            let waits = host.client().in_flight().unwrap().get("1").is_none_or(|load| load.requests == 0);
            let mut bytes = [0; 1 << 20];
            let there = browser.stream.get_ref().sock.peek(&mut bytes).unwrap();
            waits || there == browser.stream.get_ref().sock.peek(&mut bytes).unwrap()
        });
        assert_eq!(browser.bytes(length).map(|all| all.len()), Some(length));
    }
}
