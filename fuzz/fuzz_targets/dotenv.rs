//! A `.env` file.

#![no_main]

use dozen_model::dotenv::Dotenv;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Dotenv::parse(bytes);
});
