//! `dozen apps`: all apps and their stages.

use dozen_control::api::wire::{AppSummary, paths};

use crate::{
    cli_error::{CliError, ExitStatus},
    session::Session,
    table::Table,
};

/// List all apps and their stages
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dozen apps
  dozen apps --json")]
pub(crate) struct AppsArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) async fn apps(args: AppsArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let apps: Vec<AppSummary> = session.control().await?.get(paths::APPS).await?;
    if args.json {
        session.out.json(&apps)?;
        return Ok(ExitStatus::Success);
    }
    if apps.is_empty() {
        session.out.note("no app yet");
        session.out.hint("run `dozen up` in the folder of one");
        return Ok(ExitStatus::Success);
    }
    let mut table = Table::with_heading(&["APP", "STAGE", "RELEASE", "COMMIT", "RUNNING", "URL"]);
    for app in &apps {
        if app.stages.is_empty() {
            table.row([app.name.to_string(), "-".to_owned(), "not deployed yet".to_owned()]);
        }
        for stage in &app.stages {
            let release = stage.release.map_or_else(|| "-".to_owned(), |release| release.to_string());
            let commit = stage.commit.as_deref().map_or("-", |commit| commit.get(..7).unwrap_or(commit));
            let running =
                if stage.stopped { "down".to_owned() } else { format!("{}/{}", stage.running, stage.wanted) };
            let url = stage.urls.first().cloned().unwrap_or_default();
            table.row([
                app.name.to_string(),
                stage.name.to_string(),
                release,
                commit.to_owned(),
                running,
                url,
            ]);
        }
    }
    for line in table.lines() {
        session.out.result(line)?;
    }
    Ok(ExitStatus::Success)
}
