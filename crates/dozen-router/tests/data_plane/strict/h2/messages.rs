//! RFC 9113, 8, and RFC 9110: heads, bodies, trailers. What could be read in two ways by whoever
//! stands behind us is malformed.

use super::case::{
    Case, END_HEADERS, END_STREAM, PROTOCOL, Right, WHOLE, ask, begin, data, frame, get, post,
};
use crate::frames::{Head, kind};

const ONE: &[u32] = &[1];

pub(super) fn cases() -> Vec<Case> {
    [pseudo_fields(), connects(), names(), values(), of_a_connection(), lengths(), trailers(), targets()]
        .concat()
}

fn head(name: &str, right: Right, head: &Head) -> Case {
    Case::new(name, right, &[frame(kind::HEADERS, WHOLE, 1, &head.encoded())])
}

/// Refused, and the app gets nothing of it.
fn bad(name: impl AsRef<str>, given: &Head) -> Case {
    head(name.as_ref(), Right::Malformed(1), given)
}

fn fine(name: impl AsRef<str>, given: &Head) -> Case {
    head(name.as_ref(), Right::Served(ONE), given).seen(&["GET /"])
}

fn pseudo_fields() -> Vec<Case> {
    let late = |name: &str| {
        let value = if name == ":method" {
            "GET"
        } else if name == ":scheme" {
            "https"
        } else {
            "/"
        };
        get().without(name).and("x", "y").and(name, value)
    };
    let mut cases = vec![
        bad("8.3 an unknown pseudo-field", &get().and(":x", "y")),
        bad("8.3 an empty pseudo-field", &get().and(":", "y")),
        bad("8.3 a status", &get().and(":status", "200")),
        bad("8.3 a protocol (RFC 8441)", &get().and(":protocol", "websocket")),
        bad("8.3.1 no host", &get().without(":authority")),
        bad("8.3.1 an empty authority", &get().with(":authority", "")),
        bad("8.3.1 a host beside another authority", &get().and("host", "two.test")),
        bad("8.3.1 a host with a port beside one without", &get().and("host", "one.test:443")),
        bad("8.3.1 two hosts", &get().without(":authority").and("host", "one.test").and("host", "one.test")),
        bad("8.3.1 an authority with a user", &get().with(":authority", "me@one.test")),
        bad("8.3.1 an authority with a path", &get().with(":authority", "one.test/x")),
        bad("8.3.1 an authority with a space", &get().with(":authority", "one.test x")),
        bad("8.3.1 two authorities in one", &get().with(":authority", "one.test,two.test")),
        bad("8.3.1 a port that is none", &get().with(":authority", "one.test:x")),
        bad("8.3.1 a method with a space", &get().with(":method", "GET /x")),
        bad("8.3.1 an empty method", &get().with(":method", "")),
        bad("8.3.1 another scheme", &get().with(":scheme", "ftp")),
        bad("8.3.1 an empty scheme", &get().with(":scheme", "")),
        bad("8.3.1 a scheme with a slash", &get().with(":scheme", "https://x")),
        fine("8.3.1 a host and no authority", &get().without(":authority").and("host", "one.test")),
        fine("8.3.1 a host that says the same", &get().and("host", "one.test")),
        fine(
            "8.3.1 another order",
            &Head::new(&[
                (":path", "/"),
                (":authority", "one.test"),
                (":scheme", "https"),
                (":method", "GET"),
            ]),
        ),
    ];
    for name in [":method", ":scheme", ":path"] {
        cases.push(bad(format!("8.3.1 no {name}"), &get().without(name)));
        cases.push(bad(format!("8.3 {name} behind a field"), &late(name)));
    }
    for (name, value) in
        [(":method", "GET"), (":scheme", "https"), (":authority", "one.test"), (":path", "/")]
    {
        cases.push(bad(format!("8.3.1 {name} twice"), &get().and(name, value)));
    }
    cases
}

fn connects() -> Vec<Case> {
    let connect = Head::new(&[(":method", "CONNECT"), (":authority", "one.test:443")]);
    vec![
        head("8.5 CONNECT", Right::Status(1, 405), &connect),
        bad("8.5 CONNECT with a path", &connect.clone().and(":path", "/")),
        bad("8.5 CONNECT with a scheme", &connect.clone().and(":scheme", "https")),
        // There is nothing to connect to, and nobody is.
        head("8.5 CONNECT without an authority", Right::Status(1, 405), &connect.without(":authority")),
        bad(
            "RFC 8441: CONNECT to a websocket",
            &get().with(":method", "CONNECT").and(":protocol", "websocket"),
        ),
    ]
}

fn names() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        ("capitals", "X-Y"),
        ("one capital", "x-Y"),
        ("nothing", ""),
        ("a space", "x y"),
        ("a space at its end", "x "),
        ("a colon", "x:y"),
        ("a colon at its end", "content-length:"),
        ("a NUL", "x\0y"),
        ("a line end", "x\r\ny"),
        ("a tab", "x\ty"),
        ("DEL", "x\x7fy"),
        ("a letter beyond ASCII", "x\u{e9}y"),
        ("a bracket", "x(y"),
        ("a quote", "x\"y"),
    ]
    .map(|(what, name)| bad(format!("8.2.1 a name with {what}"), &get().and(name, "z")))
    .into();
    cases.push(fine("8.2.1 a name of all other signs", &get().and("!#$%&'*+-.^`|~09az", "z")));
    cases
}

fn values() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        ("a NUL", "a\0b"),
        ("CR", "a\rb"),
        ("LF", "a\nb"),
        ("a line end and a field", "a\r\nhost: two.test"),
        ("a line end at its end", "a\r\n"),
        ("a space before", " a"),
        ("a space behind", "a "),
        ("a tab before", "\ta"),
        ("a tab behind", "a\t"),
        ("DEL", "a\x7fb"),
        ("a control character", "a\x01b"),
    ]
    .map(|(what, value)| bad(format!("8.2.1 a value with {what}"), &get().and("x", value)))
    .into();
    cases.extend([
        fine("8.2.1 an empty value", &get().and("x", "")),
        fine("8.2.1 a value with a tab and a space within", &get().and("x", "a\t b")),
        fine("8.2.1 a value beyond ASCII", &get().and("x", "\u{e9}")),
        fine("8.2.3 cookies in crumbs", &get().and("cookie", "a=1").and("cookie", "b=2")),
    ]);
    cases
}

fn of_a_connection() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        ("connection", "keep-alive"),
        ("connection", "close"),
        ("connection", "x"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, deflate"),
        ("te", ""),
    ]
    .map(|(name, value)| bad(format!("8.2.2 {name}: {value}"), &get().and(name, value)))
    .into();
    cases.push(fine("8.2.2 te: trailers", &get().and("te", "trailers")));
    cases
}

fn lengths() -> Vec<Case> {
    let with = |name: &str, lengths: &[&str], parts: &[&[u8]]| {
        let given = lengths.iter().fold(post(), |head, length| head.and("content-length", length));
        let mut bytes = vec![frame(
            kind::HEADERS,
            if parts.is_empty() { WHOLE } else { END_HEADERS },
            1,
            &given.encoded(),
        )];
        for (index, part) in parts.iter().enumerate() {
            bytes.push(data(if index + 1 == parts.len() { END_STREAM } else { 0 }, 1, part));
        }
        Case::new(format!("8.1.1 {name}"), Right::Malformed(1), &bytes)
    };
    let good = |case: Case, seen| Case { right: vec![Right::Served(ONE)], ..case }.seen(&[seen]);
    vec![
        good(with("a length that is right", &["5"], &[b"abcde"]), "POST / length abcde"),
        good(with("a length that is right in two parts", &["5"], &[b"abc", b"de"]), "POST / length abcde"),
        good(with("no length", &[], &[b"abcde"]), "POST / chunked abcde"),
        good(with("length 0", &["0"], &[]), "POST / length "),
        with("a length and nothing", &["5"], &[]),
        with("a length and an empty part", &["5"], &[b""]),
        with("less than the length", &["5"], &[b"abcd"]),
        with("more than the length", &["5"], &[b"abcdef"]),
        with("more than the length in two parts", &["5"], &[b"abcde", b"f"]),
        with("more than length 0", &["0"], &[b"a"]),
        with("two lengths", &["5", "5"], &[b"abcde"]),
        with("two lengths that differ", &["5", "6"], &[b"abcde"]),
        with("two lengths in one", &["5, 5"], &[b"abcde"]),
        with("a length with a sign", &["+5"], &[b"abcde"]),
        with("a negative length", &["-5"], &[b"abcde"]),
        with("a length in hex", &["0x5"], &[b"abcde"]),
        with("an empty length", &[""], &[b"abcde"]),
        with("a length past 2^64", &["18446744073709551621"], &[b"abcde"]),
    ]
}

fn trailers() -> Vec<Case> {
    let send = |name: &str, right: Right, flags: u8, fields: &[(&str, &str)]| {
        let last = frame(kind::HEADERS, flags, 1, &Head::new(fields).encoded());
        Case::new(format!("8.1 {name}"), right, &[begin(1), data(0, 1, b"ab"), last])
    };
    let bad = |name: &str, fields: &[(&str, &str)]| send(name, Right::Malformed(1), WHOLE, fields);
    let left_out = |name: &str, fields: &[(&str, &str)]| {
        bad(name, fields).or(Right::Served(ONE)).may_see(&["POST / chunked ab"])
    };
    vec![
        send("trailers", Right::Served(ONE), WHOLE, &[("x", "y")]).seen(&["POST / chunked ab"]),
        send("empty trailers", Right::Served(ONE), WHOLE, &[]).seen(&["POST / chunked ab"]),
        send("trailers that are not the end", Right::Reset(1, &[PROTOCOL]), END_HEADERS, &[("x", "y")]),
        // The library leaves those that it knows out of trailers, and we never see them.
        left_out("a pseudo-field in trailers", &[(":path", "/x")]),
        left_out("a status in trailers", &[(":status", "200")]),
        left_out("a whole head in trailers", &[(":method", "GET"), (":path", "/"), (":scheme", "https")]),
        bad("an unknown pseudo-field in trailers", &[(":x", "y")]),
        bad("capitals in trailers", &[("X", "y")]),
        bad("a connection in trailers", &[("connection", "x")]),
        bad("a coding in trailers", &[("transfer-encoding", "chunked")]),
        bad("a line end in trailers", &[("x", "y\r\nz: 1")]),
        // They frame or route: they may be left out, too.
        send("a length in trailers", Right::Malformed(1), WHOLE, &[("content-length", "5")])
            .or(Right::Served(ONE))
            .may_see(&["POST / chunked ab"]),
        send("a host in trailers", Right::Malformed(1), WHOLE, &[("host", "two.test")])
            .or(Right::Served(ONE))
            .may_see(&["POST / chunked ab"]),
        Case::new(
            "8.1 data behind trailers",
            Right::Reset(1, &[PROTOCOL, super::case::CLOSED]),
            &[
                begin(1),
                frame(kind::HEADERS, WHOLE, 1, &Head::new(&[("x", "y")]).encoded()),
                data(END_STREAM, 1, b"ab"),
            ],
        )
        .may_see(&["POST / chunked "]),
    ]
}

fn targets() -> Vec<Case> {
    let path = |path: &str| get().with(":path", path);
    let mut cases: Vec<Case> = [
        ("nothing", ""),
        ("no slash", "one"),
        ("a whole URL", "https://one.test/x"),
        ("a query alone", "?x"),
        ("an asterisk for GET", "*"),
        ("a space", "/a b"),
        ("a second line", "/ HTTP/1.1\r\nhost: two.test"),
        ("a NUL", "/a\0b"),
        ("LF", "/a\nb"),
        ("a tab", "/a\tb"),
        ("DEL", "/a\x7fb"),
    ]
    .map(|(what, given)| bad(format!("8.3.1 a path of {what}"), &path(given)))
    .into();
    cases.push(
        head("8.3.1 OPTIONS *", Right::Served(ONE), &path("*").with(":method", "OPTIONS"))
            .seen(&["OPTIONS *"]),
    );
    cases.push(
        head("8.3.1 a path with two slashes", Right::Served(ONE), &path("//two.test/x"))
            .seen(&["GET //two.test/x"]),
    );
    cases.push(
        Case::new(
            "8.1 a malformed request beside a good one",
            Right::Served(&[3]),
            &[frame(kind::HEADERS, WHOLE, 1, &get().and("te", "gzip").encoded()), ask(3)],
        )
        .seen(&["GET /"]),
    );
    // The library cuts it off, as a browser would have.
    cases
        .push(bad("8.3.1 a path with a fragment", &path("/a#b")).or(Right::Served(ONE)).may_see(&["GET /a"]));
    cases
}
