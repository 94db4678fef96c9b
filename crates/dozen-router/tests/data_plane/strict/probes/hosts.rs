//! Exactly one host, and exactly a name or an address.

use crate::strict::case::Case;

fn with_host(value: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost:", value.as_ref(), b"\r\n\r\n"].concat()
}

fn raw(text: &str) -> Vec<u8> {
    text.into()
}

const ODD: &[&str] = &[
    "",
    " ",
    " one.test, two.test",
    " one.test,one.test",
    " one.test two.test",
    " one.test/x",
    " one.test?x",
    " one.test#x",
    " user@one.test",
    " one.test@two.test",
    " http://one.test",
    " one.test:80:80",
    " one.test:0x50",
    " one.test:+80",
    " one.test:-1",
    " one.test:99999",
    " one.test:8 0",
    " one.test: 80",
    " :80",
    " .one.test",
    " one..test",
    " .",
    " [::1",
    " [one.test]",
    " [::1]x",
    " %6fne.test",
    " one%2etest",
    " one.test%00",
    " one.test\\x",
    " \"one.test\"",
    " one.test;x",
    " (one.test)",
    " *",
    " <one.test>",
    " {one}",
];

const ODD_BYTES: &[(&str, &[u8])] = &[
    ("host with NUL", b" one.test\0"),
    ("host with NUL inside", b" one\0.test"),
    ("host with a vertical tab", b" \x0bone.test"),
    ("host with a form feed", b" one.test\x0c"),
    ("host with DEL", b" one.test\x7f"),
    ("host in UTF-8", b" \xc3\xb6ne.test"),
    ("host in Latin-1", b" \xf6ne.test"),
    ("host behind a no-break space", b" \xa0one.test"),
    ("host with a bare CR", b" one.test\r"),
    ("host with a bare CR and another", b" one.test\rHost: two.test"),
    ("host with a bare LF and another", b" one.test\nHost: two.test"),
    ("host on a folded line", b"\r\n one.test"),
    ("host with a folded line behind", b" one.test\r\n two.test"),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::refused("no host", raw("GET / HTTP/1.1\r\nX: y\r\n\r\n")),
        Case::refused("no header at all", raw("GET / HTTP/1.1\r\n\r\n")),
        Case::refused("no host in 1.0", raw("GET / HTTP/1.0\r\nX: y\r\n\r\n")),
        Case::refused("two hosts", raw("GET / HTTP/1.1\r\nHost: one.test\r\nHost: two.test\r\n\r\n")),
        Case::refused("one host twice", raw("GET / HTTP/1.1\r\nHost: one.test\r\nHost: one.test\r\n\r\n")),
        Case::refused(
            "two hosts in two cases",
            raw("GET / HTTP/1.1\r\nhost: one.test\r\nHOST: two.test\r\n\r\n"),
        ),
        Case::refused("an empty and a good host", raw("GET / HTTP/1.1\r\nHost:\r\nHost: one.test\r\n\r\n")),
        Case::refused("two hosts, far apart", far_apart()),
        Case::served("host in capitals", raw("GET / HTTP/1.1\r\nHOST: ONE.Test\r\n\r\n"), &["GET /"]),
        Case::served("host without a space", with_host("one.test"), &["GET /"]),
        Case::served("host in white space", with_host(" \t one.test\t "), &["GET /"]),
        Case::served("host with a port", with_host(" one.test:8080"), &["GET /"]),
        Case::served("host with a final dot", with_host(" one.test."), &["GET /"]),
        Case::served(
            "host behind other headers",
            raw("GET / HTTP/1.1\r\nX: y\r\nHost: one.test\r\n\r\n"),
            &["GET /"],
        ),
        Case::refused_by(404, "host of nobody", with_host(" two.test")).or_served(&[]).never(&["two.test"]),
    ];
    // The connection goes on behind an answer that is only about the app that is not there.
    if let Some(last) = cases.last_mut() {
        last.right[1].statuses.insert(0, 404);
    }
    for value in ODD {
        cases.push(Case::refused(format!("host{value}"), with_host(value)));
    }
    for (name, value) in ODD_BYTES {
        cases.push(Case::refused(*name, with_host(value)));
    }
    cases.push(Case::refused("a host of 300 bytes", with_host(format!(" {}.test", "o".repeat(300)))));
    cases
}

fn far_apart() -> Vec<u8> {
    let many: String = (0..60).map(|number| format!("X-{number}: y\r\n")).collect();
    format!("GET / HTTP/1.1\r\nHost: one.test\r\n{many}Host: two.test\r\n\r\n").into()
}
