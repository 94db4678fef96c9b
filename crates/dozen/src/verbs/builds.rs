//! `dozen builds`: the deploys of a stage, and the log of one.

use dozen_control::api::wire::{Cancelled, DeploySummary};
use http::Method;

use crate::{
    cli_error::{CliError, ExitStatus},
    context::{AppFlags, Target},
    follow::{Ended, Work, follow},
    progress::ProgressView,
    session::Session,
    table::Table,
    time_words::{ago, now, took},
};

/// List deploys, or follow the log of one
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  dozen builds
  dozen builds 3
  dozen builds cancel 3")]
pub(crate) struct BuildsArgs {
    /// Show the log of this one, to its end
    #[arg(value_name = "N", value_parser = deploy_number)]
    number: Option<u64>,

    /// How many to list
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 15)]
    limit: u32,

    /// Print JSON
    #[arg(long, conflicts_with = "number")]
    json: bool,

    #[command(flatten)]
    app: AppFlags,

    #[command(subcommand)]
    action: Option<BuildsAction>,
}

#[derive(Debug, clap::Subcommand)]
enum BuildsAction {
    /// Cancel a deploy that has not reached its release phase
    #[command(after_help = "Examples:\n  dozen builds cancel 3")]
    Cancel {
        /// Its number
        #[arg(value_name = "N", value_parser = deploy_number)]
        number: u64,
    },
}

/// The number of a deploy, as the list has it.
fn deploy_number(text: &str) -> Result<u64, String> {
    let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    text.parse().map_err(|_| format!("`{shown}` is not the number of a deploy: see `dozen builds`"))
}

/// Runs the verb.
pub(crate) async fn builds(args: BuildsArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let target = session.target(&args.app)?;
    match (&args.action, args.number) {
        (Some(BuildsAction::Cancel { number }), _) => cancel(*number, &target, session).await,
        (None, Some(number)) => show(number, &target, session).await,
        (None, None) => list(&args, &target, session).await,
    }
}

async fn list(args: &BuildsArgs, target: &Target, session: &Session) -> Result<ExitStatus, CliError> {
    let path = target.path(&format!("/deploys?limit={}", args.limit));
    let deploys: Vec<DeploySummary> = session.control().await?.get(&path).await?;
    if args.json {
        session.out.json(&deploys)?;
        return Ok(ExitStatus::Success);
    }
    if deploys.is_empty() {
        session.out.note(format_args!("{target} has no deploy yet"));
        return Ok(ExitStatus::Success);
    }
    let mut table = Table::with_heading(&["N", "KIND", "STATE", "RELEASE", "SOURCE", "WHEN", "TOOK", "WHO"]);
    for deploy in &deploys {
        let state = match (&deploy.step, deploy.state.as_str()) {
            (Some(step), "running" | "failed") => format!("{} at {step}", deploy.state),
            _ => deploy.state.clone(),
        };
        table.row([
            deploy.number.to_string(),
            deploy.kind.clone(),
            state,
            deploy.release.map_or_else(|| "-".to_owned(), |release| release.to_string()),
            source_words(deploy),
            ago(deploy.created_at, now()),
            deploy.took_ms.map_or_else(|| "-".to_owned(), took),
            deploy.who.clone(),
        ]);
    }
    for line in table.lines() {
        session.out.result(line)?;
    }
    Ok(ExitStatus::Success)
}

/// `1f3a9c2 main`, or the file's name.
fn source_words(deploy: &DeploySummary) -> String {
    let commit = deploy.source.commit.as_deref().map(|commit| commit.get(..7).unwrap_or(commit));
    let words: Vec<&str> = commit.into_iter().chain(deploy.source.reference.as_deref()).collect();
    let dirty = if deploy.source.dirty { " dirty" } else { "" };
    if words.is_empty() { "-".to_owned() } else { format!("{}{dirty}", words.join(" ")) }
}

async fn show(number: u64, target: &Target, session: &Session) -> Result<ExitStatus, CliError> {
    let mut control = session.control().await?;
    let path = target.path(&format!("/deploys/{number}/events?follow=true"));
    let lines = control.stream(Method::GET, &path, None).await?;
    let work = Work { control: &mut control, target: None, again: None, out: session.out };
    match follow(work, lines, &mut ProgressView::whole(session.out)).await? {
        Ended::ByUser => Ok(ExitStatus::Interrupted),
        Ended::Well { release, .. } => {
            let made = release.map(|release| format!(" and made {release}")).unwrap_or_default();
            session.out.note(format_args!("deploy {number} succeeded{made}"));
            Ok(ExitStatus::Success)
        }
    }
}

async fn cancel(number: u64, target: &Target, session: &Session) -> Result<ExitStatus, CliError> {
    let path = target.path(&format!("/deploys/{number}/cancel"));
    let answer: Cancelled = session.control().await?.tell(Method::POST, &path).await?;
    if answer.cancelled {
        session.out.result(format_args!("{target}: deploy {number} is cancelled"))?;
        return Ok(ExitStatus::Success);
    }
    let step = answer.step.map(|step| format!(": it is at {step}")).unwrap_or_default();
    Err(CliError::Unavailable {
        message: format!("deploy {number} cannot be cancelled any more{step}"),
        hint: None,
    })
}
