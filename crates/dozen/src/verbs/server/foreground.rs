//! `dozen server start`: control in the foreground, logging to stdout.

use dozen_control::ServerOptions;

use super::readiness::announce_on;
use crate::{
    cli_error::{CliError, ExitStatus},
    session::Session,
    settings::ServerSettings,
};

/// Runs control until it is stopped.
pub(super) fn start(settings: ServerSettings, session: &Session) -> Result<ExitStatus, CliError> {
    start_log(session);
    tracing::info!(home = %settings.home.display(), run = %settings.run.display(), "starting");
    // Router and shims outlive this process; what it was given besides stdio is not for them.
    let descriptors = dozen_sandbox::close_all_on_exec();
    descriptors.map_err(|source| CliError::System {
        what: "descriptors could not be kept from child processes",
        source,
    })?;
    if let Some(manager) = session.environment.get("NOTIFY_SOCKET") {
        announce_on(manager, settings.run.join("control.sock"));
    }
    run_control(settings)?;
    Ok(ExitStatus::Success)
}

/// The server's own log: lines on stdout, as a twelve-factor app's.
pub(super) fn start_log(session: &Session) {
    let filter = tracing_subscriber::EnvFilter::new(session.settings.log.as_deref().unwrap_or("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stdout);
    // Without colour also on a terminal: the library was built without it, and asking for it panics.
    drop(log.with_ansi(false).try_init());
}

fn run_control(settings: ServerSettings) -> Result<(), CliError> {
    let options = ServerOptions {
        home: settings.home,
        run: settings.run,
        listen: settings.listen,
        listen_https: settings.listen_https,
        https_port: settings.https_port,
        acme: settings.acme,
        trusted_proxies: settings.trusted_proxies,
        router_limits: settings.router_limits,
        domain: settings.domain,
        key_file: settings.key_file,
        binary: settings.binary,
        build_env: settings.build_env,
        pyenv_root: settings.pyenv_root,
        path: settings.path,
        user_home: settings.user_home,
        barriers: settings.barriers,
    };
    dozen_control::server::run(options).map_err(|error| CliError::Refused(Box::new(error.body())))
}
