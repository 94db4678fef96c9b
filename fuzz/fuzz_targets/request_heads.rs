//! The requests of a connection: however the bytes are cut, they are understood alike.

#![no_main]

use dozen_router::fuzzing::scan_heads;

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let (length, bytes) = input;
    let at_once = scan_heads([bytes]);
    let in_pieces = scan_heads(bytes.chunks(usize::from(length).max(1)));
    assert_eq!(at_once, in_pieces);
});
