//! The requests of a connection: however the bytes are cut, they are understood alike.

#![no_main]

use dozen_router::fuzzing::read_requests;

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let (length, bytes) = input;
    let at_once = read_requests([bytes]);
    let in_pieces = read_requests(bytes.chunks(usize::from(length).max(1)));
    assert_eq!(at_once, in_pieces);
});
