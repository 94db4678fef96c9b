//! A `Procfile` from a hostile repository.

#![no_main]

use dozen_model::procfile::Procfile;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Procfile::parse(bytes);
});
