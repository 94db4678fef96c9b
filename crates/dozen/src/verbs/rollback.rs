//! `dozen rollback`: run an earlier release again.

use dozen_control::api::wire::{ReleaseDetail, Rollback};
use dozen_model::release::ReleaseNumber;
use http::Method;

use crate::{
    cli_error::{CliError, ExitStatus},
    client::json,
    context::{AppFlags, Target},
    follow::{Ended, carry_out},
    session::Session,
};

/// Run an earlier release again, as a new release
#[derive(Debug, clap::Args)]
#[command(after_help = "The release phase does not run: old migrations do not fit a newer schema.

Examples:
  dozen rollback
  dozen rollback v12
  dozen rollback v12 --release-phase")]
pub(crate) struct RollbackArgs {
    /// Release to return to [default: the one before the current]
    #[arg(value_name = "RELEASE")]
    to: Option<ReleaseNumber>,

    /// Run the release phase of the old image too
    #[arg(long)]
    release_phase: bool,

    #[command(flatten)]
    app: AppFlags,
}

/// Runs the verb.
pub(crate) async fn rollback(args: RollbackArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let target = session.target(&args.app)?;
    let body = json(&Rollback { to: args.to, run_release_phase: args.release_phase })?;
    let ended = carry_out(session, &target, Method::POST, "/rollback", Some(body)).await?;
    let what = match &ended {
        Ended::Well { release: Some(made), .. } => change_of(*made, &target, session).await,
        _ => None,
    };
    ended.tell(session.out, &target, what.as_deref().unwrap_or("rolled back"))
}

/// What the new release says of itself: to which one it goes back was the server's choice.
async fn change_of(made: ReleaseNumber, target: &Target, session: &Session) -> Option<String> {
    let path = target.path(&format!("/releases/{}", made.0));
    let detail: ReleaseDetail = session.control().await.ok()?.get(&path).await.ok()?;
    Some(detail.summary.change.replacen("rollback", "rolled back", 1))
}
