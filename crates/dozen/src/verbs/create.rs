//! `dozen create`: a new app, and a Git remote that deploys it.

use std::path::Path;

use dozen_control::api::wire::{AppSummary, CreateApp, paths};
use dozen_model::names::{AppName, StageName};
use http::Method;
use serde::de::IgnoredAny;

use crate::{
    app_name,
    cli_error::{CliError, ExitStatus},
    context::Target,
    git,
    session::Session,
    settings::{ServerAddress, Settings},
};

/// Create an app, and a Git remote named dozen that deploys it
#[derive(Debug, clap::Args)]
#[command(after_help = "Afterwards `git push dozen main` deploys.

Examples:
  dozen create
  dozen create blog
  dozen create blog --existing --stage staging --remote staging")]
pub(crate) struct CreateArgs {
    /// Its name [default: from dozen.toml, else the folder's name]
    name: Option<AppName>,

    /// Stage that the remote deploys to
    #[arg(short, long, value_name = "STAGE", default_value = "production")]
    stage: StageName,

    /// Name of the Git remote
    #[arg(long, value_name = "NAME", default_value = "dozen")]
    remote: String,

    /// Only add the remote, to an app that exists
    #[arg(long)]
    existing: bool,
}

/// Runs the verb.
pub(crate) async fn create(args: CreateArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let here = Path::new(".");
    let app = match &args.name {
        Some(name) => name.clone(),
        None => app_name::of_folder(here, "name it: `dozen create NAME`")?,
    };
    let target = Target { app, stage: args.stage };
    let remote = Remote::plan(&args.remote, &target, &session.settings)?;
    remote.as_ref().map_or(Ok(()), |remote| remote.refuse_if_taken(&target))?;
    let mut control = session.control().await?;
    if args.existing {
        let apps: Vec<AppSummary> = control.get(paths::APPS).await?;
        if !apps.iter().any(|app| app.name == target.app) {
            return Err(CliError::Unavailable {
                message: format!("there is no app `{}`", target.app),
                hint: Some("leave `--existing` out to create it".to_owned()),
            });
        }
    } else {
        let body = CreateApp { name: target.app.clone(), if_missing: false };
        let _: IgnoredAny = control.ask(Method::POST, paths::APPS, &body).await?;
        session.out.result(format_args!("created {}", target.app))?;
    }
    match remote {
        Some(remote) => {
            remote.write()?;
            session.out.result(format_args!(
                "`{}` deploys {target}",
                git::push_words(Path::new("."), &args.remote)
            ))?;
        }
        None if !git::is_there() => {
            session.out.note("`git` is not in the `PATH`, so no remote was added");
            session.out.hint("install Git, then run `dozen create --existing`");
        }
        None => session.out.note("no Git repository here, so no remote was added"),
    }
    Ok(ExitStatus::Success)
}

/// A Git remote to be.
struct Remote {
    name: String,
    url: String,
    receive_pack: String,
    /// The address that stands there now.
    present: Option<String>,
}

impl Remote {
    /// What the remote would be; `None` outside a repository.
    fn plan(name: &str, target: &Target, settings: &Settings) -> Result<Option<Self>, CliError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if name.is_empty() || name.starts_with('-') || !name.bytes().all(plain) {
            let message = format!("`{}` is no name for a Git remote", name.escape_default());
            return Err(CliError::Usage { message, hint: None });
        }
        let here = Path::new(".");
        git::check_owner(here)?;
        if git::top_of(here).is_none() {
            return Ok(None);
        }
        let (url, receive_pack) = address(target, settings)?;
        let present = git::config(here, &format!("remote.{name}.url"));
        Ok(Some(Self { name: name.to_owned(), url, receive_pack, present }))
    }

    /// Refuses a name that leads elsewhere: a push would go to an app that nobody meant.
    fn refuse_if_taken(&self, target: &Target) -> Result<(), CliError> {
        let Some(url) = self.present.as_deref().filter(|url| *url != self.url) else { return Ok(()) };
        let name = &self.name;
        let (message, hint) = match Target::of_repository(url) {
            // The server's folders or this binary may have moved since.
            Some(present) if present == *target => return Ok(()),
            Some(present) => (
                format!("the Git remote `{name}` of this repository deploys {present} already"),
                format!("give this one another name with `--remote`, or `git remote remove {name}` first"),
            ),
            None => (
                format!("the Git remote `{name}` belongs to something else"),
                "give another name with `--remote`".to_owned(),
            ),
        };
        Err(CliError::Unavailable { message, hint: Some(hint) })
    }

    fn write(&self) -> Result<(), CliError> {
        let here = Path::new(".");
        let key = |part: &str| format!("remote.{}.{part}", self.name);
        match &self.present {
            Some(_) => git::run(here, &["remote", "set-url", &self.name, &self.url])?,
            None => git::run(here, &["remote", "add", &self.name, &self.url])?,
        };
        git::run(here, &["config", &key("receivepack"), &self.receive_pack])?;
        Ok(())
    }
}

/// Address of the stage's repository, and what receives a push there.
///
/// The receiving command finds the repository itself; the address is what people and Git see, and
/// names app and stage. An app in a folder of its repository is pushed from there: the command
/// names the folder.
fn address(target: &Target, settings: &Settings) -> Result<(String, String), CliError> {
    let folder = git::folder_in_repository(Path::new("."));
    let folder = folder.map(|folder| format!(" --folder={}", git::shell_word(&folder))).unwrap_or_default();
    match &settings.server {
        ServerAddress::Ssh(host) => {
            Ok((format!("{host}/{}", target.repository()), format!("dozen receive-pack{folder}")))
        }
        ServerAddress::Unix(_) => {
            let binary = git::shell_word(&settings.binary.to_string_lossy());
            let server = git::shell_word(&settings.server.to_string());
            let url = settings.push_repository(target)?.to_string_lossy().into_owned();
            Ok((url, format!("{binary} receive-pack --server {server}{folder}")))
        }
    }
}
