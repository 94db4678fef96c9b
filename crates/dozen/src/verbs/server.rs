//! `dozen server`: start, stop and look at the server itself.

use std::time::{Duration, Instant};

use dozen_control::api::wire::{RefusedRequests, ServerInfo, StopServer, paths};
use http::Method;
use serde::de::IgnoredAny;

use crate::{
    cli_error::{CliError, ExitStatus},
    client::{ClientError, ControlClient},
    daemon,
    session::Session,
    settings::{ServerAddress, ServerFlags, ServerSettings},
    table::Table,
    time_words::{now, span},
};

mod foreground;
mod install;
mod readiness;
mod systemd;
mod unit;

/// How long a server may take to end; stopping all apps takes their grace periods.
const ENDS: Duration = Duration::from_secs(120);
/// How often its connection is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(50);
/// How often a server that somebody has started again is asked.
const ASK: Duration = Duration::from_secs(1);

/// Start, stop and look at the server
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dozen server
  dozen server start
  dozen server stop --all
  dozen server install")]
pub(crate) struct ServerArgs {
    #[command(subcommand)]
    action: Option<ServerAction>,
}

#[derive(Debug, clap::Subcommand)]
enum ServerAction {
    /// Run the server in the foreground, as an init system or a terminal wants it
    #[command(after_help = "Settings come from DOZEN_* variables; flags win over them.

Examples:
  dozen server start
  dozen server start --listen 0.0.0.0:80 --domain apps.example.org
  dozen server start --detached")]
    Start {
        #[command(flatten)]
        flags: ServerFlags,

        /// Come back when it answers; it goes on in a session of its own
        #[arg(long)]
        detached: bool,
    },
    /// Stop the server and its router; apps run on, but get no requests until it starts again
    #[command(after_help = "Examples:\n  dozen server stop\n  dozen server stop --all")]
    Stop {
        /// Stop all apps too
        #[arg(long)]
        all: bool,

        /// Only if systemd is shutting down: the unit asks so, that apps end in their own time then
        #[arg(long, hide = true, requires = "all")]
        if_shutting_down: bool,
    },
    /// Show the server that answers
    #[command(after_help = "Examples:\n  dozen server status\n  dozen server status --json")]
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what the router has counted, for Prometheus
    #[command(
        after_help = "In Prometheus' text format; docs/metrics.md lists what there is. A scraper of the same
machine can ask the socket itself, for /v1/metrics.

Examples:
  dozen server metrics
  dozen server metrics > /var/lib/prometheus/node-exporter/dozen.prom"
    )]
    Metrics,
    /// Let systemd start the server, now and at every boot
    #[command(
        after_help = "As root a unit of the system, else one of the user. To change a setting, run it again
with all of them: what is left out goes back to its default.

Examples:
  dozen server install
  dozen server install --print"
    )]
    Install {
        #[command(flatten)]
        flags: ServerFlags,

        /// Only print the unit
        #[arg(long)]
        print: bool,
    },
    /// Run a server and start it again when it is killed
    #[command(hide = true)]
    Watch,
}

impl ServerArgs {
    /// Whether it must run without a connection and without a runtime.
    pub(crate) fn is_local(&self) -> bool {
        let action = self.action.as_ref();
        action.is_some_and(|action| match action {
            ServerAction::Start { detached, .. } => !detached,
            ServerAction::Install { .. } | ServerAction::Watch => true,
            ServerAction::Stop { .. } | ServerAction::Status { .. } | ServerAction::Metrics => false,
        })
    }
}

/// A server is started on the machine where it is to run.
fn must_be_here(session: &Session) -> Result<(), CliError> {
    let ServerAddress::Ssh(host) = &session.settings.server else { return Ok(()) };
    Err(CliError::Usage {
        message: format!("`{host}` is another machine, and this verb starts a server on this one"),
        hint: Some("run it there, or unset `DOZEN_SERVER` here".to_owned()),
    })
}

/// Runs what needs no connection.
pub(crate) fn local(args: &ServerArgs, session: &Session) -> Result<ExitStatus, CliError> {
    must_be_here(session)?;
    let resolve =
        |flags| ServerSettings::resolve(flags, &session.settings, &session.environment, &session.caller);
    match &args.action {
        Some(ServerAction::Start { flags, .. }) => foreground::start(resolve(flags)?, session),
        Some(ServerAction::Install { flags, print }) => install::install(&resolve(flags)?, *print, session),
        Some(ServerAction::Watch) => {
            foreground::start_log(session);
            Ok(ExitStatus::Passed(daemon::watch(&session.settings)?))
        }
        _ => Ok(ExitStatus::Success),
    }
}

/// Runs what asks a server.
pub(crate) async fn server(args: ServerArgs, session: &Session) -> Result<ExitStatus, CliError> {
    match args.action {
        Some(ServerAction::Stop { if_shutting_down: true, .. })
            if !systemd::Systemd::of(session.settings.root).is_shutting_down() =>
        {
            Ok(ExitStatus::Success)
        }
        Some(ServerAction::Stop { all, .. }) => stop(all, session).await,
        Some(ServerAction::Status { json }) => status(json, session).await,
        Some(ServerAction::Metrics) => metrics(session).await,
        Some(ServerAction::Start { flags, .. }) => start_detached(&flags, session).await,
        _ => status(false, session).await,
    }
}

async fn start_detached(flags: &ServerFlags, session: &Session) -> Result<ExitStatus, CliError> {
    must_be_here(session)?;
    if ControlClient::connect(&session.settings).await.is_ok() {
        session.out.note("the server runs already");
        return status(false, session).await;
    }
    // Refused here, where the user sees it, and not in the log of a process that ends at once.
    ServerSettings::resolve(flags, &session.settings, &session.environment, &session.caller)?;
    daemon::start_detached(&session.settings, &flags.as_variables()).await?;
    status(false, session).await
}

async fn status(json: bool, session: &Session) -> Result<ExitStatus, CliError> {
    let mut control = session.control().await?;
    let info: ServerInfo = control.get(paths::SERVER).await?;
    if json {
        session.out.json(&info)?;
        return Ok(ExitStatus::Success);
    }
    let router = info.router_pid.map_or_else(|| "being restarted".to_owned(), |pid| format!("pid {pid}"));
    let mut listens = info.listen.join(" ");
    if !info.listen_https.is_empty() {
        listens = format!("{listens}, HTTPS {}", info.listen_https.join(" "));
    }
    let mut table = Table::default();
    for (label, value) in [
        ("server", control.address().to_string()),
        ("version", format!("{} (this is {})", info.version, env!("CARGO_PKG_VERSION"))),
        ("control", format!("pid {}, for {}", info.pid, span(now() - info.started_at))),
        ("router", router),
        ("listens on", listens),
        ("domain", info.domain),
        ("state", info.home),
        ("runs as", if info.root { "root" } else { "an ordinary user" }.to_owned()),
        ("apps", format!("{}, {}", info.apps, counted(info.instances, "instance"))),
        ("refused", info.refused.map_or_else(|| "not known".to_owned(), refused_words)),
    ] {
        table.row([label.to_owned(), value]);
    }
    table.lines().into_iter().try_for_each(|line| session.out.result(line))?;
    Ok(ExitStatus::Success)
}

async fn metrics(session: &Session) -> Result<ExitStatus, CliError> {
    let mut control = session.control().await?;
    session.out.bytes(&control.get_text(paths::METRICS).await?)?;
    Ok(ExitStatus::Success)
}

/// Requests that no app's log has a line of.
fn refused_words(refused: RefusedRequests) -> String {
    let RefusedRequests { malformed, unknown_hosts } = refused;
    if malformed + unknown_hosts == 0 {
        return "no request".to_owned();
    }
    format!(
        "{} that cannot be read (400), {unknown_hosts} for a host that no app has (404); see its log",
        counted(malformed, "request")
    )
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

async fn stop(all: bool, session: &Session) -> Result<ExitStatus, CliError> {
    let mut control = session.control().await?;
    let _: IgnoredAny = control.ask(Method::POST, paths::SERVER_STOP, &StopServer { all }).await?;
    let deadline = Instant::now() + ENDS;
    while Instant::now() < deadline {
        if !control.has_ended() {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        if !is_running(&control).await {
            let apps = if all {
                "the server and all apps are stopped"
            } else {
                "the server and its router are stopped; apps run on, without requests"
            };
            session.out.result(apps)?;
            return Ok(ExitStatus::Success);
        }
        tokio::time::sleep(ASK).await;
    }
    Err(CliError::Unavailable {
        message: format!("the server still answers after {} seconds", ENDS.as_secs()),
        hint: Some("look at it with `dozen server status`".to_owned()),
    })
}

/// Whether a server answers there. Only an answer tells: over ssh every connection is made.
async fn is_running(control: &ControlClient) -> bool {
    let asked = async { control.another().await?.get::<ServerInfo>(paths::SERVER).await };
    !matches!(asked.await, Err(ClientError::NotRunning { .. }))
}
