//! A text of any bytes, printed or as JSON: no character that a terminal acts on comes through.

#![no_main]

use dozen_model::printable::{is_harmless, printable, printable_json};

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let text = String::from_utf8_lossy(text);
    let shown = printable(&text, false);
    assert!(shown.chars().all(is_harmless), "{shown:?}");
    let coloured = printable(&text, true);
    assert!(coloured.chars().all(|c| c == '\u{1b}' || is_harmless(c)), "{coloured:?}");
    let json = printable_json(serde_json::Value::from(text.as_ref()).to_string());
    assert!(json.chars().all(is_harmless), "{json:?}");
    let read = serde_json::from_str::<String>(&json).expect("it is still JSON");
    assert_eq!(read, text);
});
