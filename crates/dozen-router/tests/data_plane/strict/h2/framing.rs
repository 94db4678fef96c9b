//! RFC 9113, 3 to 5 and 7: the preface, frames as such, states of streams.

use super::case::{
    CLOSED, COMPRESSION, Case, END_HEADERS, END_STREAM, PROTOCOL, Right, SIZE, WHOLE, ask, begin, data,
    frame, get, setting,
};
use crate::frames::kind;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const UNKNOWN: u8 = 0x16;
const ONE: &[u32] = &[1];

pub(super) fn cases() -> Vec<Case> {
    [prefaces(), frames(), sizes(), heads(), rests(), idle(), half_closed(), closed(), numbers()].concat()
}

fn prefaces() -> Vec<Case> {
    let ping = frame(kind::PING, 0, 0, &[7; 8]);
    vec![
        Case::new("3.4 another preface", Right::Ends(&[PROTOCOL]), &[])
            .starting(b"INVALID PREFACE\r\n\r\nSM\r\n\r\n"),
        Case::new("3.4 HTTP/1.1 after h2 was agreed on", Right::Ends(&[PROTOCOL]), &[])
            .starting(b"GET / HTTP/1.1\r\nHost: one.test\r\n\r\n"),
        Case::new("3.4 half a preface and a frame", Right::Ends(&[PROTOCOL]), &[ask(1)])
            .starting(&PREFACE[..12]),
        Case::new("3.4 a preface without settings", Right::Any, &[]).starting(&[PREFACE, &ping].concat()),
        Case::new("3.4 two prefaces", Right::Ends(&[PROTOCOL, SIZE]), &[PREFACE.to_vec()]),
        Case::new("3.4 settings with a request at once", Right::Served(ONE), &[ask(1)]).seen(&["GET /"]),
    ]
}

fn frames() -> Vec<Case> {
    let served = |name: &str, parts: &[Vec<u8>]| Case::new(name, Right::Served(ONE), parts);
    vec![
        served("4.1 an unknown frame", &[frame(UNKNOWN, 0xff, 0, &[0; 8]), ask(1)]).seen(&["GET /"]),
        served("4.1 an unknown frame of a stream", &[ask(1), frame(UNKNOWN, 0, 1, &[0; 8])]).seen(&["GET /"]),
        served("4.1 undefined flags", &[frame(kind::HEADERS, WHOLE | 0xd2, 1, &get().encoded())])
            .seen(&["GET /"]),
        served("4.1 the reserved bit", &[frame(kind::HEADERS, WHOLE, 1 << 31 | 1, &get().encoded())])
            .seen(&["GET /"]),
        Case::new(
            "7 an unknown code in a reset",
            Right::Served(&[3]),
            &[begin(1), frame(kind::RESET, 0, 1, &[0xff; 4]), ask(3)],
        )
        .seen(&["GET /"]),
        Case::new(
            "7 an unknown code in a farewell",
            Right::Any,
            &[ask(1), frame(kind::GO_AWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xff])],
        )
        .seen(&["GET /"]),
    ]
}

fn sizes() -> Vec<Case> {
    let large = vec![b'x'; 16_385];
    let ends = |name: &str, parts: &[Vec<u8>]| Case::new(name, Right::Ends(&[SIZE]), parts);
    vec![
        Case::new("4.2 data of 2^14", Right::Served(ONE), &[begin(1), data(END_STREAM, 1, &large[..16_384])])
            .seen(&["POST / chunked 16384"]),
        Case::new("4.2 data of 2^14 + 1", Right::Reset(1, &[SIZE]), &[begin(1), data(END_STREAM, 1, &large)]),
        ends("4.2 a head of 2^14 + 1", &[frame(kind::HEADERS, WHOLE, 1, &large)]),
        ends("4.2 an unknown frame of 2^14 + 1", &[frame(UNKNOWN, 0, 0, &large)]),
        ends("4.2 settings of 2^14 + 2", &[frame(kind::SETTINGS, 0, 0, &vec![0; 16_386])]),
        ends("4.2 a frame of 2^24 - 1", &[vec![0xff, 0xff, 0xff, kind::DATA, 0, 0, 0, 0, 1]]),
    ]
}

fn heads() -> Vec<Case> {
    let block = get().encoded();
    let (first, rest) = block.split_at(10);
    let begun = frame(kind::HEADERS, END_STREAM, 1, first);
    let go_on = frame(kind::CONTINUATION, END_HEADERS, 1, rest);
    let between = |name: &str, frame: Vec<u8>| {
        Case::new(
            format!("4.3 {name} in the midst of a head"),
            Right::Ends(&[PROTOCOL]),
            &[begun.clone(), frame, go_on.clone()],
        )
    };
    vec![
        Case::new("4.3 a head in two frames", Right::Served(ONE), &[begun.clone(), go_on.clone()])
            .seen(&["GET /"]),
        Case::new(
            "4.3 a broken head",
            Right::Ends(&[COMPRESSION]),
            &[frame(kind::HEADERS, WHOLE, 1, &[0xff; 3])],
        ),
        between("data", data(0, 1, b"x")),
        between("another head", ask(3)),
        between("a priority", frame(kind::PRIORITY, 0, 3, &[0, 0, 0, 0, 1])),
        between("a reset", frame(kind::RESET, 0, 1, &[0; 4])),
        between("settings", frame(kind::SETTINGS, 0, 0, &[])),
        between("a ping", frame(kind::PING, 0, 0, &[0; 8])),
        between("a window", frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        between("an unknown frame", frame(UNKNOWN, 0, 0, &[0; 8])),
        between("another stream's rest", frame(kind::CONTINUATION, END_HEADERS, 3, rest)),
    ]
}

/// What goes on with a head.
fn rests() -> Vec<Case> {
    let block = get().encoded();
    let (first, rest) = block.split_at(10);
    let begun = frame(kind::HEADERS, END_STREAM, 1, first);
    let go_on = frame(kind::CONTINUATION, END_HEADERS, 1, rest);
    vec![
        Case::new(
            "6.10 rest of stream 0",
            Right::Ends(&[PROTOCOL]),
            &[begun.clone(), frame(kind::CONTINUATION, END_HEADERS, 0, rest)],
        ),
        Case::new(
            "6.10 rest of a head that is whole",
            Right::Ends(&[PROTOCOL, CLOSED]),
            &[ask(1), go_on.clone()],
        )
        .may_see(&["GET /"]),
        Case::new(
            "6.10 rest of a head behind its end",
            Right::Ends(&[PROTOCOL, CLOSED]),
            &[begun.clone(), go_on.clone(), go_on.clone()],
        )
        .may_see(&["GET /"]),
        Case::new(
            "6.10 rest of a head behind data",
            Right::Ends(&[PROTOCOL]),
            &[begin(1), data(0, 1, b"x"), go_on.clone()],
        ),
        Case::new(
            "6.10 a head in four frames",
            Right::Served(ONE),
            &[
                begun,
                frame(kind::CONTINUATION, 0, 1, &rest[..5]),
                frame(kind::CONTINUATION, 0, 1, &[]),
                frame(kind::CONTINUATION, END_HEADERS, 1, &rest[5..]),
            ],
        )
        .seen(&["GET /"]),
    ]
}

fn idle() -> Vec<Case> {
    let ends = |name: &str, frame: Vec<u8>| {
        Case::new(format!("5.1 idle: {name}"), Right::Ends(&[PROTOCOL]), &[frame])
    };
    vec![
        ends("data", data(END_STREAM, 1, b"x")),
        ends("a reset", frame(kind::RESET, 0, 1, &[0; 4])),
        ends("a window", frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ends("rest of a head", frame(kind::CONTINUATION, END_HEADERS, 1, &get().encoded())),
        Case::new(
            "5.1 idle: a priority",
            Right::Served(ONE),
            &[frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 1]), ask(1)],
        )
        .seen(&["GET /"]),
    ]
}

/// The request is whole; its answer may come before, after or in place of the error.
fn half_closed() -> Vec<Case> {
    let reset = |name: &str, frame: Vec<u8>| {
        Case::new(format!("5.1 half closed: {name}"), Right::Reset(1, &[CLOSED, PROTOCOL]), &[ask(1), frame])
            .may_see(&["GET /"])
    };
    let fine = |name: &str, frame: Vec<u8>| {
        Case::new(format!("5.1 half closed: {name}"), Right::Served(ONE), &[ask(1), frame]).seen(&["GET /"])
    };
    vec![
        reset("data", data(END_STREAM, 1, b"x")),
        reset("another head", ask(1)),
        reset("trailers", frame(kind::HEADERS, WHOLE, 1, &[])),
        fine("a window", frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        fine("a priority", frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        Case::new(
            "5.1 half closed: a reset",
            Right::Served(&[3]),
            &[ask(1), frame(kind::RESET, 0, 1, &[0, 0, 0, 8]), ask(3)],
        )
        .may_see(&["GET /", "GET /"]),
    ]
}

/// The client has reset the stream.
fn closed() -> Vec<Case> {
    let gone = || [begin(1), frame(kind::RESET, 0, 1, &[0, 0, 0, 8])].concat();
    let reset = |name: &str, frame: Vec<u8>| {
        Case::new(format!("5.1 closed: {name}"), Right::Reset(1, &[CLOSED]), &[gone(), frame])
    };
    let fine = |name: &str, frame: Vec<u8>| {
        Case::new(format!("5.1 closed: {name}"), Right::Served(&[3]), &[gone(), frame, ask(3)])
            .seen(&["GET /"])
    };
    vec![
        reset("data", data(END_STREAM, 1, b"x")),
        reset("a head", ask(1)),
        Case::new(
            "5.1 closed: rest of a head",
            Right::Ends(&[PROTOCOL, CLOSED]),
            &[gone(), frame(kind::CONTINUATION, END_HEADERS, 1, &[])],
        ),
        fine("a window", frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        fine("a priority", frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        fine("a reset", frame(kind::RESET, 0, 1, &[0, 0, 0, 8])),
    ]
}

fn numbers() -> Vec<Case> {
    let ends = |name: &str, parts: &[Vec<u8>]| Case::new(name, Right::Ends(&[PROTOCOL, CLOSED]), parts);
    vec![
        ends("5.1.1 stream 0", &[ask(0)]),
        ends("5.1.1 an even stream", &[ask(2)]),
        ends("5.1.1 a smaller stream", &[ask(5), ask(3)]).may_see(&["GET /"]),
        Case::new("5.1.1 streams that are skipped", Right::Served(&[1001]), &[ask(1001)]).seen(&["GET /"]),
        Case::new("5.1.1 the last stream", Right::Served(&[0x7fff_ffff]), &[ask(0x7fff_ffff)])
            .seen(&["GET /"]),
        Case::new(
            "5.3.1 a stream that depends on itself",
            Right::Any,
            &[frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 1, 1])],
        ),
        Case::new("6.5 no streams for us", Right::Served(ONE), &[setting(3, 0), ask(1)]).seen(&["GET /"]),
    ]
}
