//! `dozen certs`: the certificates that the router shows, and where they come from.

use std::{
    io::Read,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use dozen_control::api::wire::{
    AcmeDomain, AddCertificate, CertificateEntry, CertificateState, RenewCertificates, paths,
};
use dozen_model::{certificates::PrivateKey, names::Domain};
use http::Method;

mod trust;

use crate::{
    cli_error::{CliError, ExitStatus},
    client::ControlClient,
    session::Session,
    table::Table,
    time_words::{local, now},
};

/// The longest file of a chain or a key.
const LONGEST_FILE: u64 = 256 << 10;
/// How long an ACME server is waited for; the server goes on without us.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often is looked whether a certificate has come.
const LOOK: Duration = Duration::from_millis(200);

/// List, add and renew certificates
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dozen certs
  dozen certs add blog.example.org --acme
  dozen certs add --cert chain.pem --key key.pem
  dozen certs renew blog.example.org
  dozen certs trust")]
pub(crate) struct CertsArgs {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    action: Option<CertsAction>,
}

#[derive(Debug, clap::Subcommand)]
enum CertsAction {
    /// List the certificates
    #[command(after_help = "The state is one of:
  valid     it is shown
  pending   it was asked for and has not come yet
  failing   it is shown, but could not be renewed: the reason is in the last column
  failed    there is none: the reason is in the last column
  expired   its time is over
  resting   it is not renewed: no app has the domain, or DOZEN_ACME is off

Examples:
  dozen certs list
  dozen certs list --json")]
    List,
    /// Add a certificate: one's own files, or from the ACME server
    #[command(after_help = "With `--acme` the server makes an account with the ACME server of \
DOZEN_ACME_DIRECTORY, and agrees to its terms of service for you.

Examples:
  dozen certs add blog.example.org --acme
  dozen certs add --cert chain.pem --key key.pem")]
    Add(AddArgs),
    /// Ask the ACME server for a new certificate now
    #[command(after_help = "Examples:\n  dozen certs renew\n  dozen certs renew blog.example.org")]
    Renew {
        /// A name that it is for, or its number [default: all]
        #[arg(value_name = "NAME")]
        which: Option<String>,
    },
    /// Forget a certificate
    #[command(after_help = "Examples:\n  dozen certs remove blog.example.org\n  dozen certs remove 3")]
    Remove {
        /// A name that it is for, or its number
        #[arg(value_name = "NAME")]
        which: String,
    },
    /// Trust the authority that signs for local names, such as `APP.localhost`
    #[command(
        after_help = "As root on Debian and its kin it goes into the system's store. Else it is written to a file,
and what to do with that is said.

Examples:
  dozen certs trust
  dozen certs trust --print
  dozen certs trust --remove"
    )]
    Trust(trust::TrustArgs),
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["acme", "cert"]))]
struct AddArgs {
    /// A domain of an app
    #[arg(requires = "acme")]
    domain: Option<Domain>,

    /// Get it from the ACME server, and renew it
    #[arg(long, requires = "domain")]
    acme: bool,

    /// File of the chain in PEM, the server's own certificate first
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "domain")]
    cert: Option<PathBuf>,

    /// File of its key in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

/// Runs the verb.
pub(crate) async fn certs(args: CertsArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let mut control = session.control().await?;
    let entries: Vec<CertificateEntry> = match args.action {
        None | Some(CertsAction::List) => control.get(paths::CERTIFICATES).await?,
        Some(CertsAction::Trust(args)) => return trust::trust(&args, &mut control, session).await,
        Some(CertsAction::Remove { which }) => {
            control.tell(Method::DELETE, &paths::certificate(&plain(&which)?)).await?
        }
        Some(CertsAction::Renew { which }) => {
            let request = RenewCertificates { which };
            let asked = control.ask(Method::POST, paths::CERTIFICATES_RENEW, &request).await?;
            wait(asked, &mut control, session).await?
        }
        Some(CertsAction::Add(args)) => add(args, &mut control, session).await?,
    };
    list(&entries, args.json, session)
}

async fn add(
    args: AddArgs,
    control: &mut ControlClient,
    session: &Session,
) -> Result<Vec<CertificateEntry>, CliError> {
    if let (Some(cert), Some(key)) = (&args.cert, &args.key) {
        let request = AddCertificate { chain: read(cert)?, key: PrivateKey::new(read(key)?) };
        return Ok(control.ask(Method::POST, paths::CERTIFICATES, &request).await?);
    }
    let Some(domain) = args.domain else { return Ok(control.get(paths::CERTIFICATES).await?) };
    let name = domain.to_string();
    let asked: Vec<CertificateEntry> =
        control.ask(Method::POST, paths::CERTIFICATES_ACME, &AcmeDomain { domain }).await?;
    let mine = |entry: &CertificateEntry| entry.source == "acme" && entry.names.contains(&name);
    let asked = asked.into_iter().filter(mine).collect();
    let mut entries = wait(asked, control, session).await?;
    entries.retain(mine);
    Ok(entries)
}

/// Waits for the end of each try that is under way; a failed one is the end of the verb.
async fn wait(
    asked: Vec<CertificateEntry>,
    control: &mut ControlClient,
    session: &Session,
) -> Result<Vec<CertificateEntry>, CliError> {
    let is_due = |entry: &CertificateEntry| entry.next_try.is_some_and(|at| at <= now());
    let due: Vec<(i64, u32)> =
        asked.iter().filter(|entry| is_due(entry)).map(|one| (one.id, one.tries)).collect();
    if !due.is_empty() {
        session.out.note("asking the ACME server; the server goes on when you interrupt this");
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let entries: Vec<CertificateEntry> = control.get(paths::CERTIFICATES).await?;
        let is_busy = |entry: &&CertificateEntry| {
            let before = due.iter().find(|(id, _)| *id == entry.id);
            before.is_some_and(|(_, tries)| entry.tries == *tries || is_due(entry))
        };
        match entries.iter().find(is_busy) {
            None => return ended(entries, &due),
            Some(busy) if Instant::now() >= deadline => {
                return Err(CliError::Unavailable {
                    message: format!("`{}` takes longer than {PATIENCE:?}", busy.names.join(", ")),
                    hint: Some("it goes on; see `dozen certs`".to_owned()),
                });
            }
            Some(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

fn ended(entries: Vec<CertificateEntry>, due: &[(i64, u32)]) -> Result<Vec<CertificateEntry>, CliError> {
    let failed =
        |entry: &&CertificateEntry| due.iter().any(|(id, _)| *id == entry.id) && entry.error.is_some();
    let Some(entry) = entries.iter().find(failed) else { return Ok(entries) };
    let error = entry.error.as_deref().unwrap_or_default();
    let next = entry.next_try.map(|at| format!("it is tried again at {}", local(at))).unwrap_or_default();
    Err(CliError::Unavailable {
        message: format!("no new certificate for `{}`: {error}", entry.names.join(", ")),
        hint: Some(format!("{next}; put right what it says and run `dozen certs renew`")),
    })
}

fn list(entries: &[CertificateEntry], json: bool, session: &Session) -> Result<ExitStatus, CliError> {
    if json {
        session.out.json(&entries)?;
        return Ok(ExitStatus::Success);
    }
    if entries.is_empty() {
        session.out.note("there is no certificate yet");
        return Ok(ExitStatus::Success);
    }
    let mut table = Table::with_heading(&["NO", "NAMES", "SOURCE", "STATE", "ENDS", "NEXT TRY", "REASON"]);
    for entry in entries {
        table.row([
            entry.id.to_string(),
            entry.names.join(" "),
            entry.source.clone(),
            state(entry.state).to_owned(),
            entry.not_after.map_or_else(|| "-".to_owned(), local),
            entry.next_try.map_or_else(|| "-".to_owned(), local),
            entry.error.clone().unwrap_or_default(),
        ]);
    }
    table.lines().into_iter().try_for_each(|line| session.out.result(line))?;
    Ok(ExitStatus::Success)
}

/// A state as lists show it.
pub(crate) fn state(state: CertificateState) -> &'static str {
    match state {
        CertificateState::Valid => "valid",
        CertificateState::Pending => "pending",
        CertificateState::Failing => "failing",
        CertificateState::Failed => "failed",
        CertificateState::Expired => "expired",
        CertificateState::Resting => "resting",
    }
}

/// What stands in a path as it is.
fn plain(which: &str) -> Result<String, CliError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'*');
    if !which.is_empty() && which.bytes().all(is_plain) {
        return Ok(which.to_ascii_lowercase());
    }
    Err(CliError::Usage {
        message: format!("`{}` is no name and no number", which.escape_default()),
        hint: Some("see `dozen certs`".to_owned()),
    })
}

/// Reads a file whole; one that is cut would be another one.
fn read(path: &Path) -> Result<String, CliError> {
    let failed = |source| CliError::File { action: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LONGEST_FILE + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    let refused = |why: &str| CliError::Unavailable {
        message: format!("`{}` {why}", path.display()),
        hint: Some("give the chain and the key as PEM files".to_owned()),
    };
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(refused("is longer than any chain or key"));
    }
    String::from_utf8(bytes).map_err(|_| refused("is not text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![b'x'; LONGEST_FILE as usize]).unwrap();
        assert_eq!(read(file.path()).unwrap().len() as u64, LONGEST_FILE);
        std::fs::write(file.path(), vec![b'x'; LONGEST_FILE as usize + 1]).unwrap();
        assert!(read(file.path()).is_err());
        std::fs::write(file.path(), [0x30, 0x82, 0xff]).unwrap();
        assert!(read(file.path()).unwrap_err().to_string().contains("is not text"));
    }

    #[test]
    fn a_path_is_made_of_names_and_numbers_alone() {
        assert_eq!(plain("*.Example.org").unwrap(), "*.example.org");
        assert!(plain("../apps/shop").is_err() && plain("a?b").is_err() && plain("").is_err());
    }
}
