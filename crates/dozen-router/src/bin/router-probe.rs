//! The router alone, for tests and measurements: started like `dozen router`, without the rest.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match dozen_router::RouterOptions::from_stdin() {
        Ok(options) => dozen_router::router_main(options),
        Err(_) => ExitCode::from(2),
    }
}
