//! `dozen services`: backing services, and the config vars they are attached to.

use std::io::Read;

use dozen_control::api::wire::{AttachService, CreateService, ServiceEntry};
use dozen_model::names::{ConfigVar, ServiceName};
use http::Method;

use crate::{
    cli_error::{CliError, ExitStatus},
    client::json,
    context::{AppFlags, Target},
    follow::carry_out,
    session::Session,
    table::Table,
    time_words::{ago, now},
};

/// The longest URL of an external service.
const LONGEST_URL: u64 = 64 << 10;

/// List, create and attach backing services
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dozen services
  dozen services create sqlite db
  dozen services attach db
  dozen services create external mail --url-stdin < url.txt
  dozen services attach mail --as EMAIL_URL
  dozen services detach mail")]
pub(crate) struct ServicesArgs {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(flatten)]
    app: AppFlags,

    #[command(subcommand)]
    action: Option<ServicesAction>,
}

#[derive(Debug, clap::Subcommand)]
enum ServicesAction {
    /// Create a backing service; attaching it is another step
    #[command(after_help = "Kinds:
  sqlite    a database in a folder of its own, outside every release
  volume    a folder mounted at a path, for uploads
  external  something that runs elsewhere, known by its URL

Examples:
  dozen services create sqlite db
  dozen services create volume uploads --path /data/uploads
  dozen services create external mail --url-stdin < url.txt")]
    Create(CreateArgs),
    /// Put a service's URL into a config var, as a new release
    #[command(
        after_help = "Examples:\n  dozen services attach db\n  dozen services attach db --as REPORTS_URL
  dozen services attach pg --as DATABASE_URL --replace"
    )]
    Attach {
        /// Its name
        name: ServiceName,
        /// The config var [default: the usual one of its kind, such as DATABASE_URL]
        #[arg(long = "as", value_name = "NAME")]
        var: Option<ConfigVar>,

        /// Take the place of the service that has this config var, in the same release
        #[arg(long)]
        replace: bool,
    },
    /// Take a service's URL out of the config vars, as a new release; the service stays
    #[command(after_help = "Examples:\n  dozen services detach db")]
    Detach {
        /// Its name
        name: ServiceName,
    },
    /// List the backing services
    #[command(after_help = "Examples:\n  dozen services list")]
    List,
    /// Show one backing service, without its URL
    #[command(after_help = "Examples:\n  dozen services info db")]
    Info {
        /// Its name
        name: ServiceName,
    },
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// Its kind
    kind: String,
    /// Its name within the stage
    name: ServiceName,
    /// URL of an external service; others may see a command line, prefer --url-stdin
    #[arg(long, value_name = "URL", conflicts_with = "url_stdin")]
    url: Option<String>,
    /// Take the URL from stdin
    #[arg(long)]
    url_stdin: bool,
    /// Where a volume is mounted
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
}

/// Runs the verb.
pub(crate) async fn services(args: ServicesArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let target = session.target(&args.app)?;
    match args.action {
        None | Some(ServicesAction::List) => {
            let entries = entries(&target, session).await?;
            list(&entries, args.json, &target, session)
        }
        Some(ServicesAction::Info { name }) => info(&name, args.json, &target, session).await,
        Some(ServicesAction::Create(create)) => self::create(create, args.json, &target, session).await,
        Some(ServicesAction::Attach { name, var, replace }) => {
            let below = format!("/services/{name}/attach");
            let body = json(&AttachService { var, replace })?;
            let ended = carry_out(session, &target, Method::POST, &below, Some(body)).await?;
            ended.tell(session.out, &target, &format!("{name} attached"))
        }
        Some(ServicesAction::Detach { name }) => {
            let below = format!("/services/{name}/detach");
            let ended = carry_out(session, &target, Method::POST, &below, None).await?;
            ended.tell(session.out, &target, &format!("{name} detached"))
        }
    }
}

async fn create(
    args: CreateArgs,
    json: bool,
    target: &Target,
    session: &Session,
) -> Result<ExitStatus, CliError> {
    let url = if args.url_stdin { Some(read_url(std::io::stdin().lock())?) } else { args.url };
    let body = CreateService { name: args.name.clone(), kind: args.kind, url, path: args.path };
    let entries: Vec<ServiceEntry> =
        session.control().await?.ask(Method::POST, &target.path("/services"), &body).await?;
    list(&entries, json, target, session)?;
    let made = entries.iter().filter(|entry| entry.name == args.name);
    made.flat_map(|entry| &entry.warnings).for_each(|warning| session.out.warning(warning));
    if entries.iter().any(|entry| entry.name == args.name && entry.attached.is_empty()) {
        session.out.hint(&format!("run `dozen services attach {}` to give its URL to the app", args.name));
    }
    Ok(ExitStatus::Success)
}

async fn entries(target: &Target, session: &Session) -> Result<Vec<ServiceEntry>, CliError> {
    Ok(session.control().await?.get(&target.path("/services")).await?)
}

fn list(
    entries: &[ServiceEntry],
    json: bool,
    target: &Target,
    session: &Session,
) -> Result<ExitStatus, CliError> {
    if json {
        session.out.json(&entries)?;
        return Ok(ExitStatus::Success);
    }
    if entries.is_empty() {
        session.out.note(format_args!("{target} has no backing service yet"));
        return Ok(ExitStatus::Success);
    }
    let mut table = Table::with_heading(&["SERVICE", "KIND", "ATTACHED AS", "DETAIL"]);
    for entry in entries {
        table.row([entry.name.to_string(), entry.kind.clone(), attached(entry), entry.detail.clone()]);
    }
    table.lines().into_iter().try_for_each(|line| session.out.result(line))?;
    Ok(ExitStatus::Success)
}

async fn info(
    name: &ServiceName,
    json: bool,
    target: &Target,
    session: &Session,
) -> Result<ExitStatus, CliError> {
    let entries = entries(target, session).await?;
    let Some(entry) = entries.iter().find(|entry| entry.name == *name) else {
        return Err(CliError::Unavailable {
            message: format!("{target} has no backing service `{name}`"),
            hint: Some("list them with `dozen services`".to_owned()),
        });
    };
    if json {
        session.out.json(entry)?;
        return Ok(ExitStatus::Success);
    }
    let mut table = Table::default();
    for (label, value) in [
        ("service", entry.name.to_string()),
        ("kind", entry.kind.clone()),
        ("attached as", attached(entry)),
        ("detail", entry.detail.clone()),
        ("created", ago(entry.created_at, now())),
    ] {
        table.row([label.to_owned(), value]);
    }
    table.lines().into_iter().try_for_each(|line| session.out.result(line))?;
    Ok(ExitStatus::Success)
}

fn attached(entry: &ServiceEntry) -> String {
    let names: Vec<&str> = entry.attached.iter().map(ConfigVar::as_str).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(" ") }
}

/// Reads a URL whole; one that is cut would be another one.
fn read_url(from: impl Read) -> Result<String, CliError> {
    let mut url = String::new();
    let read = from.take(LONGEST_URL + 1).read_to_string(&mut url);
    let read = read.map_err(|source| CliError::File { action: "read", path: "stdin".into(), source })?;
    if read as u64 > LONGEST_URL {
        let message = format!("stdin holds more than {} KiB, which is no URL", LONGEST_URL >> 10);
        return Err(CliError::Unavailable { message, hint: None });
    }
    Ok(url.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_whole_or_not_at_all() {
        assert_eq!(read_url(&b"redis://:p@h:1\n"[..]).unwrap(), "redis://:p@h:1");
        let longest = "x".repeat(LONGEST_URL as usize);
        assert_eq!(read_url(longest.as_bytes()).unwrap(), longest);
        assert!(read_url(format!("{longest}y").as_bytes()).is_err());
    }
}
