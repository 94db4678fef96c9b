//! `dozen up`: from a folder to a running app, server included.

use std::path::{Path, PathBuf};

use crate::{
    app_name,
    cli_error::{CliError, ExitStatus},
    client::{ClientError, ControlClient},
    context::{self, AppFlags, Target},
    daemon,
    follow::Ended,
    git,
    progress::ProgressView,
    session::Session,
    upload::{CommitChoice, Source},
    verbs::deploy,
};

/// Build, release and run the app in a folder; starts a server when none runs
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dozen up
  dozen up examples/blango
  dozen up . v1.2 --app blog --stage staging
  dozen up --dirty")]
pub(crate) struct UpArgs {
    /// Folder of the app, in a Git repository
    #[arg(default_value = ".")]
    path: PathBuf,

    /// Commit, branch or tag [default: the current commit]
    #[arg(value_name = "REF")]
    reference: Option<String>,

    /// Take uncommitted changes too
    #[arg(long, conflicts_with = "reference")]
    dirty: bool,

    #[command(flatten)]
    app: AppFlags,
}

/// Runs the verb.
pub(crate) async fn up(args: UpArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let target = target(&args, session)?;
    let mut view = ProgressView::new(session.out);
    let folder = git::folder_in_repository(&args.path);
    let choice = CommitChoice {
        repository: &args.path,
        reference: args.reference.as_deref(),
        folder: folder.as_deref(),
        dirty: args.dirty,
        working_tree: true,
    };
    view.begin("source", "Source");
    let mut source = Source::commit(&choice)?;
    source.about.create = true;
    deploy::exported(&source, &mut view);
    // Last: a folder that cannot be deployed is no reason to start a server.
    let mut control = server(session, &mut view).await?;
    match deploy::send(session, &mut control, (&target, source), &mut view).await? {
        Ended::ByUser => Ok(ExitStatus::Interrupted),
        Ended::Well { release, urls } => {
            let release = release.map(|release| format!(" {release}")).unwrap_or_default();
            session.out.note(format_args!("\n{target}{release} is up"));
            for url in &urls {
                session.out.result(dozen_model::printable::printable(url, false))?;
            }
            next_verbs(session, &args.path, &target);
            Ok(ExitStatus::Success)
        }
    }
}

/// Which app is meant: flags, the remote of the folder's own repository, the environment, and at
/// last what the folder itself says.
fn target(args: &UpArgs, session: &Session) -> Result<Target, CliError> {
    let own_repository = git::folder_in_repository(&args.path).is_none();
    let remote = if own_repository { context::remote_of(&args.path) } else { None };
    match context::infer(&args.app, remote.as_ref(), &session.settings) {
        Ok(target) => Ok(target),
        Err(_) => Ok(session.target_of(
            app_name::of_folder(&args.path, "name it: `dozen up --app NAME`")?,
            args.app.stage.clone(),
        )),
    }
}

/// A connection to the server, started when none answers and it would be on this machine.
async fn server(session: &Session, view: &mut ProgressView) -> Result<ControlClient, CliError> {
    match session.control().await {
        Err(CliError::Client(ClientError::NotRunning { .. })) if session.settings.server_is_own() => {
            view.begin("server", "Server");
            let control = daemon::start_detached(&session.settings, &[]).await?;
            view.done("server", "started");
            Ok(control)
        }
        other => other,
    }
}

/// The verbs that a person wants next.
fn next_verbs(session: &Session, path: &Path, target: &Target) {
    let here = context::remote_of(".".as_ref()).as_ref() == Some(target);
    let stage =
        if target.stage.as_str() == "production" { String::new() } else { format!(" -s {}", target.stage) };
    let flags = if here { String::new() } else { format!(" -a {}{stage}", target.app) };
    let push = if context::remote_of(path).as_ref() == Some(target) {
        (git::push_words(path, "dozen"), "deploy the next commit")
    } else {
        (
            format!("dozen create {} --existing{stage}", target.app),
            "add a Git remote, to deploy with git push",
        )
    };
    let lines = [
        (format!("dozen logs -f{flags}"), "follow its log"),
        (format!("dozen config set{flags} NAME=VALUE"), "set a config var"),
        push,
    ];
    let width = lines.iter().map(|(verb, _)| verb.len()).max().unwrap_or(0);
    session.out.note("");
    for (verb, what) in lines {
        session.out.note(format_args!("  {verb:<width$}  {what}"));
    }
}
