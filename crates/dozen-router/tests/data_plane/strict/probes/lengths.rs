//! Content-Length and Transfer-Encoding: one of them, once, and by the letter.

use crate::strict::case::{Case, chunked, get, with};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.append(&mut both());
    cases.append(&mut lengths());
    cases.append(&mut codings());
    cases
}

/// The body of a probe of both: empty by its coding, and six bytes by its length.
const SIX: &str = "0\r\n\r\nX";

fn both() -> Vec<Case> {
    let one = |name: &str, headers: &str| Case::refused(name, with(headers, SIX));
    vec![
        one("length and coding", "Content-Length: 6\r\nTransfer-Encoding: chunked"),
        one("coding and length", "Transfer-Encoding: chunked\r\nContent-Length: 6"),
        one("coding and length 0", "Transfer-Encoding: chunked\r\nContent-Length: 0"),
        one("length and identity", "Content-Length: 6\r\nTransfer-Encoding: identity"),
        one("length and an empty coding", "Content-Length: 6\r\nTransfer-Encoding:"),
        one(
            "length and a coding far apart",
            "Content-Length: 6\r\nA: b\r\nC: d\r\nE: f\r\ntransfer-encoding: chunked",
        ),
        one("length and a coding with a space", "Content-Length: 6\r\nTransfer-Encoding : chunked"),
        one("length and a coding behind a bare LF", "Content-Length: 6\r\nX: y\nTransfer-Encoding: chunked"),
        one("length and a coding behind a bare CR", "Content-Length: 6\r\nX: y\rTransfer-Encoding: chunked"),
        one("length and a folded coding", "Content-Length: 6\r\nTransfer-Encoding:\r\n chunked"),
        one(
            "length, length and coding",
            "Content-Length: 6\r\nContent-Length: 6\r\nTransfer-Encoding: chunked",
        ),
        // An app server that reads `_` as `-` would see a second framing.
        Case::served(
            "length and a lookalike",
            with("Content-Length: 2\r\nContent_Length: 9", "ab"),
            &["POST / length ab"],
        )
        .never(&["content_length"]),
        Case::served(
            "length and a lookalike coding",
            with("Content-Length: 2\r\nTransfer_Encoding: chunked", "ab"),
            &["POST / length ab"],
        )
        .never(&["transfer_encoding"]),
        Case::served("a lookalike of a length", get("Content_Length: 9"), &["GET /"])
            .never(&["content_length"]),
    ]
}

const ODD_LENGTHS: &[&str] = &[
    "",
    " ",
    " +2",
    " -2",
    " -0",
    " +0",
    " 2 2",
    " 2,2",
    " 2, 2",
    " 2,",
    " ,2",
    " 2;",
    " 2.0",
    " 0x2",
    " 2x",
    " x",
    " 1e1",
    " 2_0",
    " \"2\"",
    " 2\t2",
    " \x0b2",
    " 2\x0b",
    " 2\x0c",
    " 2\0",
    " \u{ff12}",
    " 2\u{a0}",
    " NaN",
    " 18446744073709551616",
    " 18446744073709551618",
    " 99999999999999999999",
    " 9223372036854775808",
    " 00000000000000000000000000000000000000000000000000000000000000000002x",
];

fn lengths() -> Vec<Case> {
    let length = |value: &str| with(format!("Content-Length:{value}"), "ab");
    let mut cases = vec![
        Case::refused("two lengths", with("Content-Length: 1\r\nContent-Length: 2", "ab")),
        Case::refused("two lengths, the longer first", with("Content-Length: 2\r\nContent-Length: 1", "ab")),
        Case::refused("one length twice", with("Content-Length: 2\r\nContent-Length: 2", "ab")),
        Case::refused("a length and an empty one", with("Content-Length: 2\r\nContent-Length:", "ab")),
        Case::refused("length 0 and a length", with("Content-Length: 0\r\nContent-Length: 2", "ab")),
        Case::refused("two lengths in two cases", with("content-length: 2\r\nCONTENT-LENGTH: 0", "ab")),
        Case::refused(
            "two lengths on a GET",
            [get("Content-Length: 0\r\nContent-Length: 2"), b"ab".to_vec()].concat(),
        ),
        Case::refused("space before the length's colon", with("Content-Length : 2", "ab")),
        Case::refused("tab before the length's colon", with("Content-Length\t: 2", "ab")),
        Case::refused("a vertical tab in the length's name", with("Content-Length\x0b: 2", "ab")),
        Case::refused("a length behind NUL", with("\0Content-Length: 2", "ab")),
        Case::refused("a length behind a space", with(" Content-Length: 2", "ab")),
        Case::refused("a folded length", with("Content-Length:\r\n 2", "ab")),
        Case::refused("a length that goes on", with("Content-Length: 2\r\n 0", "ab")),
        Case::refused("a length in two values", with("Content-Length: 2\r\n , 0", "ab")),
        Case::served("a length without a space", length("2"), &["POST / length ab"]),
        Case::served("a length in white space", length(" \t2\t "), &["POST / length ab"]),
        Case::served("a length with zeros", length(" 0002"), &["POST / length ab"]).or_refused_by(400),
        Case::served("length 0", with("Content-Length: 0", ""), &["POST / length "]),
        Case::served("no length", with("X: y", ""), &["POST /"]).or_served(&["POST / length "]),
        Case::served(
            "a GET with a length",
            [get("Content-Length: 2"), b"ab".to_vec()].concat(),
            &["GET / length ab"],
        ),
        Case::served("a body that is a request", hidden(), &[HIDDEN]),
    ];
    for value in ODD_LENGTHS {
        cases.push(Case::refused(format!("length{}", value.escape_debug()), length(value)));
    }
    cases
}

const HIDDEN: &str = "POST / length GET /hidden HTTP/1.1\r\nHost: one.test\r\n\r\n";

fn hidden() -> Vec<u8> {
    let body = "GET /hidden HTTP/1.1\r\nHost: one.test\r\n\r\n";
    with(format!("Content-Length: {}", body.len()), body)
}

const ODD_CODINGS: &[&[u8]] = &[
    b"",
    b" ",
    b" xchunked",
    b" chunkedx",
    b" chunked, chunked",
    b" gzip, chunked",
    b" chunked, gzip",
    b" chunked, identity",
    b" identity, chunked",
    b" identity",
    b" gzip",
    b" deflate",
    b" trailers",
    b" cow",
    b" ,chunked",
    b" chunked,",
    b" , chunked",
    b" chunked;q=1",
    b" chunked;",
    b" \"chunked\"",
    b" 'chunked'",
    b" chunked chunked",
    b" chun ked",
    b" chunke",
    b" \x0bchunked",
    b" chunked\x0b",
    b" \x0cchunked",
    b" chunked\0",
    b" \0chunked",
    b" chunked\x7f",
    b" chunked\xa0",
    b" \xffchunked",
    b" chunk\xc5\xb9ed",
    b" (x)chunked",
    b": chunked",
    b"\rchunked",
    b" chunked\r",
];

fn codings() -> Vec<Case> {
    const BODY: &str = "2\r\nab\r\n0\r\n\r\n";
    const SEEN: &[&str] = &["POST / chunked ab"];
    let coding = |value: &[u8]| with([b"Transfer-Encoding:", value].concat(), BODY);
    let mut cases = vec![
        Case::served("chunked", chunked(BODY), SEEN),
        Case::served("chunked in capitals", coding(b" CHUNKED"), SEEN),
        Case::served("chunked without a space", coding(b"chunked"), SEEN),
        Case::served("chunked in white space", coding(b" \tchunked \t"), SEEN),
        Case::served(
            "a GET in chunks",
            [get("Transfer-Encoding: chunked"), BODY.into()].concat(),
            &["GET / chunked ab"],
        ),
        Case::refused(
            "chunked twice",
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", BODY),
        ),
        Case::refused(
            "chunked and identity",
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", BODY),
        ),
        Case::refused(
            "identity and chunked",
            with("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", BODY),
        ),
        Case::refused(
            "gzip and chunked",
            with("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", BODY),
        ),
        Case::refused("chunked and nothing", with("Transfer-Encoding: chunked\r\nTransfer-Encoding:", BODY)),
        Case::refused(
            "chunked in two cases",
            with("transfer-encoding: chunked\r\nTRANSFER-ENCODING: x", BODY),
        ),
        Case::refused("space before the coding's colon", with("Transfer-Encoding : chunked", BODY)),
        Case::refused("tab before the coding's colon", with("Transfer-Encoding\t: chunked", BODY)),
        Case::refused("a bare LF before the coding's colon", with("Transfer-Encoding\n: chunked", BODY)),
        Case::refused("a bare CR before the coding's colon", with("Transfer-Encoding\r: chunked", BODY)),
        Case::refused("a coding behind a space", with(" Transfer-Encoding: chunked", BODY)),
        Case::refused("a coding behind a bare LF", with("X: y\nTransfer-Encoding: chunked", BODY)),
        Case::refused("a coding behind a bare CR", with("X: y\rTransfer-Encoding: chunked", BODY)),
        Case::refused("a folded coding", with("Transfer-Encoding:\r\n chunked", BODY)),
        Case::refused("a coding that goes on", with("Transfer-Encoding: chunked\r\n , identity", BODY)),
        Case::refused(
            "chunked in 1.0",
            [
                &b"POST / HTTP/1.0\r\nHost: one.test\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
                BODY.as_bytes(),
            ]
            .concat(),
        ),
        Case::served("a lookalike coding", get("Transfer_Encoding: chunked"), &["GET /"])
            .never(&["transfer_encoding"]),
    ];
    for value in ODD_CODINGS {
        cases.push(Case::refused(format!("coding{}", value.escape_ascii()), coding(value)));
    }
    cases
}
