//! `app.json` from a hostile repository.

#![no_main]

use dozen_model::manifest::read_app_json;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = read_app_json(bytes);
});
