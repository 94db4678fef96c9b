//! The binary: every process of dozen begins here.
//!
//! `dozen shim` and `dozen router` are the platform's own processes. They are recognised before
//! anything else happens: the shim forks, so no thread and no runtime may exist yet. Everything
//! else is the command line, [`cli`].
//!
//! ```text
//! cli -> verbs -> client -> API of control          (verbs/server.rs starts control itself)
//!         |-> context, upload, attach, follow
//!         \-> output, progress
//! ```
//!
//! The binary decides nothing about apps: that is the control plane's part.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use dozen_model::hint::Hint;

mod app_name;
mod attach;
mod cli;
mod cli_error;
mod client;
mod context;
mod daemon;
mod follow;
mod git;
mod heroku_forms;
mod output;
mod progress;
mod session;
mod settings;
mod table;
mod time_words;
mod upload;
mod verbs;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    match words.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("shim") => dozen_sandbox::shim_main(words),
        Some("router") => router(),
        _ => cli::main(),
    }
}

/// The router process. What it has to say goes to stderr, which it shares with control.
fn router() -> ExitCode {
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_ansi(false);
    // Nothing else has started a log in this process.
    drop(log.with_writer(std::io::stderr).try_init());
    match dozen_router::RouterOptions::from_stdin() {
        Ok(options) => dozen_router::router_main(options),
        Err(error) => {
            let because = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            let hint = error.hint().unwrap_or_default();
            tracing::error!(because, hint, "{error}");
            ExitCode::from(2)
        }
    }
}
