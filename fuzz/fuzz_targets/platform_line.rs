//! A line of the platform stream: what can be parsed comes back as it was written.

#![no_main]

use dozen_model::segment::{MAX_STREAM_TEXT_BYTES, StreamLine};

libfuzzer_sys::fuzz_target!(|line: &str| {
    let Some(parsed) = StreamLine::parse(line) else { return };
    let mut written = String::new();
    parsed.encode_into(&mut written);
    assert_eq!(written.matches('\n').count(), 1);
    let again = StreamLine::parse(&written).expect("what was written can be read");
    if parsed.text.len() <= MAX_STREAM_TEXT_BYTES {
        assert_eq!(again.text, parsed.text);
    }
});
