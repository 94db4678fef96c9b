//! RFC 9113, 6: each type of frame.

use super::case::{
    CLOSED, Case, END_HEADERS, END_STREAM, FLOW, PADDED, PRIORITY, PROTOCOL, Right, SIZE, WHOLE, ask, begin,
    data, frame, get, setting,
};
use crate::frames::kind;

const ONE: &[u32] = &[1];
const ACK: u8 = 1;

pub(super) fn cases() -> Vec<Case> {
    [bodies(), heads(), priorities(), resets(), settings(), pings(), farewells(), windows()].concat()
}

fn ends(name: &str, codes: &'static [u32], parts: &[Vec<u8>]) -> Case {
    Case::new(name, Right::Ends(codes), parts)
}

fn served(name: &str, seen: &[&'static str], parts: &[Vec<u8>]) -> Case {
    Case::new(name, Right::Served(ONE), parts).seen(seen)
}

fn bodies() -> Vec<Case> {
    let padded = |padding: u8, rest: &[u8]| data(END_STREAM | PADDED, 1, &[&[padding], rest].concat());
    vec![
        ends("6.1 data of stream 0", &[PROTOCOL], &[data(0, 0, b"x")]),
        served("6.1 data with padding", &["POST / chunked hi"], &[begin(1), padded(3, b"hi\0\0\0")]),
        served("6.1 data of padding alone", &["POST / chunked "], &[begin(1), padded(3, b"\0\0\0")]),
        served(
            "6.1 empty data",
            &["POST / chunked "],
            &[begin(1), data(0, 1, b""), data(END_STREAM, 1, b"")],
        ),
        ends("6.1 more padding than data", &[PROTOCOL], &[begin(1), padded(6, b"hi\0\0\0")]),
        ends("6.1 as much padding as data", &[PROTOCOL], &[begin(1), padded(6, b"hi\0\0\0")]),
        ends(
            "6.1 padding without a length",
            &[PROTOCOL, SIZE],
            &[begin(1), data(PADDED | END_STREAM, 1, b"")],
        ),
    ]
}

fn heads() -> Vec<Case> {
    let block = get().encoded();
    let head = |flags: u8, before: &[u8], after: &[u8]| {
        frame(kind::HEADERS, WHOLE | flags, 1, &[before, &block, after].concat())
    };
    let weight = [0, 0, 0, 0, 15];
    vec![
        served("6.2 padding", &["GET /"], &[head(PADDED, &[2], &[0, 0])]),
        served("6.2 a priority", &["GET /"], &[head(PRIORITY, &weight, &[])]),
        served(
            "6.2 padding and a priority",
            &["GET /"],
            &[head(PADDED | PRIORITY, &[1, 0, 0, 0, 0, 9], &[0])],
        ),
        ends("6.2 more padding than head", &[PROTOCOL], &[head(PADDED, &[255], &[])]),
        ends(
            "6.2 padding without a length",
            &[PROTOCOL, SIZE],
            &[frame(kind::HEADERS, WHOLE | PADDED, 1, &[])],
        ),
        ends(
            "6.2 a priority that is cut",
            &[PROTOCOL, SIZE],
            &[frame(kind::HEADERS, WHOLE | PRIORITY, 1, &[0; 4])],
        ),
        Case::new("6.2 a head that depends on itself", Right::Any, &[head(PRIORITY, &[0, 0, 0, 1, 9], &[])])
            .may_see(&["GET /"]),
        Case::new(
            "6.6 a promise of a client",
            Right::Ends(&[PROTOCOL]),
            &[begin(1), frame(5, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &block].concat())],
        ),
    ]
}

fn priorities() -> Vec<Case> {
    vec![
        ends("6.3 a priority of stream 0", &[PROTOCOL], &[frame(kind::PRIORITY, 0, 0, &[0, 0, 0, 0, 1])]),
        Case::new(
            "6.3 a priority of four bytes",
            Right::Reset(1, &[SIZE]),
            &[begin(1), frame(kind::PRIORITY, 0, 1, &[0; 4])],
        ),
    ]
}

fn resets() -> Vec<Case> {
    vec![
        ends("6.4 a reset of stream 0", &[PROTOCOL], &[frame(kind::RESET, 0, 0, &[0; 4])]),
        ends("6.4 a reset of three bytes", &[SIZE], &[begin(1), frame(kind::RESET, 0, 1, &[0; 3])]),
        ends("6.4 a reset of five bytes", &[SIZE], &[begin(1), frame(kind::RESET, 0, 1, &[0; 5])]),
    ]
}

fn settings() -> Vec<Case> {
    let settings = |flags: u8, id: u32, bytes: &[u8]| frame(kind::SETTINGS, flags, id, bytes);
    vec![
        served("6.5 no settings", &["GET /"], &[settings(0, 0, &[]), ask(1)]),
        served("6.5 an unknown setting", &["GET /"], &[setting(0xff, 7), ask(1)]),
        served(
            "6.5 a setting twice",
            &["GET /"],
            &[settings(0, 0, &[0, 4, 0, 0, 0, 0, 0, 4, 0, 0, 1, 0]), ask(1)],
        ),
        ends("6.5 an acknowledgement of something", &[SIZE], &[settings(ACK, 0, &[0; 6])]),
        ends("6.5 settings of a stream", &[PROTOCOL], &[settings(0, 1, &[0, 3, 0, 0, 0, 1])]),
        ends("6.5 settings of three bytes", &[SIZE], &[settings(0, 0, &[0, 3, 0])]),
        ends("6.5.2 push as 2", &[PROTOCOL], &[setting(2, 2)]),
        ends("6.5.2 a window of 2^31", &[FLOW], &[setting(4, 1 << 31)]),
        ends("6.5.2 frames of 2^14 - 1", &[PROTOCOL], &[setting(5, 16_383)]),
        ends("6.5.2 frames of 2^24", &[PROTOCOL], &[setting(5, 1 << 24)]),
        served("6.5.2 frames of 2^24 - 1", &["GET /"], &[setting(5, (1 << 24) - 1), ask(1)]),
        served("6.5.2 a window of 2^31 - 1", &["GET /"], &[setting(4, (1 << 31) - 1), ask(1)]),
        served("6.5.2 heads of no byte", &["GET /"], &[setting(6, 0), ask(1)]),
        Case::new(
            "6.5.3 an acknowledgement of nothing",
            Right::Any,
            &[settings(ACK, 0, &[]), settings(ACK, 0, &[])],
        ),
        Case::new("RFC 8441: connect as 2", Right::Any, &[setting(8, 2)]),
    ]
}

fn pings() -> Vec<Case> {
    vec![
        ends("6.7 a ping of a stream", &[PROTOCOL], &[frame(kind::PING, 0, 1, &[0; 8])]),
        ends("6.7 a ping of seven bytes", &[SIZE], &[frame(kind::PING, 0, 0, &[0; 7])]),
        ends("6.7 a ping of nine bytes", &[SIZE], &[frame(kind::PING, 0, 0, &[0; 9])]),
        served("6.7 an answer to no ping", &["GET /"], &[frame(kind::PING, ACK, 0, &[9; 8]), ask(1)]),
        served("6.7 a ping with undefined flags", &["GET /"], &[frame(kind::PING, 0xfe, 0, &[9; 8]), ask(1)]),
    ]
}

fn farewells() -> Vec<Case> {
    let farewell = |id: u32, bytes: &[u8]| frame(kind::GO_AWAY, 0, id, bytes);
    vec![
        ends("6.8 a farewell of a stream", &[PROTOCOL], &[farewell(1, &[0; 8])]),
        ends("6.8 a farewell of seven bytes", &[SIZE], &[farewell(0, &[0; 7])]),
        // It is answered; after that the connection may end.
        Case::new("6.8 a farewell behind a request", Right::Any, &[ask(1), farewell(0, &[0; 8])])
            .seen(&["GET /"]),
        Case::new("6.8 a farewell with a text", Right::Any, &[ask(1), farewell(0, &[0; 300])])
            .seen(&["GET /"]),
    ]
}

fn windows() -> Vec<Case> {
    let window = |id: u32, more: u32| frame(kind::WINDOW_UPDATE, 0, id, &more.to_be_bytes());
    let most = (1 << 31) - 1;
    vec![
        ends("6.9 no more for all", &[PROTOCOL], &[window(0, 0)]),
        Case::new("6.9 no more for a stream", Right::Reset(1, &[PROTOCOL]), &[begin(1), window(1, 0)]),
        ends("6.9 a window of three bytes", &[SIZE], &[frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3])]),
        ends("6.9 a window of five bytes", &[SIZE], &[frame(kind::WINDOW_UPDATE, 0, 0, &[0; 5])]),
        ends("6.9.1 more than 2^31 - 1 for all", &[FLOW], &[window(0, most)]),
        Case::new(
            "6.9.1 more than 2^31 - 1 for a stream",
            Right::Reset(1, &[FLOW]),
            &[begin(1), window(1, most)],
        ),
        served("6.9.1 the reserved bit", &["GET /"], &[window(0, 1 << 31 | 1), ask(1)]),
        // A window may be below nothing, and comes up again (6.9.2).
        served(
            "6.9.2 a window that shrinks and grows",
            &["GET /"],
            &[setting(4, 1), ask(1), setting(4, 0), window(1, 100)],
        ),
        Case::new(
            "6.9.2 a window that grows past 2^31 - 1",
            Right::Reset(1, &[FLOW]),
            &[begin(1), window(1, most - 65_535), setting(4, 65_536)],
        ),
        Case::new(
            "6.9 a window of a closed stream",
            Right::Served(&[3]),
            &[begin(1), frame(kind::RESET, 0, 1, &[0, 0, 0, 8]), window(1, 100), ask(3)],
        )
        .seen(&["GET /"]),
        Case::new(
            "6.4 two resets",
            Right::Served(&[3]),
            &[
                begin(1),
                frame(kind::RESET, 0, 1, &CLOSED.to_be_bytes()),
                frame(kind::RESET, 0, 1, &CLOSED.to_be_bytes()),
                ask(3),
            ],
        )
        .seen(&["GET /"]),
    ]
}
