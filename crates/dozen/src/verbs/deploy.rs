//! `dozen deploy`: send a commit or an archive, build it, release it, run it.

use std::path::{Path, PathBuf};

use dozen_control::api::wire::Progress;

use crate::{
    cli_error::{CliError, ExitStatus},
    client::ControlClient,
    context::{AppFlags, Target},
    follow::{Ended, Work, follow},
    progress::ProgressView,
    session::Session,
    upload::{CommitChoice, Source},
};

/// Deploy a commit of this repository, or an archive
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dozen deploy
  dozen deploy v1.2 --stage staging
  dozen deploy --folder services/blog
  dozen deploy --archive app.tar.gz --app blog")]
pub(crate) struct DeployArgs {
    /// Commit, branch or tag [default: the current commit]
    #[arg(value_name = "REF")]
    reference: Option<String>,

    /// Deploy a .tar.gz, .tar or .zip file instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["reference", "dirty", "folder"])]
    archive: Option<PathBuf>,

    /// Take uncommitted changes too
    #[arg(long, conflicts_with = "reference")]
    dirty: bool,

    /// Folder of the repository that holds the app
    #[arg(long, value_name = "SUB")]
    folder: Option<String>,

    #[command(flatten)]
    app: AppFlags,
}

/// Runs the verb.
pub(crate) async fn deploy(args: DeployArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let target = session.target(&args.app)?;
    let mut control = session.control().await?;
    let mut view = ProgressView::new(session.out);
    view.begin("source", "Source");
    let source = match &args.archive {
        Some(path) => Source::archive(path)?,
        None => Source::commit(&CommitChoice {
            repository: Path::new("."),
            reference: args.reference.as_deref(),
            folder: args.folder.as_deref(),
            dirty: args.dirty,
            working_tree: true,
        })?,
    };
    exported(&source, &mut view);
    let ended = send(session, &mut control, (&target, source), &mut view).await?;
    tell_urls(ended, session, &target)
}

/// Ends the step that exported the source.
pub(super) fn exported(source: &Source, view: &mut ProgressView) {
    view.done("source", &format!("{}, {}", source.words(), size_words(source.size)));
}

/// Sends a source to a stage and follows what becomes of it.
pub(super) async fn send(
    session: &Session,
    control: &mut ControlClient,
    (target, source): (&Target, Source),
    view: &mut ProgressView,
) -> Result<Ended, CliError> {
    view.event(&Progress::Step { step: "upload".to_owned(), title: "Upload".to_owned() });
    let about = source.about.clone();
    let lines = control.upload(&target.path("/deploys"), &about, source.into_body()).await;
    view.finish(lines.is_err());
    follow(Work { control, target: Some(target), again: None, out: session.out }, lines?, view).await
}

/// One line of result: what runs now, and where.
pub(super) fn tell_urls(ended: Ended, session: &Session, target: &Target) -> Result<ExitStatus, CliError> {
    let what = match &ended {
        Ended::Well { urls, .. } if !urls.is_empty() => urls.join(" "),
        _ => "deployed".to_owned(),
    };
    ended.tell(session.out, target, &dozen_model::printable::printable(&what, false))
}

/// A size for people.
pub(super) fn size_words(bytes: u64) -> String {
    match bytes {
        ..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes / 1_024),
        1_048_576..1_073_741_824 => format!("{}.{} MiB", bytes >> 20, (bytes % 1_048_576) * 10 / 1_048_576),
        _ => format!("{}.{} GiB", bytes >> 30, (bytes % 1_073_741_824) * 10 / 1_073_741_824),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_their_unit() {
        let told = [1_023, 1_024, 1_572_864, 3 << 30].map(size_words);
        assert_eq!(told, ["1023 B", "1 KiB", "1.5 MiB", "3.0 GiB"]);
    }
}
