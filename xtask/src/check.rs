//! `cargo xtask check`: all that can be said about the code without running it.
//!
//! The cheap steps come first. Each step runs even if an earlier one failed, so that one run shows
//! everything.

use crate::{
    deny, generate, style,
    task::{TaskError, cargo, run},
};

type Step = (&'static str, fn() -> Result<(), TaskError>);

const STEPS: [Step; 6] = [
    ("format", format),
    ("style", style::check),
    ("lints", lints),
    ("docs", docs),
    ("dependencies", deny::check),
    ("generated files", generate::check),
];

/// Runs every step and names those that failed.
pub(crate) fn check() -> Result<(), TaskError> {
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        if let Err(error) = step() {
            eprintln!("\n{name}: {error}");
            failed.push(name);
        }
    }
    if failed.is_empty() {
        println!("\ncheck: all is well");
        return Ok(());
    }
    Err(TaskError::new(format!("check: not well: {}", failed.join(", "))))
}

fn format() -> Result<(), TaskError> {
    run(&mut cargo(["fmt", "--all", "--check"]))
}

fn lints() -> Result<(), TaskError> {
    // `-D warnings` goes behind `--`: as RUSTFLAGS it would build every dependency once more.
    run(&mut cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

fn docs() -> Result<(), TaskError> {
    run(cargo(["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings"))
}
