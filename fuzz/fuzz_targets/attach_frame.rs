//! A frame of an attached one-off process: what can be read comes back as it was written.

#![no_main]

use dozen_sandbox::protocol::{Frame, MAX_FRAME_BYTES};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(Some((frame, length))) = Frame::decode(bytes) else { return };
    assert!(length <= bytes.len() && length <= MAX_FRAME_BYTES + 5);
    let mut written = Vec::new();
    frame.encode_into(&mut written);
    // No data is no frame: there is nothing to send.
    let is_empty =
        matches!(&frame, Frame::Input(d) | Frame::Output(d) | Frame::ErrorOutput(d) if d.is_empty());
    if !is_empty {
        let again = Frame::decode(&written).expect("what was written can be read");
        assert_eq!(again, Some((frame, written.len())));
    }
});
