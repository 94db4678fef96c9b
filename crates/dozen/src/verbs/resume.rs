//! `dozen resume`: the end of `dozen pause`.

use dozen_control::api::wire::TrafficStatus;
use http::Method;

use crate::{
    cli_error::{CliError, ExitStatus},
    context::AppFlags,
    session::Session,
};

/// Let the requests of a paused app go on
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  dozen resume\n  dozen resume --app blog")]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the verb.
pub(crate) async fn resume(args: ResumeArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let target = session.target(&args.app)?;
    let path = target.path("/resume");
    let _: TrafficStatus = session.control().await?.tell(Method::POST, &path).await?;
    session.out.result(format_args!("{target}: requests go on"))?;
    Ok(ExitStatus::Success)
}
