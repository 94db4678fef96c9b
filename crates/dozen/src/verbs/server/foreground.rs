//! `dozen server start`: control in the foreground, logging to stdout.

use std::path::PathBuf;

use crate::{
    cli_error::{CliError, ExitStatus},
    session::Session,
    settings::ServerSettings,
};

/// Runs control until it is stopped.
pub(super) fn start(settings: ServerSettings, session: &Session) -> Result<ExitStatus, CliError> {
    start_log(session);
    tracing::info!(home = %settings.home.display(), run = %settings.run.display(), "starting");
    run_control(settings)?;
    Ok(ExitStatus::Success)
}

/// The server's own log: lines on stdout, as a twelve-factor app's.
pub(super) fn start_log(session: &Session) {
    let filter = tracing_subscriber::EnvFilter::new(session.settings.log.as_deref().unwrap_or("info"));
    let colour = session.settings.style.colour_out;
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(colour)
            .with_writer(std::io::stdout)
            .try_init(),
    );
}

// INTEGRATION: this is the one place that calls the control plane. Its `ServerOptions` are made
// of `settings` field by field:
//
//     dozen_control::server::run(ServerOptions { home, run, listen, domain, key_file, binary,
//         build_env, pyenv_root, path, user_home })
//
// Until then it says that there is nothing to start.
fn run_control(settings: ServerSettings) -> Result<(), CliError> {
    let ServerSettings {
        home,
        run,
        listen,
        domain,
        key_file,
        binary,
        build_env,
        pyenv_root,
        path,
        user_home,
        ..
    } = settings;
    let _: (PathBuf, PathBuf, Option<PathBuf>, PathBuf, Option<PathBuf>, Option<PathBuf>) =
        (home, run, key_file, binary, pyenv_root, user_home);
    let _ = (listen, domain, build_env, path);
    Err(CliError::Unavailable {
        message: "the control plane is not part of this build".to_owned(),
        hint: None,
    })
}
