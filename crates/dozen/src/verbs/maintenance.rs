//! `dozen maintenance`: visitors get a page in place of the app.

use dozen_control::api::wire::{MaintenanceWish, TrafficStatus};
use dozen_model::address_range::AddressRange;
use http::Method;

use crate::{
    cli_error::{CliError, ExitStatus},
    context::{AppFlags, Target},
    output::Output,
    session::Session,
};

/// Show a maintenance page in place of an app
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Visitors get 503 and a page until `dozen maintenance off`, also after a restart or a deploy.
Instances, health checks and `dozen run` go on.

Examples:
  dozen maintenance
  dozen maintenance on --allow 203.0.113.7
  dozen maintenance off"
)]
pub(crate) struct MaintenanceArgs {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(flatten)]
    app: AppFlags,

    #[command(subcommand)]
    action: Option<MaintenanceAction>,
}

#[derive(Debug, clap::Subcommand)]
enum MaintenanceAction {
    /// Begin, or change who is let through
    #[command(after_help = "Examples:\n  dozen maintenance on\n  dozen maintenance on --allow 10.0.0.0/8")]
    On {
        /// Address, or range such as `10.0.0.0/8`, that is let through; may be given several times
        #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
        allow: Vec<AddressRange>,
    },
    /// End it
    #[command(after_help = "Examples:\n  dozen maintenance off")]
    Off,
    /// Say whether it is on
    #[command(after_help = "Examples:\n  dozen maintenance status --json")]
    Status,
}

/// Runs the verb.
pub(crate) async fn maintenance(args: MaintenanceArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let target = session.target(&args.app)?;
    let mut control = session.control().await?;
    let wish = match args.action {
        None | Some(MaintenanceAction::Status) => None,
        Some(MaintenanceAction::On { allow }) => Some(MaintenanceWish { on: true, allow }),
        Some(MaintenanceAction::Off) => Some(MaintenanceWish::default()),
    };
    let status: TrafficStatus = match wish {
        None => control.get(&target.path("/traffic")).await?,
        Some(wish) => control.ask(Method::POST, &target.path("/maintenance"), &wish).await?,
    };
    if args.json {
        session.out.json(&status)?;
    } else {
        tell(&status, &target, session.out)?;
    }
    Ok(ExitStatus::Success)
}

fn tell(status: &TrafficStatus, target: &Target, out: Output) -> Result<(), CliError> {
    if !status.maintenance {
        return out.result(format_args!("{target}: not in maintenance"));
    }
    let through: Vec<String> = status.allow.iter().map(AddressRange::to_string).collect();
    let through = match through.as_slice() {
        [] => String::new(),
        some => format!(", {} let through", some.join(", ")),
    };
    out.result(format_args!("{target}: in maintenance{through}"))
}
