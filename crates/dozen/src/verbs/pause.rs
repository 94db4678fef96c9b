//! `dozen pause`: all requests wait for a while.

use std::time::Duration;

use dozen_control::api::wire::PauseRequest;
use dozen_model::manifest::parse_duration;
use http::Method;

use crate::{
    cli_error::{CliError, ExitStatus},
    client::json,
    context::AppFlags,
    follow::carry_out,
    session::Session,
};

/// Let all requests of an app wait, for a migration
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Requests that are in flight finish, new ones wait. They go on with `dozen resume`, or by themselves
at the limit. One that waits for longer than `hold_limit` of dozen.toml (30s) gets 503.

Examples:
  dozen pause --wait
  dozen pause --limit 2m"
)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    app: AppFlags,

    /// When requests go on by themselves, from 1s to 10m
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    limit: Duration,

    /// Come back when no request is in flight any more
    #[arg(long)]
    wait: bool,
}

/// Runs the verb.
pub(crate) async fn pause(args: PauseArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let target = session.target(&args.app)?;
    let limit_ms = u64::try_from(args.limit.as_millis()).unwrap_or(u64::MAX);
    let body = json(&PauseRequest { limit_ms, wait: args.wait })?;
    let ended = carry_out(session, &target, Method::POST, "/pause", Some(body)).await?;
    let quiet = if args.wait { ", none is in flight" } else { "" };
    ended.tell(session.out, &target, &format!("requests wait, for {:?} at most{quiet}", args.limit))
}
