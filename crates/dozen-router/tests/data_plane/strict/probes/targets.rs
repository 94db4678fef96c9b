//! The request line: method, target and version.

use super::lines::head_of;
use crate::strict::case::{Case, line};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = methods();
    cases.append(&mut spaces());
    cases.append(&mut versions());
    cases.append(&mut forms());
    cases.append(&mut bytes_of_a_target());
    cases.append(&mut sizes());
    cases
}

fn methods() -> Vec<Case> {
    let mut cases = vec![
        Case::served("a method of our own", line("PURGE / HTTP/1.1"), &["PURGE /"]),
        Case::served("a method in lower case", line("get / HTTP/1.1"), &["get /"])
            .or_refused_by(400)
            .or_refused_by(501),
        Case::served(
            "a method of every allowed sign",
            line("M!#$%&'*+-.^_`|~1 / HTTP/1.1"),
            &["M!#$%&'*+-.^_`|~1 /"],
        )
        .or_refused_by(400)
        .or_refused_by(501),
        Case::refused("no request", b"GARBAGE\r\n\r\n".to_vec()),
        Case::refused("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        Case::refused("an answer", line("HTTP/1.1 200 OK")),
        Case::refused(
            "a proxy's greeting",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: one.test\r\n\r\n".to_vec(),
        ),
        Case::refused("no method", line(" / HTTP/1.1")),
        Case::refused("a header for a request line", line("Host: one.test")),
    ];
    for byte in (0..0x20).chain(*b"\"(),/:;<=>?@[\\]{}").chain([0x7f, 0x80, 0xc3, 0xff]) {
        let name = format!("a method with {}", byte.escape_ascii());
        cases.push(Case::refused(name, line([b"G", &[byte][..], b"T / HTTP/1.1"].concat())));
    }
    cases
}

fn spaces() -> Vec<Case> {
    [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.1\t",
        " GET / HTTP/1.1",
        "\tGET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET\x0b/ HTTP/1.1",
        "GET /\x0cHTTP/1.1",
        "GET / x HTTP/1.1",
        "GET / HTTP/1.1 x",
        "GET /x y HTTP/1.1",
        "GET / HTTP/1.1 HTTP/1.1",
        "GET /",
        "GET / ",
        "GET",
        "GET ",
        "GET HTTP/1.1",
        "GET  HTTP/1.1",
        "GET\r/ HTTP/1.1",
        "GET /\rHTTP/1.1",
        "GET / HTTP/1.1\r",
        "GET\u{a0}/\u{a0}HTTP/1.1",
        "GET\0/\0HTTP/1.1",
    ]
    .map(|text| Case::refused(format!("line {}", text.escape_debug()), line(text)))
    .into()
}

const ODD_VERSIONS: &[&str] = &[
    "http/1.1",
    "Http/1.1",
    "HTTP/1",
    "HTTP/1.",
    "HTTP/.1",
    "HTTP/2",
    "HTTP/3",
    "HTTP/11",
    "HTTP/1.1.1",
    "HTTP/1.10",
    "HTTP/01.1",
    "HTTP/1.01",
    "HTTP/+1.1",
    "HTTP/-1.1",
    "HTTP/1,1",
    "HTTP/1-1",
    "HTTP/1.x",
    "HTTP/x.1",
    "HTTP 1.1",
    "HTTP/ 1.1",
    "HTTP /1.1",
    "HTTP1.1",
    "HTTPS/1.1",
    "ICAP/1.0",
    "RTSP/1.0",
    "HTTP",
    "HTTP/",
    "XHTTP/1.1",
    "HTTP/1.1\0",
    "HTTP/1.1\x0b",
    "HTTP\\1.1",
    "HTTP/1.\u{ff11}",
    "HTTP/1.1/",
    "HTTP/1.1;",
];

fn versions() -> Vec<Case> {
    let mut cases = vec![
        Case::served_last("HTTP/1.0", line("GET / HTTP/1.0"), &["GET /"]),
        Case::served_last(
            "HTTP/1.1 and close",
            b"GET / HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n".to_vec(),
            &["GET /"],
        ),
        Case::served_last(
            "HTTP/1.1 and close among others",
            b"GET / HTTP/1.1\r\nHost: one.test\r\nConnection: x, Close\r\n\r\n".to_vec(),
            &["GET /"],
        ),
        // Without a version it is HTTP/0.9, whose answers have no head.
        Case::refused("HTTP/0.9", b"GET /\r\n".to_vec()),
        Case::refused_by(505, "the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec())
            .or_refused_by(400),
        Case::refused_by(
            505,
            "the preface of HTTP/2 with a host",
            b"PRI * HTTP/2.0\r\nHost: one.test\r\n\r\nSM\r\n\r\n".to_vec(),
        )
        .or_refused_by(400),
    ];
    for version in ["HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "HTTP/1.2", "HTTP/1.9", "HTTP/0.0", "HTTP/9.9"] {
        let bytes = line(format!("GET / {version}"));
        cases.push(Case::refused_by(505, format!("version {version}"), bytes));
    }
    for version in ODD_VERSIONS {
        let bytes = line(format!("GET / {version}"));
        let is_other = version.starts_with("HTTP/2") || version.starts_with("HTTP/3");
        let case = Case::refused(format!("version {}", version.escape_debug()), bytes);
        cases.push(if is_other { case.or_refused_by(505) } else { case });
    }
    cases
}

const ODD_FORMS: &[&str] = &[
    "GET http://two.test/ HTTP/1.1",
    "GET http://one.test.two.test/ HTTP/1.1",
    "GET http://xone.test/ HTTP/1.1",
    "GET http:/// HTTP/1.1",
    "GET http:/one.test/ HTTP/1.1",
    "GET http:one.test HTTP/1.1",
    "GET http: HTTP/1.1",
    "GET http:// HTTP/1.1",
    "GET http://one.test:99999/ HTTP/1.1",
    "GET http://one.test:x/ HTTP/1.1",
    "GET http://user@one.test/ HTTP/1.1",
    "GET http://user:pass@one.test/ HTTP/1.1",
    "GET http://@one.test/ HTTP/1.1",
    "GET http://one.test@two.test/ HTTP/1.1",
    "GET http://one.test\\@two.test/ HTTP/1.1",
    "GET http://[one.test/ HTTP/1.1",
    "GET http://one.test#/ HTTP/1.1",
    "GET http://one.test/#x HTTP/1.1",
    "GET ftp://one.test/ HTTP/1.1",
    "GET file:///etc/passwd HTTP/1.1",
    "GET javascript:x HTTP/1.1",
    "GET ws://one.test/ HTTP/1.1",
    "GET xhttp://one.test/ HTTP/1.1",
    "GET 1http://one.test/ HTTP/1.1",
    "GET urn:x HTTP/1.1",
    "GET ://one.test/ HTTP/1.1",
    "GET * HTTP/1.1",
    "POST * HTTP/1.1",
    "OPTIONS ** HTTP/1.1",
    "OPTIONS */x HTTP/1.1",
    "GET one.test HTTP/1.1",
    "GET one.test:80 HTTP/1.1",
    "OPTIONS one.test:80 HTTP/1.1",
    "CONNECT one.test:80 HTTP/1.1",
    "CONNECT one.test HTTP/1.1",
    "CONNECT / HTTP/1.1",
    "CONNECT http://one.test/ HTTP/1.1",
    "CONNECT * HTTP/1.1",
    "GET index.html HTTP/1.1",
    "GET ?x HTTP/1.1",
    "GET #x HTTP/1.1",
    "GET /#x HTTP/1.1",
    "GET /x?y#z HTTP/1.1",
    "GET \\x HTTP/1.1",
    "GET ../x HTTP/1.1",
    "GET @one.test/ HTTP/1.1",
    "GET %2fx HTTP/1.1",
    "GET \"/\" HTTP/1.1",
];

fn forms() -> Vec<Case> {
    let served = |target: &str, seen: &str| {
        Case::served(
            format!("target {target}"),
            line(format!("GET {target} HTTP/1.1")),
            &[&format!("GET {seen}")],
        )
    };
    let refused = |text: &str| Case::refused(format!("line {text}"), line(text));
    let absolute = |target: &str| format!("GET {target} HTTP/1.1\r\n\r\n").into_bytes();
    let mut cases = vec![
        served("/", "/"),
        served("/x?y=z&&", "/x?y=z&&"),
        served("//two.test/x", "//two.test/x"),
        served("///", "///"),
        served("/../x/./%2e%2e//y", "/../x/./%2e%2e//y"),
        served("/http://two.test/", "/http://two.test/"),
        served("/?http://two.test/", "/?http://two.test/"),
        served("/x?", "/x?"),
        served("/%", "/%"),
        served("/%00%zz%0d%0a", "/%00%zz%0d%0a"),
        served("/a;b,c=d:e@f!g$h&i'(j)*k+l~m_n-o.p", "/a;b,c=d:e@f!g$h&i'(j)*k+l~m_n-o.p"),
        // No URI by the letter, but browsers write these as they are.
        served("/a|b[c]^d?e=|{}^[]\\`", "/a|b[c]^d?e=|{}^[]\\`"),
        served("/\\{\"x\"}`<y>?\"<>\"", "/\\{\"x\"}`<y>?\"<>\"").or_refused_by(400),
        served("http://one.test/x?y", "/x?y"),
        served("http://one.test:80/x", "/x"),
        served("HTTP://ONE.TEST/X", "/X"),
        served("http://one.test", "/"),
        // Its path is missing, which only the client's own proxy may know how to repair.
        served("http://one.test?x", "/?x").or_refused_by(400),
        Case::refused("an absolute target without a host", absolute("http://one.test/")),
        Case::served("OPTIONS *", line("OPTIONS * HTTP/1.1"), &["OPTIONS *"]),
        Case::served("OPTIONS of a whole server", line("OPTIONS http://one.test HTTP/1.1"), &["OPTIONS *"]),
        Case::served("OPTIONS of a path", line("OPTIONS /x HTTP/1.1"), &["OPTIONS /x"]),
    ];
    for text in ODD_FORMS {
        // A tunnel may be refused for what it is.
        let is_tunnel = text.starts_with("CONNECT");
        cases.push(if is_tunnel { refused(text).or_refused_by(405) } else { refused(text) });
    }
    cases
}

fn bytes_of_a_target() -> Vec<Case> {
    let mut cases = Vec::new();
    for byte in (0..=0x20_u8).chain([0x7f, 0x80, 0xa0, 0xff]) {
        let shown = byte.escape_ascii();
        let path = line([b"GET /x", &[byte][..], b"y HTTP/1.1"].concat());
        cases.push(Case::refused(format!("a path with {shown}"), path));
        let query = line([b"GET /?x", &[byte][..], b"y HTTP/1.1"].concat());
        cases.push(Case::refused(format!("a query with {shown}"), query));
    }
    cases.push(Case::refused("a path in UTF-8", line("GET /\u{e4} HTTP/1.1")));
    cases.push(Case::refused("a query in UTF-8", line("GET /?\u{e4} HTTP/1.1")));
    cases
}

fn sizes() -> Vec<Case> {
    let long = format!("/{}", "x".repeat(8000));
    let (seen, too_long) = (format!("GET {long}"), "x".repeat(70 << 10));
    vec![
        Case::served("a target of 8000 bytes", line(format!("GET {long} HTTP/1.1")), &[&seen]),
        Case::refused_by(431, "a target of 70 KiB", line(format!("GET /{too_long} HTTP/1.1")))
            .or_refused_by(414),
        Case::refused_by(431, "a query of 70 KiB", line(format!("GET /?{too_long} HTTP/1.1")))
            .or_refused_by(414),
        Case::refused("a method of 70 KiB", line(format!("{} / HTTP/1.1", too_long.to_uppercase())))
            .or_refused_by(431)
            .or_refused_by(501),
        Case::refused("a version of 70 KiB", line(format!("GET / {too_long}"))).or_refused_by(431),
        Case::refused("one line without end", too_long.into()).or_refused_by(431),
        Case::refused_by(
            431,
            "a second head of 100 KiB",
            [line("GET /1 HTTP/1.1"), head_of(100 << 10)].concat(),
        )
        .with_statuses(&[200, 431], &["GET /1"]),
    ]
}
