//! Whatever bytes come: the two readers neither panic nor say too much.

use proptest::prelude::*;

use super::*;

/// Text that is close enough to the real thing to get past the first checks.
fn near_toml() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "[app]\n",
        "[config]\n",
        "[services.db]\n",
        "[formation]\n",
        "[stages.dev]\n",
        "[[x]]\n",
        "[factors]\n",
        "name",
        "kind",
        "web",
        "A",
        "IV",
        "timeout",
        "path",
        " = ",
        "=",
        "\"",
        "'",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "1",
        "-1",
        "1.5",
        "true",
        "'30s'",
        "'sqlite'",
        "\n",
        ".",
        "\u{1b}",
        "\u{202e}",
        "é",
        "\"\\u0000\"",
        "'''",
        "2026-01-01",
        "'x'",
        "\r\n",
        "# c\n",
    ]);
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

#[track_caller]
fn is_harmless(said: &str) -> Result<(), TestCaseError> {
    prop_assert!(said.len() < 800 && !said.chars().any(char::is_control), "{said:?}");
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic_or_say_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200), text in near_toml()) {
        for bytes in [bytes, text.into_bytes()] {
            if let Err(error) = read_toml(&bytes) {
                is_harmless(&format!("{error} {}", error.hint().unwrap_or_default()))?;
            }
            match read_app_json(&bytes) {
                Err(error) => is_harmless(&error.to_string())?,
                Ok((_, warnings)) => warnings.iter().try_for_each(|warning| is_harmless(warning))?,
            }
        }
    }

    #[test]
    fn a_hostile_name_is_never_quoted_whole(name in "([a-z]|\\x1b|\\n|\\u{202e}|é){1,300}") {
        let key = serde_json::to_string(&name).unwrap();
        for text in [format!("{key} = 1"), format!("[config]\n{key} = 'x'"), format!("[stages.{key}]"), format!("[app]\nname = {key}"),
            format!("[services.db]\nkind = {key}"), format!("[formation]\n{key} = 1.5"), format!("[app.{key}]")] {
            if let Err(error) = read_toml(text.as_bytes()) {
                is_harmless(&format!("{error} {}", error.hint().unwrap_or_default()))?;
            }
        }
        let object = format!("{{{key}: {{}}, \"env\": {{{key}: []}}, \"scripts\": {{{key}: 1}}, \"addons\": [{key}], \"environments\": {{{key}: 1}}, \"formation\": {{{key}: 1}}}}");
        for warning in read_app_json(object.as_bytes()).unwrap().1 {
            is_harmless(&warning)?;
        }
    }
}
