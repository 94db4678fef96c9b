//! Headers about the connection: what may be named to go, upgrades, expectations, and a client's
//! words in the router's place.

use crate::strict::case::{Case, get, with};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = named();
    cases.append(&mut spoken_for_us());
    cases.append(&mut upgrades());
    cases.append(&mut upgrades_to_http());
    cases.append(&mut expectations());
    cases
}

fn named() -> Vec<Case> {
    const BODY: &str = "GET /hidden HTTP/1.1\r\nHost: one.test\r\n\r\n";
    const SEEN: &[&str] = &["POST / length GET /hidden HTTP/1.1\r\nHost: one.test\r\n\r\n"];
    let length =
        |connection: &str| with(format!("Connection: {connection}\r\nContent-Length: {}", BODY.len()), BODY);
    let mut cases: Vec<Case> = [
        "content-length",
        "Content-Length, host",
        "host",
        "x,content-length,y",
        "content-length, close, keep-alive",
    ]
    .map(|value| {
        let case = if value.contains("close") { Case::served_last } else { Case::served };
        case(format!("Connection: {value}"), length(value), SEEN).always(&["host: one.test"])
    })
    .into();
    let chunks = with("Connection: transfer-encoding\r\nTransfer-Encoding: chunked", "2\r\nab\r\n0\r\n\r\n");
    cases.push(Case::served("Connection: transfer-encoding", chunks, &["POST / chunked ab"]));
    let private = get(
        "Connection: keep-alive, X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive",
    );
    cases.push(Case::served("Connection: x-private", private, &["GET /"]).never(&[
        "x-private",
        "timeout=5",
        "proxy-connection",
    ]));
    for name in ["x-forwarded-for", "x-forwarded-proto", "x-request-id", "x-forwarded-host"] {
        let case =
            Case::served(format!("Connection: {name}"), get(format!("Connection: {name}")), &["GET /"]);
        cases.push(case.always(&["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http", "x-request-id: "]));
    }
    cases
}

fn spoken_for_us() -> Vec<Case> {
    [
        ("X-Forwarded-For: 6.6.6.6", "6.6.6.6"),
        ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6", "6.6.6.6"),
        ("x_forwarded_for: 6.6.6.6", "6.6.6.6"),
        ("X-Forwarded_For: 6.6.6.6", "6.6.6.6"),
        ("X-Real-IP: 6.6.6.6", "6.6.6.6"),
        ("Forwarded: for=6.6.6.6", "6.6.6.6"),
        ("X-Forwarded-Host: two.test", "two.test"),
        ("X-Forwarded-Proto: private", "private"),
        ("X_Forwarded_Proto: private", "private"),
        ("X-Forwarded-Ssl: private", "private"),
        ("X-Forwarded-Prefix: /private", "private"),
        ("Proxy: http://private", "private"),
        ("Script_Name: /private", "private"),
        ("X-Request-Start: t=private", "private"),
    ]
    .map(|(header, never)| Case::served(header, get(header), &["GET /"]).never(&[never]))
    .into()
}

const NO_UPGRADE: &[&str] = &["\r\nupgrade", "http2-settings", "connection: upgrade"];

fn upgrades() -> Vec<Case> {
    const WEBSOCKET: &str =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13";
    let hidden = |start: Vec<u8>, rest: &str| [start, rest.into()].concat();
    vec![
        Case::served(
            "an upgrade that the app refuses, and a request",
            hidden(get(WEBSOCKET), "GET /2 HTTP/1.1\r\nHost: one.test\r\n\r\n"),
            &["GET /", "GET /2"],
        ),
        Case::refused_after(
            "an upgrade that the app refuses, and a bad request",
            hidden(get(WEBSOCKET), "GET /2 HTTP/1.1\nHost: one.test\n\n"),
            &["GET /"],
        ),
        Case::refused_after(
            "an upgrade that the app refuses, and a frame",
            hidden(get(WEBSOCKET), "\u{1}\u{2}hi\r\n\r\n"),
            &["GET /"],
        ),
        Case::served(
            "an upgrade with a length",
            with(format!("{WEBSOCKET}\r\nContent-Length: 2"), "ab"),
            &["POST / length ab"],
        )
        .never(NO_UPGRADE),
        Case::served(
            "an upgrade in chunks",
            with(format!("{WEBSOCKET}\r\nTransfer-Encoding: chunked"), "2\r\nab\r\n0\r\n\r\n"),
            &["POST / chunked ab"],
        )
        .never(NO_UPGRADE),
        Case::served("an upgrade that nobody announced", get("Upgrade: websocket"), &["GET /"])
            .never(NO_UPGRADE),
        Case::served("an announced upgrade to nothing", get("Connection: Upgrade"), &["GET /"])
            .never(NO_UPGRADE),
        Case::served("an empty upgrade", get("Connection: Upgrade\r\nUpgrade:"), &["GET /"])
            .never(NO_UPGRADE),
        Case::served_last(
            "an upgrade in 1.0",
            format!("GET / HTTP/1.0\r\nHost: one.test\r\n{WEBSOCKET}\r\n\r\n").into(),
            &["GET /"],
        )
        .never(NO_UPGRADE),
    ]
}

/// Behind HTTP again requests would pass unseen.
fn upgrades_to_http() -> Vec<Case> {
    vec![
        Case::served(
            "h2c",
            get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"),
            &["GET /"],
        )
        .never(NO_UPGRADE),
        Case::served("h2c in capitals", get("Connection: Upgrade\r\nUpgrade: H2C"), &["GET /"])
            .never(NO_UPGRADE),
        Case::served("h2c among others", get("Connection: Upgrade\r\nUpgrade: websocket, h2c"), &["GET /"])
            .never(NO_UPGRADE),
        Case::served(
            "h2c on another line",
            get("Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c"),
            &["GET /"],
        )
        .never(NO_UPGRADE),
        Case::served("HTTP/2.0", get("Connection: Upgrade\r\nUpgrade: HTTP/2.0"), &["GET /"])
            .never(NO_UPGRADE),
        Case::served("TLS/1.0", get("Connection: Upgrade\r\nUpgrade: TLS/1.0"), &["GET /"]).never(NO_UPGRADE),
    ]
}

fn expectations() -> Vec<Case> {
    let expecting = |value: &str| with(format!("Expect: {value}\r\nContent-Length: 2"), "ab");
    let seen: &[&str] = &["POST / length ab"];
    vec![
        Case::served("Expect: 100-continue", expecting("100-continue"), seen),
        Case::served("Expect: 100-Continue", expecting("100-Continue"), seen),
        Case::served("Expect: 100-continue and no body", get("Expect: 100-continue"), &["GET /"]),
        Case::served(
            "Expect: 100-continue in chunks",
            with("Expect: 100-continue\r\nTransfer-Encoding: chunked", "2\r\nab\r\n0\r\n\r\n"),
            &["POST / chunked ab"],
        ),
        Case::served_last(
            "Expect: 100-continue in 1.0",
            b"POST / HTTP/1.0\r\nHost: one.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab"
                .to_vec(),
            seen,
        ),
        Case::refused_by(417, "another expectation", expecting("private"))
            .or_served(seen)
            .never(&["private"]),
        Case::refused_by(417, "two expectations", expecting("100-continue, private"))
            .or_served(seen)
            .never(&["private"]),
        Case::refused_by(417, "two lines of expectations", expecting("100-continue\r\nExpect: private"))
            .or_served(seen)
            .never(&["private"]),
        Case::refused(
            "a bad body that is expected",
            with("Expect: 100-continue\r\nContent-Length: 2\r\nContent-Length: 2", "ab"),
        ),
    ]
}
