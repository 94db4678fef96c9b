//! RFC 7541: compressed heads.

use super::case::{COMPRESSION, Case, Right, WHOLE, ask, frame, get};
use crate::frames::kind;

pub(super) fn cases() -> Vec<Case> {
    let (before, mut cases) = (get().encoded(), Vec::new());
    let block = |bytes: &[u8]| frame(kind::HEADERS, WHOLE, 1, &[&before, bytes].concat());
    for (name, bytes) in [
        ("2.3.3 index 0", &[0x80][..]),
        ("2.3.3 an index past both tables", &[0xbe]),
        ("2.3.3 a far index", &[0xff, 0xff, 0xff, 0x7f]),
        ("2.3.3 a name past both tables", &[0x7e, 1, b'x']),
        ("4.2 a size past the setting", &[0x3f, 0xe2, 0x1f]),
        ("4.2 a size behind fields", &[0x20]),
        ("5.1 an integer without an end", &[0xff]),
        ("5.1 an integer of 2^64", &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ("5.2 a string longer than the head", &[0, 9, b'x']),
        ("5.2 a string of 2^32", &[0, 0x7f, 0x81, 0xff, 0xff, 0xff, 0x0f, b'x']),
        ("5.2 a string without a length", &[0]),
        // `x` is 1111001; the padding must be ones, fewer than eight.
        ("5.2 padding of zeros", &[0, 0x81, 0b1111_0010, 1, b'y']),
        ("5.2 padding of a byte", &[0, 0x82, 0b1111_0011, 0xff, 1, b'y']),
        ("5.2 the end of strings within one", &[0, 0x84, 0xff, 0xff, 0xff, 0xff, 1, b'y']),
    ] {
        cases.push(Case::new(format!("RFC 7541, {name}"), Right::Ends(&[COMPRESSION]), &[block(bytes)]));
    }
    // A size at the beginning, a field that is kept, one that must never be, and one in Huffman's code.
    let kept = [&[0x20, 0x3f, 0xe1, 0x1f][..], &before, &[0x40, 1, b'x', 1, b'y']].concat();
    let used = [&before[..], &[0xbe, 0x10, 1, b'z', 1, b'z', 0, 0x81, 0b1111_0011, 1, b'y']].concat();
    cases.push(
        Case::new(
            "RFC 7541, 6: every form of a field",
            Right::Served(&[1, 3]),
            &[frame(kind::HEADERS, WHOLE, 1, &kept), frame(kind::HEADERS, WHOLE, 3, &used)],
        )
        .seen(&["GET /", "GET /"]),
    );
    // The table of the whole connection must follow a head that was refused.
    let malformed = [&before[..], &[0x40, 1, b'X', 1, b'y', 0x40, 1, b'x', 1, b'y']].concat();
    cases.push(
        Case::new(
            "RFC 7541, 2.3.2: a table behind a malformed head",
            Right::Served(&[3]),
            &[
                frame(kind::HEADERS, WHOLE, 1, &malformed),
                frame(kind::HEADERS, WHOLE, 3, &[&before[..], &[0xbe]].concat()),
            ],
        )
        .may_see(&["GET /"])
        .or(Right::Ends(&[COMPRESSION, super::case::PROTOCOL])),
    );
    cases.push(
        Case::new(
            "RFC 7541, 4.3: no table",
            Right::Served(&[3]),
            &[
                frame(kind::HEADERS, WHOLE, 1, &[&[0x20][..], &before, &[0x40, 1, b'x', 1, b'y']].concat()),
                ask(3),
            ],
        )
        .seen(&["GET /", "GET /"]),
    );
    cases
}
