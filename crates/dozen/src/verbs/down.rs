//! `dozen down`: stop one stage of an app, keeping all it owns.

use dozen_control::api::wire::ProcessFilter;
use http::Method;

use crate::{
    cli_error::{CliError, ExitStatus},
    client::json,
    context::AppFlags,
    follow::carry_out,
    session::Session,
};

/// Stop an app; its releases, config and data stay
#[derive(Debug, clap::Args)]
#[command(after_help = "`dozen ps start` brings it back.

Examples:
  dozen down
  dozen down --app blog --stage staging")]
pub(crate) struct DownArgs {
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the verb.
pub(crate) async fn down(args: DownArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let target = session.target(&args.app)?;
    let body = json(&ProcessFilter::default())?;
    let ended = carry_out(session, &target, Method::POST, "/stop", Some(body)).await?;
    ended.tell(session.out, &target, "down")
}
