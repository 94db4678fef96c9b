//! The lines of a head: how each ends, what a name and a value are made of, and how many there are.

use crate::strict::case::{Case, get};

fn raw(text: &str) -> Vec<u8> {
    text.into()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = ends();
    cases.append(&mut folds());
    cases.append(&mut names());
    cases.append(&mut values());
    cases.append(&mut sizes());
    cases
}

fn ends() -> Vec<Case> {
    vec![
        Case::refused("bare LF", raw("GET / HTTP/1.1\nHost: one.test\n\n")),
        Case::refused("one bare LF", raw("GET / HTTP/1.1\r\nHost: one.test\nX: y\r\n\r\n")),
        Case::refused("a bare LF behind the request line", raw("GET / HTTP/1.1\nHost: one.test\r\n\r\n")),
        Case::refused("a bare LF as the last line", raw("GET / HTTP/1.1\r\nHost: one.test\r\n\n")),
        Case::refused("a bare LF before the last line", raw("GET / HTTP/1.1\r\nHost: one.test\n\r\n")),
        Case::refused("LF CR", raw("GET / HTTP/1.1\n\rHost: one.test\n\r\n\r")),
        Case::refused("CR CR LF", raw("GET / HTTP/1.1\r\nHost: one.test\r\r\nX: y\r\n\r\n")),
        Case::refused("CR CR LF as the last line", raw("GET / HTTP/1.1\r\nHost: one.test\r\n\r\r\n\r\n")),
        Case::refused("bare CR for line ends", raw("GET / HTTP/1.1\rHost: one.test\r\r")),
        Case::refused("a bare CR behind the request line", raw("GET / HTTP/1.1\rHost: one.test\r\n\r\n")),
        Case::refused("bare CR", raw("GET / HTTP/1.1\r\nHost: one.test\r\nX: a\rY: b\r\n\r\n")),
        Case::refused("bare CR in a name", raw("GET / HTTP/1.1\r\nHost: one.test\r\nX\rY: b\r\n\r\n")),
        Case::refused("bare CR before a name", raw("GET / HTTP/1.1\r\nHost: one.test\r\n\rX: b\r\n\r\n")),
        Case::refused("NUL for a line end", raw("GET / HTTP/1.1\r\nHost: one.test\0X: y\r\n\r\n")),
        Case::refused(
            "a request behind a bare LF is none",
            raw("GET / HTTP/1.1\r\nHost: one.test\r\nX: y\n\nGET /hidden HTTP/1.1\r\nHost: one.test\r\n\r\n"),
        ),
        Case::refused(
            "a request behind a bare CR is none",
            raw("GET / HTTP/1.1\r\nHost: one.test\r\nX: y\r\rGET /hidden HTTP/1.1\r\nHost: one.test\r\n\r\n"),
        ),
        Case::refused_after(
            "a bare LF in the second request",
            raw(
                "GET /1 HTTP/1.1\r\nHost: one.test\r\n\r\nGET /2 HTTP/1.1\nHost: one.test\n\nGET /3 HTTP/1.1\r\nHost: one.test\r\n\r\n",
            ),
            &["GET /1"],
        ),
        Case::served(
            "three requests at once",
            raw(
                "GET /1 HTTP/1.1\r\nHost: one.test\r\n\r\nPOST /2 HTTP/1.1\r\nHost: one.test\r\nContent-Length: 2\r\n\r\nabGET /3 HTTP/1.1\r\nHost: one.test\r\n\r\n",
            ),
            &["GET /1", "POST /2 length ab", "GET /3"],
        ),
    ]
}

fn folds() -> Vec<Case> {
    vec![
        Case::refused("a folded line", get("X: a\r\n b")),
        Case::refused("a line folded by a tab", get("X: a\r\n\tb")),
        Case::refused("an empty folded line", get("X: a\r\n \r\nY: b")),
        Case::refused("an empty value, folded", get("X:\r\n b")),
        Case::refused("a folded line with a colon", get("X: a\r\n Y: b")),
        Case::refused("a folded first header", raw("GET / HTTP/1.1\r\n X: y\r\nHost: one.test\r\n\r\n")),
        Case::refused(
            "a folded host before the first header",
            raw("GET / HTTP/1.1\r\n Host: two.test\r\nHost: one.test\r\n\r\n"),
        ),
        Case::refused("the only host on a folded line", raw("GET / HTTP/1.1\r\n Host: one.test\r\n\r\n")),
        Case::refused("a folded request line", raw("GET /\r\n HTTP/1.1\r\nHost: one.test\r\n\r\n")),
        Case::refused(
            "white space before the last line",
            raw("GET / HTTP/1.1\r\nHost: one.test\r\n \r\n\r\n"),
        ),
    ]
}

fn names() -> Vec<Case> {
    let mut cases = vec![
        Case::refused("a line without a colon", get("Broken")),
        Case::refused(
            "a line without a colon, first",
            raw("GET / HTTP/1.1\r\nBroken\r\nHost: one.test\r\n\r\n"),
        ),
        Case::refused("an empty name", get(": x")),
        Case::refused("an empty name, first", raw("GET / HTTP/1.1\r\n: x\r\nHost: one.test\r\n\r\n")),
        Case::refused("only a colon", get(":")),
        Case::refused("space before colon", get("X : y")),
        Case::refused("tab before colon", get("X\t: y")),
        Case::served("a name of every allowed sign", get("X!#$%&'*+-.^`|~0: y"), &["GET /"])
            .always(&["x!#$%&'*+-.^`|~0: y"]),
    ];
    for byte in (0..=0x20).chain(*b"\"(),/;<=>?@[\\]{}").chain([0x7f, 0x80, 0xa0, 0xc3, 0xff]) {
        let name = format!("a name with {}", byte.escape_ascii());
        cases.push(Case::refused(name, get([b"X", &[byte][..], b"Y: z"].concat())));
    }
    cases
}

fn values() -> Vec<Case> {
    let mut cases = vec![
        Case::served("an empty value", get("X:\r\nY: "), &["GET /"]),
        Case::served("a value with tabs", get("X: a\tb"), &["GET /"]).always(&["x: a\tb"]),
        Case::served("a value in UTF-8", get("X: \u{e4}"), &["GET /"]).always(&["x: \u{e4}"]),
        Case::served("a value in Latin-1", get(b"X: a\xe4\xffb"), &["GET /"]),
        Case::served("a value with every sign", get("X: ~!@#$%^&*()_+{}|:\"<>?`-=[]\\;',./"), &["GET /"])
            .always(&["x: ~!@#$%^&*()_+{}|:\"<>?`-=[]\\;',./"]),
    ];
    for byte in (0..0x20).filter(|byte| !b"\t".contains(byte)).chain([0x7f]) {
        let name = format!("a value with {}", byte.escape_ascii());
        cases.push(Case::refused(name.clone(), get([b"X: a", &[byte][..], b"b"].concat())));
        cases.push(Case::refused(format!("{name} at its end"), get([b"X: a", &[byte][..]].concat())));
        cases.push(Case::refused(format!("{name} alone"), get([b"X:", &[byte][..]].concat())));
    }
    cases
}

/// A request whose head has exactly so many bytes.
pub(super) fn head_of(size: usize) -> Vec<u8> {
    let mut head = raw("GET / HTTP/1.1\r\nHost: one.test\r\n");
    while head.len() + 2 < size {
        let room = size - 2 - head.len();
        // Never so little that the next line would not fit.
        let line = if room > 4096 {
            2048
        } else if room > 2048 {
            room / 2
        } else {
            room
        };
        head.extend(format!("X: {}\r\n", "x".repeat(line - 5)).bytes());
    }
    head.extend(b"\r\n");
    assert_eq!(head.len(), size);
    head
}

/// A request with exactly so many headers.
fn headers(count: usize) -> Vec<u8> {
    let others: String = (1..count).map(|number| format!("X-{number}: y\r\n")).collect();
    format!("GET / HTTP/1.1\r\nHost: one.test\r\n{others}\r\n").into()
}

fn sizes() -> Vec<Case> {
    let long_name = format!("{}: y", "x".repeat(70 << 10));
    let long_value = format!("X: {}", "y".repeat(70 << 10));
    vec![
        Case::served("100 headers", headers(100), &["GET /"]),
        Case::refused_by(431, "101 headers", headers(101)),
        Case::refused_by(431, "2000 headers", headers(2000)),
        Case::served("a head of 64 KiB", head_of(64 << 10), &["GET /"]),
        Case::refused_by(431, "a head of 64 KiB and a byte", head_of((64 << 10) + 1)),
        Case::refused_by(431, "a head of 100 KiB", head_of(100 << 10)),
        Case::refused_by(431, "a name of 70 KiB", get(long_name)),
        Case::refused_by(431, "a value of 70 KiB", get(long_value)),
        Case::served("a value of 32 KiB", get(format!("X: {}", "y".repeat(32 << 10))), &["GET /"]),
        Case::served("an empty line before", raw("\r\nGET / HTTP/1.1\r\nHost: one.test\r\n\r\n"), &["GET /"]),
        Case::served(
            "an empty line between",
            raw("GET /1 HTTP/1.1\r\nHost: one.test\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: one.test\r\n\r\n"),
            &["GET /1", "GET /2"],
        ),
        Case::refused("an empty line of LF before", raw("\nGET / HTTP/1.1\r\nHost: one.test\r\n\r\n")),
        Case::refused("an empty line of CR before", raw("\rGET / HTTP/1.1\r\nHost: one.test\r\n\r\n")),
        Case::refused("a line of a space before", raw(" \r\nGET / HTTP/1.1\r\nHost: one.test\r\n\r\n")),
        Case::refused("empty lines without end", "\r\n".repeat(40 << 10).into()).or_refused_by(431),
    ]
}
