//! A program that is nothing but a shim, for tests and measurements of this crate.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    dozen_sandbox::shim_main(env::args_os().skip(2))
}
