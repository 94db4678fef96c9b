//! The project's own tasks, started with `cargo xtask`.
//!
//! A task runs the same tools that a developer would type, and shows each command before it runs
//! it. It needs no crate but `std`: it is the first thing that a clean clone builds.
//!
//! Start reading at [`main`]; each task has a file of its own.

#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a task is a script: it reads the environment and prints; the product does neither"
)]

mod bench;
mod check;
mod deny;
mod generate;
mod ordinary_user;
mod picture;
mod requirements;
mod soak;
mod strict;
mod style;
mod suite;
mod task;

use std::process::ExitCode;

use task::TaskError;

const USAGE: &str = "\
Usage: cargo xtask TASK

  check                     format, style, lints, docs, dependencies, generated files
  style                     the style rules alone
  test [--install] [ROOM]   all tests; of one crate with ROOM (`logs` for `dozen-logs`)
                            --install  install missing Debian packages first (needs root)
  e2e [NAME]                the end-to-end tests whose names contain NAME
  soak deploy [DEPLOYS]     traffic without pause over 50 deploys and as many other changes
  bench deploy [--install]  from a change to its first answer, beside the same by hand
  bench router [--install]  the router's CPU time a request, latency and memory, beside other proxies
                            --only LIST, --peers LIST, --rounds N, --seconds N, --rate N,
                            --ours [NAME=]PATH (a `router-probe`; may be repeated)
  bench instructions [--install]  what a request takes in the router, and where (Callgrind)
  bench idle                memory and CPU time of an idle server; the start of commands
  bench revival             from kill -9 of the router to the next answer
  strict [--install]        what the router makes of ambiguous requests, beside nginx and haproxy
  strict --streams COUNT [SEED]  generated requests through the router and through nginx
  generate [--check]        write the generated files, or only tell whether they are up to date
  picture [BINARY]          run `dozen up examples/blango` and put what it tells into the README
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), TaskError> {
    match words {
        ["check"] => check::check(),
        ["style"] => style::check(),
        ["test", options @ ..] => suite::test(options),
        ["e2e"] => suite::end_to_end(None),
        ["e2e", name] if !name.starts_with('-') => suite::end_to_end(Some(name)),
        ["soak", "deploy"] => soak::deploy(None),
        ["soak", "deploy", deploys] => soak::deploy(Some(deploys)),
        ["bench", "deploy"] => bench::deploy::bench(false),
        ["bench", "deploy", "--install"] => bench::deploy::bench(true),
        ["bench", "router", options @ ..] => bench::router::bench(options),
        ["bench", "instructions", options @ ..] => bench::router::instructions::bench(options),
        ["bench", "idle"] => bench::idle::bench(),
        ["bench", "revival"] => bench::revival::bench(),
        ["strict"] => strict::table(false),
        ["strict", "--install"] => strict::table(true),
        ["strict", "--streams", count] => strict::streams(count, None),
        ["strict", "--streams", count, seed] => strict::streams(count, Some(seed)),
        ["generate"] => generate::write(),
        ["generate", "--check"] => generate::check(),
        ["picture"] => picture::write(None),
        ["picture", binary] if !binary.starts_with('-') => picture::write(Some(binary)),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(TaskError::new(format!("`{}` is no task\n\n{USAGE}", words.join(" ")))),
    }
}
