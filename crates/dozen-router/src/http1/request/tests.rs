use super::*;

fn judge(head: &str) -> Result<(String, Framing, Hop), Refusal> {
    let mut ranges = Vec::new();
    parse(head.as_bytes(), MAX_HEADERS, &mut ranges)
        .map(|head| (head.target.to_owned(), head.framing, head.hop))
}

/// The judgement of a POST with these headers.
fn with(headers: &str) -> Result<Framing, Refusal> {
    judge(&format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n")).map(|(_, framing, _)| framing)
}

#[test]
fn a_body_ends_where_its_headers_say() {
    assert_eq!(with("X: y"), Ok(Framing::None));
    assert_eq!(with("Content-Length: 0"), Ok(Framing::Length(0)));
    assert_eq!(with("content-length:  17 "), Ok(Framing::Length(17)));
    assert_eq!(with("Transfer-Encoding: Chunked"), Ok(Framing::Chunked));
    assert_eq!(with("Connection: content-length\r\nContent-Length: 2"), Ok(Framing::Length(2)));
}

#[test]
fn a_head_that_could_be_framed_in_two_ways_is_refused() {
    for bad in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Content-Length: 2\r\ncontent-length: 2",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 2, 2",
        "Content-Length: +2",
        "Content-Length: -2",
        "Content-Length: 0x2",
        "Content-Length: 9999999999999999999",
        "Content-Length:",
        "Content-Length : 2",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding:\r\n chunked",
        "X: a\r\n b",
        "X: a\0b",
        "X: a\rb",
        "no colon",
        ": empty",
        " first: x",
        "na me: x",
    ] {
        assert_eq!(with(bad), Err(Refusal::Malformed), "{bad:?}");
    }
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(judge(old), Err(Refusal::Malformed));
}

#[test]
fn there_is_one_host() {
    for bad in ["", "Host: \r\n", "Host: a\r\nhost: a\r\n", "Host: a,b\r\n", "Host: a/b\r\n"] {
        let judged = judge(&format!("GET / HTTP/1.1\r\n{bad}\r\n"));
        assert_eq!(judged, Err(Refusal::Malformed), "{bad:?}");
    }
}

#[test]
fn a_target_fits_its_method() {
    let target =
        |line: &str| judge(&format!("{line} HTTP/1.1\r\nHost: a:80\r\n\r\n")).map(|(target, ..)| target);
    for (line, good) in [
        ("GET /a?b=c|d", "/a?b=c|d"),
        ("GET http://A/x", "/x"),
        ("GET http://a:80", "/"),
        ("OPTIONS *", "*"),
        ("OPTIONS http://a", "*"),
        ("OPTIONS /x", "/x"),
    ] {
        assert_eq!(target(line).as_deref(), Ok(good), "{line}");
    }
    for bad in [
        "GET *",
        "GET a",
        "GET a:80",
        "GET http://b/",
        "GET http://u@a/",
        "GET ftp://a/",
        "GET http://a?x",
        "GET /#x",
        "GET /é",
        "GET  /",
        "GET /\tx",
        "G@T /",
    ] {
        assert_eq!(target(bad), Err(Refusal::Malformed), "{bad}");
    }
    assert_eq!(target("CONNECT a:80"), Err(Refusal::Connect));
    assert_eq!(target(&format!("{} /", "X".repeat(33))), Err(Refusal::Malformed));
}

#[test]
fn other_versions_are_named_as_such() {
    for (version, refusal) in [
        ("HTTP/2.0", Refusal::Version),
        ("HTTP/1.2", Refusal::Version),
        ("HTTP/0.9", Refusal::Version),
        ("http/1.1", Refusal::Malformed),
        ("HTTP/11", Refusal::Malformed),
        ("HTTP/1.1 ", Refusal::Malformed),
    ] {
        assert_eq!(judge(&format!("GET / {version}\r\nHost: a\r\n\r\n")), Err(refusal), "{version}");
    }
    assert_eq!(judge("PRI * HTTP/2.0\r\n\r\n"), Err(Refusal::Version));
}

#[test]
fn a_hundred_headers_pass_and_one_more_does_not() {
    let headers = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert!(judge(&headers(100)).is_ok());
    assert_eq!(judge(&headers(101)), Err(Refusal::TooLarge));
    for most in [50, 500] {
        let judge = |count| parse(headers(count).as_bytes(), most, &mut Vec::new()).map(drop);
        assert_eq!((judge(most), judge(most + 1)), (Ok(()), Err(Refusal::TooLarge)), "{most}");
    }
}

#[test]
fn what_concerns_the_connection_is_read() {
    let hop = |headers: &str| {
        judge(&format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n")).map(|(.., hop)| hop)
    };
    let all = hop(
        "Connection: Close, keep-alive\r\nConnection: UPGRADE, x-private\r\nTE: gzip, trailers\r\nExpect: 100-Continue",
    );
    let expected = Hop {
        close: true,
        keep_alive: true,
        upgrade: true,
        names_headers: true,
        expects_continue: true,
        takes_trailers: true,
    };
    assert_eq!(all, Ok(expected));
    assert_eq!(hop("Expect: coffee"), Err(Refusal::Expectation));
}
