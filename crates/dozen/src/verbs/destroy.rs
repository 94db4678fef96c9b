//! `dozen destroy`: an app and everything it owns, gone.

use dozen_control::api::wire::paths;
use dozen_model::names::AppName;
use http::Method;

use crate::{
    cli_error::{CliError, ExitStatus},
    follow::{Ended, Work, follow},
    progress::ProgressView,
    session::Session,
};

/// Destroy an app with all its stages, releases, config and data
#[derive(Debug, clap::Args)]
#[command(after_help = "This cannot be undone.

Examples:
  dozen destroy blog --confirm blog")]
pub(crate) struct DestroyArgs {
    /// The app
    app: AppName,

    /// Its name once more
    #[arg(long, value_name = "APP")]
    confirm: AppName,
}

/// Runs the verb.
pub(crate) async fn destroy(args: DestroyArgs, session: &Session) -> Result<ExitStatus, CliError> {
    if args.app != args.confirm {
        return Err(CliError::Usage {
            message: format!("`{}` is to be destroyed, but `{}` was confirmed", args.app, args.confirm),
            hint: None,
        });
    }
    let mut control = session.control().await?;
    let path = paths::app(&args.app);
    let lines = control.stream(Method::DELETE, &path, None).await?;
    let again = Some((Method::DELETE, format!("{path}?follow=true")));
    let work = Work { control: &mut control, target: None, again, out: session.out };
    match follow(work, lines, &mut ProgressView::new(session.out)).await? {
        Ended::ByUser => Ok(ExitStatus::Interrupted),
        Ended::Well { .. } => {
            session.out.result(format_args!("destroyed {}", args.app))?;
            Ok(ExitStatus::Success)
        }
    }
}
