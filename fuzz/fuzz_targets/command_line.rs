//! The command of a Procfile line, and its expansion with values of any bytes.

#![no_main]

use dozen_model::command_line::CommandTemplate;

libfuzzer_sys::fuzz_target!(|input: (&str, &[u8])| {
    let (line, value) = input;
    if let Ok(template) = CommandTemplate::parse(line) {
        let _ = template.expand(|_| Some(value.to_vec()));
        let _ = template.expand(|_| None);
    }
});
