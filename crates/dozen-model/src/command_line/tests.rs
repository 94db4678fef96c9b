//! What the reader says is compared with `sh` itself.

use std::{collections::BTreeMap, ffi::OsStr, os::unix::ffi::OsStrExt as _};

use proptest::prelude::*;

use super::*;

type Env = BTreeMap<String, Vec<u8>>;

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

fn expand(line: &str, env: &Env) -> Result<Expanded, CommandLineError> {
    CommandTemplate::parse(line)?.expand(|name| env.get(name).cloned())
}

#[track_caller]
fn argv(line: &str, pairs: &[(&str, &str)]) -> Vec<String> {
    match expand(line, &env(pairs)).unwrap().command {
        Command::Exec { argv } => argv.into_iter().map(|arg| String::from_utf8(arg).unwrap()).collect(),
        Command::Shell { script } => panic!("a shell for {script}"),
    }
}

/// The arguments that `sh` would give: `printf` writes each with a NUL behind it.
fn argv_of_sh(line: &str, env: &Env) -> Vec<Vec<u8>> {
    let script = "set -f; eval \"set -- $LINE\"; [ $# = 0 ] || printf '%s\\0' \"$@\"";
    let mut env = env.clone();
    env.insert("LINE".to_owned(), line.as_bytes().to_vec());
    let mut fields: Vec<Vec<u8>> =
        stdout_of_sh(script, &env).split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    fields.pop();
    fields
}

fn stdout_of_sh(script: &str, env: &Env) -> Vec<u8> {
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", script])
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, OsStr::from_bytes(value))))
        .output()
        .unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn a_django_line_runs_without_a_shell() {
    let line = "gunicorn blango.wsgi --bind 127.0.0.1:$PORT --workers ${WEB_CONCURRENCY:-2} $GUNICORN_OPTS";
    let given = argv(line, &[("PORT", "5000"), ("GUNICORN_OPTS", "--threads 4  --preload")]);
    assert_eq!(
        given,
        [
            "gunicorn",
            "blango.wsgi",
            "--bind",
            "127.0.0.1:5000",
            "--workers",
            "2",
            "--threads",
            "4",
            "--preload"
        ]
    );
    let names = CommandTemplate::parse(line).unwrap();
    assert_eq!(
        names.variables().into_iter().collect::<Vec<_>>(),
        ["GUNICORN_OPTS", "PORT", "WEB_CONCURRENCY"]
    );
}

#[test]
fn a_value_is_data_and_never_syntax() {
    for value in ["$(id)", "`id`", "a;b", "*", "'", "\"", "$HOME", "a|b", "# no comment", "\\"] {
        assert_eq!(argv("echo \"$X\"", &[("X", value)]), ["echo", value]);
    }
    assert_eq!(argv("echo $X", &[("X", "$(id) *")]), ["echo", "$(id)", "*"]);
}

#[test]
fn shell_syntax_needs_a_shell_and_stays_as_it_was_written() {
    let lines = [
        "a | b",
        "a && b",
        "a || b",
        "a; b",
        "a & b",
        "a > f",
        "a < f",
        "a 2>&1",
        "a `b`",
        "a $(b)",
        "a \"$(b)\"",
        "a *.py",
        "a f?",
        "a [b]",
        "a ~/x",
        "~/bin/a",
        "A=~/x b",
        "a --x=~/y",
        "! a",
        "{ a",
        "(a)",
        "a\nb",
        "a # c\nb",
        "a ${X%y}",
        "a ${#X}",
        "a ${X:=y}",
        "a ${X:?}",
        "a ${X+y}",
        "a $1",
        "a $@",
        "a $$",
        "a $?",
        "a $'x'",
        "cd x",
        ". ./env",
        "if a",
        "while a",
        "eval x",
        "command a",
        "ulimit -n 5",
        "a \\\nb",
        "a \"`b`\"",
        "a \"${X:-'y'}\"",
        "exec cd x",
        "'exit' 1",
        "a ${X:-*}",
        "a ${X:-b|c}",
        "export A=1",
    ];
    for line in lines {
        let template = CommandTemplate::parse(line).unwrap();
        assert!(template.needs_shell(), "{line}");
        let expanded = template.expand(|_| Some(b"secret".to_vec())).unwrap();
        assert_eq!(expanded, Expanded { env: vec![], command: Command::Shell { script: line.to_owned() } });
    }
}

#[test]
fn what_only_looks_like_shell_syntax_needs_none() {
    for (line, given) in [
        ("a '|' \"&&\" \\;", vec!["a", "|", "&&", ";"]),
        ("a '*' \"?\" \\[", vec!["a", "*", "?", "["]),
        ("a b~c x!y {} a#b", vec!["a", "b~c", "x!y", "{}", "a#b"]),
        ("a $ $. 100% # comment | x", vec!["a", "$", "$.", "100%"]),
        ("a '$(b)' \"\\`c\\`\" \"a\\nb\"", vec!["a", "$(b)", "`c`", "a\\nb"]),
        ("a '' \"\"", vec!["a", "", ""]),
        ("a\tb  c", vec!["a", "b", "c"]),
        ("\n  a b\n", vec!["a", "b"]),
        (" a b\\ ", vec!["a", "b "]),
        ("a it\\'s a\\ b c\\", vec!["a", "it's", "a b", "c\\"]),
        ("a \"x\ny\"", vec!["a", "x\ny"]),
        ("test -e é", vec!["test", "-e", "é"]),
    ] {
        assert_eq!(argv(line, &[]), given, "{line}");
    }
}

#[test]
fn a_fallback_stands_in_for_what_is_unset_or_empty() {
    let pairs = [("EMPTY", ""), ("SET", "s t")];
    for (line, given) in [
        ("a ${EMPTY:-x}", vec!["a", "x"]),
        ("a ${EMPTY-x}", vec!["a"]),
        ("a ${NONE-x y}", vec!["a", "x", "y"]),
        ("a \"${NONE-x y}\"", vec!["a", "x y"]),
        ("a ${NONE:-'x y'z}", vec!["a", "x yz"]),
        ("a ${NONE:-${SET:-u}}", vec!["a", "s", "t"]),
        ("a \"${NONE:-$SET}\"", vec!["a", "s t"]),
        ("a ${SET:-x}", vec!["a", "s", "t"]),
        ("a ${NONE} $NONE x$NONE", vec!["a", "x"]),
        ("a ${NONE:-}", vec!["a"]),
        ("a ${NONE:-\\}}", vec!["a", "}"]),
    ] {
        assert_eq!(argv(line, &pairs), given, "{line}");
    }
}

#[test]
fn assignments_in_front_become_environment() {
    let expanded = expand("A=1 B=\"$A $C\" exec run $A", &env(&[("A", "0"), ("C", "x  y")])).unwrap();
    assert_eq!(expanded.env, [("A".to_owned(), b"1".to_vec()), ("B".to_owned(), b"1 x  y".to_vec())]);
    // As for `sh`, the words see what held before the assignments.
    assert_eq!(expanded.command, Command::Exec { argv: vec![b"run".to_vec(), b"0".to_vec()] });

    let expanded = expand("HOSTS=* OPTS=$C run A=1", &env(&[("C", "x  y")])).unwrap();
    assert_eq!(expanded.env, [("HOSTS".to_owned(), b"*".to_vec()), ("OPTS".to_owned(), b"x  y".to_vec())]);
    assert_eq!(expanded.command, Command::Exec { argv: vec![b"run".to_vec(), b"A=1".to_vec()] });
}

#[test]
fn assignments_mean_what_they_mean_to_sh() {
    for line in ["A=1 B=\"$A $C\" ", "A=$C$C B=${A:-z} ", "A=${N:-x y} B='q'\"$A\" ", "A= B=* "] {
        let env = env(&[("C", "x  y"), ("A", "old")]);
        let ours = expand(&format!("{line} run"), &env).unwrap().env;
        let script = format!("{line} exec /bin/sh -c 'printf \"%s\\0%s\" \"$A\" \"$B\"'");
        assert_eq!(stdout_of_sh(&script, &env), [&ours[0].1[..], &ours[1].1[..]].join(&0), "{line}");
    }
}

#[test]
fn a_leading_exec_is_dropped() {
    assert_eq!(argv("exec gunicorn app", &[]), ["gunicorn", "app"]);
    assert_eq!(argv("gunicorn exec", &[]), ["gunicorn", "exec"]);
}

#[test]
fn a_line_without_a_command_is_refused() {
    for line in ["", "  ", "# only a comment", "A=1", "exec", "$NONE", "${NONE:-}"] {
        assert_eq!(expand(line, &Env::new()), Err(CommandLineError::Empty), "{line:?}");
    }
    for (line, open) in
        [("a 'b", "'"), ("a \"b", "\""), ("a \"b\\", "\""), ("a ${X", "${"), ("a ${X:-y", "${")]
    {
        assert_eq!(CommandTemplate::parse(line), Err(CommandLineError::Unclosed { open }), "{line}");
    }
    assert_eq!(CommandTemplate::parse("a \0"), Err(CommandLineError::Nul));
}

#[test]
fn debug_output_shows_no_value() {
    let expanded = expand("A=$X run --password=$X", &env(&[("X", "topsecret")])).unwrap();
    let shown = format!("{expanded:?}");
    assert!(shown.contains("words: 2") && shown.contains('A') && !shown.contains("topsecret"), "{shown}");
}

#[test]
fn an_expansion_cannot_take_all_memory() {
    let big = env(&[("X", &"x".repeat(60_000))]);
    assert_eq!(expand(&"$X ".repeat(1000), &big), Err(CommandLineError::TooLong));
    assert_eq!(expand(&format!("A={} b", "$X".repeat(1000)), &big), Err(CommandLineError::TooLong));
    let deep = format!("a {}b{}", "${X:-".repeat(100_000), "}".repeat(100_000));
    assert!(CommandTemplate::parse(&deep).unwrap().needs_shell());
}

/// Lines of the simple subset, of pieces that meet each other in every order.
fn simple_line() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        " ",
        " ",
        "\t",
        "a",
        "b=",
        "é",
        "-x",
        "''",
        "\"\"",
        "'a b'",
        "\"a b\"",
        "\\ ",
        "\\\\",
        "\\$",
        "\\a",
        "$A",
        "$B",
        "${C}",
        "\"$A\"",
        "\"$B\"",
        "\"$C\"",
        "\"x$A\"",
        "${N:-d e}",
        "${E:-'d e'}",
        "${E-d}",
        "\"${N:-d e}\"",
        "${A:-x}",
        "${N:-$A}",
        "${N:-\"$A\"}",
        "\"${N-$C}\"",
        "${E:-${B:-x}}",
        "$",
        "#",
        "!",
        "%",
        "{",
        "}",
        "\"\\\"\\$\\x\"",
        "'\\'",
        "~",
        "${N:- }",
        "${N:- a }",
        "${N:-''}",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("run {}", pieces.concat()))
}

proptest! {
    #[test]
    fn a_simple_line_gives_the_arguments_that_sh_gives(
        line in simple_line(),
        a in "[a *\t\n\\\\'\"$]{0,6}",
        b in "[ b]{0,4}",
    ) {
        let env = env(&[("A", &a), ("B", &b), ("C", " c d "), ("E", "")]);
        match expand(&line, &env) {
            Ok(Expanded { command: Command::Exec { argv }, .. }) => prop_assert_eq!(argv, argv_of_sh(&line, &env)),
            Ok(_) => {}
            Err(error) => {
                // `${` may come about by two pieces; then `sh` refuses the line too.
                prop_assert!(matches!(error, CommandLineError::Unclosed { .. }), "{}", error);
                let check = std::process::Command::new("/bin/sh").args(["-n", "-c", &line]).output().unwrap();
                prop_assert!(!check.status.success());
            }
        }
    }
}

proptest! {
    #[test]
    fn no_line_makes_the_reader_panic(line in "\\PC{0,80}", shellish in "[a$'\"{}:\\-=~#\\\\ \n|*]{0,40}") {
        for line in [line, shellish] {
            if let Ok(template) = CommandTemplate::parse(&line) {
                let _ = template.expand(|name| Some(name.as_bytes().to_vec()));
                let _ = template.variables();
            }
        }
    }

    /// Whatever the reader takes as simple, `sh` would take as the same arguments.
    #[test]
    fn a_line_of_any_letters_that_needs_no_shell_means_the_same_to_sh(
        tail in "[aAN$'\"{}:\\-=~#\\\\ ]{0,24}",
    ) {
        let line = format!("run {tail}");
        let env = env(&[("A", "x y"), ("AA", " z")]);
        let simple = CommandTemplate::parse(&line).is_ok_and(|template| !template.needs_shell());
        if simple && let Ok(Expanded { command: Command::Exec { argv }, .. }) = expand(&line, &env) {
            prop_assert_eq!(argv, argv_of_sh(&line, &env));
        }
    }
}
