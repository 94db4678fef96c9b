//! `dozen domains`: the host names a stage answers to.

use dozen_control::api::wire::{AddDomain, DomainCertificate, DomainEntry};
use dozen_model::names::Domain;
use http::Method;

use crate::{
    cli_error::{CliError, ExitStatus},
    context::AppFlags,
    session::Session,
    table::Table,
    time_words::local,
    verbs::certs::state,
};

/// List, add and remove domains
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dozen domains
  dozen domains add blog.example.org
  dozen domains remove blog.example.org")]
pub(crate) struct DomainsArgs {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(flatten)]
    app: AppFlags,

    #[command(subcommand)]
    action: Option<DomainsAction>,
}

#[derive(Debug, clap::Subcommand)]
enum DomainsAction {
    /// Answer to a domain too
    #[command(after_help = "Examples:\n  dozen domains add blog.example.org")]
    Add {
        /// The domain, in lower case
        domain: Domain,
    },
    /// Answer to a domain no longer
    #[command(after_help = "Examples:\n  dozen domains remove blog.example.org")]
    Remove {
        /// The domain
        domain: Domain,
    },
}

/// The certificate of a domain in a word, and until when it is good.
fn certificate(of: Option<&DomainCertificate>) -> String {
    let Some(of) = of else { return "-".to_owned() };
    let until = of.not_after.map(|at| format!(", ends {}", local(at))).unwrap_or_default();
    format!("{} ({}){until}", state(of.state), of.source)
}

/// Runs the verb.
pub(crate) async fn domains(args: DomainsArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let target = session.target(&args.app)?;
    let mut control = session.control().await?;
    let domains: Vec<DomainEntry> = match args.action {
        None => control.get(&target.path("/domains")).await?,
        Some(DomainsAction::Add { domain }) => {
            control.ask(Method::POST, &target.path("/domains"), &AddDomain { domain }).await?
        }
        Some(DomainsAction::Remove { domain }) => {
            control.tell(Method::DELETE, &target.path(&format!("/domains/{domain}"))).await?
        }
    };
    if args.json {
        session.out.json(&domains)?;
        return Ok(ExitStatus::Success);
    }
    let mut table = Table::with_heading(&["DOMAIN", "URL", "ADDED BY", "CERTIFICATE"]);
    for entry in domains {
        let by = if entry.automatic { "dozen" } else { "you" };
        table.row([entry.domain, entry.url, by.to_owned(), certificate(entry.certificate.as_ref())]);
    }
    table.lines().into_iter().try_for_each(|line| session.out.result(line))?;
    Ok(ExitStatus::Success)
}
