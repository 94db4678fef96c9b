//! One direction of a WebSocket: however the bytes are cut, frames end at the same places.

#![no_main]

use dozen_router::fuzzing::follow_frames;

libfuzzer_sys::fuzz_target!(|input: (u8, &[u8])| {
    let (length, bytes) = input;
    assert_eq!(follow_frames([bytes]), follow_frames(bytes.chunks(usize::from(length).max(1))));
});
