//! `dozen.toml` from a hostile repository.

#![no_main]

use dozen_model::manifest::read_toml;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = read_toml(bytes);
});
