//! `dozen releases`: what ran, who changed what, and one release in full.

use dozen_control::api::wire::{ReleaseDetail, ReleaseSummary};
use dozen_model::release::ReleaseNumber;

use crate::{
    cli_error::{CliError, ExitStatus},
    context::AppFlags,
    output::Tint,
    session::Session,
    table::Table,
    time_words::{ago, local, now},
};

/// List releases, or show one
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dozen releases
  dozen releases --limit 50 --json
  dozen releases info v12")]
pub(crate) struct ReleasesArgs {
    /// How many to list
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 15)]
    limit: u32,

    /// Print JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(flatten)]
    app: AppFlags,

    #[command(subcommand)]
    action: Option<ReleasesAction>,
}

#[derive(Debug, clap::Subcommand)]
enum ReleasesAction {
    /// Show one release in full; of config vars only the names
    #[command(after_help = "Examples:\n  dozen releases info v12")]
    Info {
        /// Its number
        #[arg(value_name = "RELEASE")]
        number: ReleaseNumber,
    },
}

/// Runs the verb.
pub(crate) async fn releases(args: ReleasesArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let target = session.target(&args.app)?;
    let mut control = session.control().await?;
    if let Some(ReleasesAction::Info { number }) = args.action {
        let detail: ReleaseDetail = control.get(&target.path(&format!("/releases/{}", number.0))).await?;
        return if args.json { session.out.json(&detail) } else { show(&detail, session) }
            .map(|()| ExitStatus::Success);
    }
    let path = target.path(&format!("/releases?limit={}", args.limit));
    let releases: Vec<ReleaseSummary> = control.get(&path).await?;
    if args.json {
        session.out.json(&releases)?;
    } else if releases.is_empty() {
        session.out.note(format_args!("{target} has no release yet"));
    } else {
        list(&releases, session)?;
    }
    Ok(ExitStatus::Success)
}

fn list(releases: &[ReleaseSummary], session: &Session) -> Result<(), CliError> {
    let mut table = Table::with_heading(&["", "RELEASE", "CHANGE", "COMMIT", "WHEN", "WHO"]);
    for release in releases {
        let change = match release.state.as_str() {
            "live" => release.change.clone(),
            state => format!("{} ({state})", release.change),
        };
        table.row([
            if release.current { "*" } else { "" }.to_owned(),
            release.number.to_string(),
            change,
            release.commit.as_deref().map_or("-", |commit| commit.get(..7).unwrap_or(commit)).to_owned(),
            ago(release.created_at, now()),
            release.who.clone(),
        ]);
    }
    for line in table.lines() {
        session.out.result(if line.starts_with('*') { session.out.tint(Tint::Bold, &line) } else { line })?;
    }
    Ok(())
}

fn show(detail: &ReleaseDetail, session: &Session) -> Result<(), CliError> {
    let summary = &detail.summary;
    let current = if summary.current { ", current" } else { "" };
    let mut rows = vec![
        ("release", format!("{} ({}{current})", summary.number, summary.state)),
        ("change", summary.change.clone()),
        ("when", format!("{} ({})", local(summary.created_at), ago(summary.created_at, now()))),
        ("who", summary.who.clone()),
        ("commit", summary.commit.clone().unwrap_or_else(|| "-".to_owned())),
        ("image", summary.image.to_string()),
        ("runtime", detail.runtime.clone().unwrap_or_else(|| "-".to_owned())),
        ("config", if detail.config.is_empty() { "-".to_owned() } else { detail.config.join(" ") }),
    ];
    rows.extend(detail.attachments.iter().map(|(var, service)| ("attached", format!("{var} -> {service}"))));
    rows.extend(detail.processes.iter().map(|(process, command)| {
        let count = detail.formation.get(process).copied().unwrap_or(u32::from(process.is_web()));
        ("process", format!("{process} x{count}: {command}"))
    }));
    rows.extend(detail.layers.iter().map(|(role, digest)| ("layer", format!("{role} {}", digest.short()))));
    let mut table = Table::default();
    for (name, value) in rows {
        table.row([name.to_owned(), value]);
    }
    table.lines().into_iter().try_for_each(|line| session.out.result(line))
}
