//! `dozen run`: a one-off process in the exact release and config of a stage.

use dozen_control::api::wire::{RunRequest, RunStarted, TerminalRequest};
use dozen_model::release::ReleaseNumber;
use http::Method;

use crate::{
    attach,
    cli_error::{CliError, ExitStatus},
    client::read_json,
    context::AppFlags,
    session::Session,
};

/// Run a command in the release and config of an app, with a terminal when there is one
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The command's exit status becomes dozen's own: 127 when its program is not there, 126 when it cannot be
executed, 128 and more for a signal.

Examples:
  dozen run -- python manage.py createsuperuser
  dozen run --release v12 -- python manage.py showmigrations
  dozen run --detach -- python manage.py send_mail
  dozen run -- cat < dump.sql"
)]
pub(crate) struct RunArgs {
    /// Run in this release [default: the current one]
    #[arg(long, value_name = "RELEASE")]
    release: Option<ReleaseNumber>,

    /// Do not wait for its end; print its name
    #[arg(short, long)]
    detach: bool,

    #[command(flatten)]
    app: AppFlags,

    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the verb.
pub(crate) async fn run(args: RunArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let target = session.target(&args.app)?;
    let mut control = session.control().await?;
    let path = target.path("/run");
    let size = if args.detach { None } else { attach::terminal_size() };
    let terminal = size.map(|size| TerminalRequest {
        rows: size.rows,
        columns: size.columns,
        term: session.settings.term.clone(),
    });
    let request = RunRequest {
        argv: args.command,
        release: args.release,
        terminal: terminal.clone(),
        detach: args.detach,
    };
    if args.detach {
        let started: RunStarted = control.ask(Method::POST, &path, &request).await?;
        return told(&started, session);
    }
    match control.upgrade(&path, &request).await? {
        Ok(connection) => attach::attach(connection, terminal.is_some(), session.out).await,
        Err(answer) => told(&read_json(answer).await?, session),
    }
}

fn told(started: &RunStarted, session: &Session) -> Result<ExitStatus, CliError> {
    session.out.result(&started.name)?;
    session.out.hint(&format!("follow it with `dozen logs -f --ps {}`", started.name));
    Ok(ExitStatus::Success)
}
