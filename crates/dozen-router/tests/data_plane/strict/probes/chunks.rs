//! Chunks: their sizes, extensions and ends, and the trailers behind them.

use crate::strict::case::{self, Case, MAY_BREAK, chunked};

const SEEN: &[&str] = &["POST / chunked ab"];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = good();
    cases.append(&mut bad_sizes());
    cases.append(&mut bad_ends());
    cases.append(&mut trailers());
    cases
}

fn good() -> Vec<Case> {
    vec![
        Case::served("two chunks", chunked("1\r\na\r\n1\r\nb\r\n0\r\n\r\n"), SEEN),
        Case::served("no chunk", chunked("0\r\n\r\n"), &["POST / chunked "]).or_served(&["POST / length "]),
        Case::served("zeros for the end", chunked("2\r\nab\r\n000\r\n\r\n"), SEEN),
        Case::served("a size with zeros", chunked("0002\r\nab\r\n0\r\n\r\n"), SEEN),
        Case::served(
            "a size in capitals",
            chunked(format!("A\r\n{}\r\n0\r\n\r\n", "x".repeat(10))),
            &["POST / chunked xxxxxxxxxx"],
        ),
        Case::served("an extension", chunked("2;a=b\r\nab\r\n0;c\r\n\r\n"), SEEN).never(&["a=b"]),
        Case::served("a quoted extension", chunked("2;a=\"b;c\"\r\nab\r\n0\r\n\r\n"), SEEN).never(&["b;c"]),
        Case::served("an extension behind a space", chunked("2 ;a\r\nab\r\n0\r\n\r\n"), SEEN)
            .or_refused_by(400),
        Case::served(
            "a chunk that looks like the end",
            chunked("5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
            &["POST / chunked 0\r\n\r\n"],
        ),
        Case::served(
            "a chunk that is a request",
            chunked("28\r\nGET /hidden HTTP/1.1\r\nHost: one.test\r\n\r\n\r\n0\r\n\r\n"),
            &["POST / chunked GET /hidden HTTP/1.1\r\nHost: one.test\r\n\r\n"],
        ),
    ]
}

const ODD_SIZES: &[&str] = &[
    "",
    " ",
    "0x2",
    "0X2",
    "x2",
    "+2",
    "-2",
    "-1",
    " 2",
    "\t2",
    "2 ",
    "2\t",
    "2 2",
    "2,",
    "2.0",
    "2_0",
    "2h",
    "g",
    "2\x0b",
    "\x0b2",
    "2\0",
    "\x002",
    "2:",
    "2=",
    "\u{ff12}",
    "2\u{a0}",
    "10000000000000002",
    "ffffffffffffffff",
    "8000000000000000",
    "7fffffffffffffff0",
    "00000000000000000000000000000000000000002",
    "2\r",
    "\r2",
    "2\n",
];

fn bad_sizes() -> Vec<Case> {
    let mut cases: Vec<Case> = ODD_SIZES
        .iter()
        .map(|size| {
            let name = format!("size {}", size.escape_debug());
            Case::refused(name, chunked(format!("{size}\r\nab\r\n0\r\n\r\n")))
        })
        .collect();
    for extension in
        [";\nxx", ";a=\nxx", ";a=b\rxx", ";a\r", ";\0", ";a=\"\n\"", ";a=\"b\r\"", ";\x7f", ";\x01"]
    {
        let name = format!("extension {}", extension.escape_debug());
        cases.push(Case::refused(name, chunked(format!("2{extension}\r\nab\r\n0\r\n\r\n"))));
    }
    let long = "x".repeat(20 << 10);
    cases.push(Case::refused("an extension of 20 KiB", chunked(format!("2;{long}\r\nab\r\n0\r\n\r\n"))));
    cases.push(Case::refused(
        "an extension of 20 KiB at the end",
        chunked(format!("2\r\nab\r\n0;{long}\r\n\r\n")),
    ));
    cases.push(Case::refused(
        "a size of 20 KiB",
        chunked(format!("{}2\r\nab\r\n0\r\n\r\n", "0".repeat(20 << 10))),
    ));
    let small = format!("1;{}\r\na\r\n", "x".repeat(1000)).repeat(1000);
    let seen = format!("POST / chunked {}", "a".repeat(1000));
    cases.push(
        Case::refused("extensions of a MiB in all", chunked(format!("{small}0\r\n\r\n"))).or_served(&[&seen]),
    );
    cases
}

fn bad_ends() -> Vec<Case> {
    let broken = |name: &str, body: &str| Case::refused(name, chunked(body));
    vec![
        broken("bare LF behind a size", "2\nab\r\n0\r\n\r\n"),
        broken("bare LF behind a chunk", "2\r\nab\n0\r\n\r\n"),
        broken("bare LF everywhere", "2\nab\n0\n\n"),
        broken("bare LF behind the last size", "2\r\nab\r\n0\n\r\n"),
        broken("bare LF at the end", "2\r\nab\r\n0\r\n\n"),
        broken("bare CR behind a size", "2\rab\r\n0\r\n\r\n"),
        broken("CR CR LF behind a size", "2\r\r\nab\r\n0\r\n\r\n"),
        broken("bare CR behind a chunk", "2\r\nab\r0\r\n\r\n"),
        broken("CR x behind a chunk", "2\r\nab\rx0\r\n\r\n"),
        broken("nothing behind a chunk", "2\r\nab0\r\n\r\n"),
        broken("one byte more", "2\r\nabc\r\n0\r\n\r\n"),
        broken("two bytes more", "2\r\nabxx0\r\n\r\n"),
        broken("one byte less", "3\r\nab\r\n0\r\n\r\n"),
        broken("an empty line between", "2\r\nab\r\n\r\n0\r\n\r\n"),
        broken("a space behind a chunk", "2\r\nab \r\n0\r\n\r\n"),
        broken("no end", "2\r\nab\r\nGET /hidden HTTP/1.1\r\nHost: one.test\r\n\r\n"),
        broken("a length instead of a size", "Content-Length: 2\r\n\r\nab"),
    ]
}

fn trailers() -> Vec<Case> {
    let with = |name: &str, trailers: &str| {
        // Announced: else they are dropped anyway.
        let announced = trailers.split_once(": ").map_or("X", |(name, _)| name);
        let announced = if trailers.contains("\r\n") { "X" } else { announced };
        let headers = format!("{MAY_BREAK}: 1\r\nTrailer: {announced}\r\nTransfer-Encoding: chunked");
        (name.to_owned(), case::with(headers, format!("2\r\nab\r\n0\r\n{trailers}\r\n\r\n")))
    };
    let broken = |name: &str, trailers: &str| {
        let (name, bytes) = with(name, trailers);
        Case::refused(format!("trailers: {name}"), bytes)
    };
    let dropped = |text: &'static str, never: &'static str| {
        let (name, bytes) = with(text, text);
        Case::served(format!("trailer {name}"), bytes, SEEN).or_refused_by(400).never(&[never])
    };
    let long = "y".repeat(70 << 10);
    let many: Vec<String> = (0..2000).map(|number| format!("X-{number}: y")).collect();
    let (name, bytes) = with("a trailer", "X-Sum: 1");
    vec![
        Case::served(name, bytes, SEEN),
        dropped("Content-Length: 9", "content-length: 9"),
        dropped("Transfer-Encoding: gzip", "gzip"),
        dropped("Host: two.test", "two.test"),
        dropped("Connection: x-private", "x-private"),
        dropped("Upgrade: x-private", "x-private"),
        dropped("Trailer: x-private", "x-private"),
        dropped("TE: x-private", "x-private"),
        dropped("Expect: 100-continue", "expect: 1"),
        dropped("Authorization: x-private", "x-private"),
        dropped("Cookie: x-private", "x-private"),
        dropped("Content-Type: x-private", "x-private"),
        dropped("X-Forwarded-For: 6.6.6.6", "6.6.6.6"),
        dropped("X-Forwarded-Proto: x-private", "x-private"),
        dropped("Forwarded: for=6.6.6.6", "6.6.6.6"),
        dropped("X_Forwarded_For: 6.6.6.6", "6.6.6.6"),
        dropped("X-Request-ID: x-private", "x-private"),
        broken("a line without a colon", "Broken"),
        broken("an empty name", ": x"),
        broken("a space before the colon", "X : y"),
        broken("a folded line", "X: y\r\n z"),
        broken("a folded first line", " X: y"),
        broken("a bare LF", "X: y\nZ: z"),
        broken("a bare CR", "X: y\rZ: z"),
        broken("NUL", "X: y\0"),
        broken("a request line", "GET /hidden HTTP/1.1\r\nHost: one.test"),
        broken("70 KiB", &format!("X: {long}")).or_refused_by(431),
        broken("2000 of them", &many.join("\r\n")).or_refused_by(431),
    ]
}
