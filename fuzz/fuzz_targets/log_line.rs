//! A log line of any bytes: printed or as JSON, no control character reaches the terminal.

#![no_main]

use dozen_logs::{LogLine, format_line, json_line};

const LINE: &str = r#"{"time":"2026-11-22T10:00:00Z","source":"app","process":"web.1","text":"","stream":"web.1~a"}"#;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let line: LogLine = serde_json::from_str(LINE).expect("the line is well formed");
    let line = LogLine { text: text.to_vec(), ..line };
    let shown = format_line(&line, false);
    assert!(shown.chars().all(|c| c == '\t' || !c.is_control()), "{shown:?}");
    assert!(!json_line(&line).chars().any(char::is_control));
    let coloured = format_line(&line, true);
    assert!(coloured.chars().all(|c| matches!(c, '\t' | '\u{1b}') || !c.is_control()), "{coloured:?}");
});
