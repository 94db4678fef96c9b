//! `dozen config`: the config vars of a stage. Each change makes one new release.
//!
//! Values are secrets: they are masked unless asked for, travel in request bodies only, and can be
//! given on stdin so that they never stand on a command line.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use dozen_control::api::wire::{ConfigChange, ConfigEntry};
use dozen_model::{dotenv::Dotenv, hint::Hint, names::ConfigVar};
use http::Method;

use crate::{
    cli_error::{CliError, ExitStatus},
    client::{ClientError, json},
    context::{AppFlags, Target},
    follow::carry_out,
    session::Session,
    table::Table,
};

mod dotenv_line;

use dotenv_line::dotenv_line;

/// The most bytes that are read from stdin or a file.
const LIMIT: u64 = 1 << 20;

/// When the value of a service that is attached before the first release is made.
const FROM_THE_FIRST_RELEASE_ON: &str = "from the first release on";

/// List, set and remove config vars
#[derive(Debug, clap::Args)]
#[command(after_help = "Each change makes a new release of the same image.

Examples:
  dozen config
  dozen config set GREETING=hello DEBUG=
  dozen config set --stdin SECRET_KEY < key.txt
  dozen config unset GREETING
  dozen config get GREETING
  dozen config import .env
  dozen config export > .env")]
pub(crate) struct ConfigArgs {
    /// Show the values
    #[arg(long)]
    reveal: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    app: AppFlags,

    #[command(subcommand)]
    action: Option<ConfigAction>,
}

#[derive(Debug, clap::Subcommand)]
enum ConfigAction {
    /// Set config vars, all in one release
    #[command(after_help = "Other users of this machine may see a command line: prefer --stdin for secrets.

Examples:
  dozen config set GREETING=hello COLOUR=blue
  dozen config set --stdin SECRET_KEY < key.txt")]
    Set {
        /// Names and values
        #[arg(value_name = "NAME=VALUE", required_unless_present = "stdin")]
        pairs: Vec<OsString>,

        /// Take the value of this one from stdin, less one newline at its end
        #[arg(long, value_name = "NAME")]
        stdin: Option<ConfigVar>,
    },
    /// Remove config vars, all in one release
    #[command(after_help = "Examples:\n  dozen config unset GREETING COLOUR")]
    Unset {
        /// Their names
        #[arg(value_name = "NAME", required = true)]
        names: Vec<ConfigVar>,
    },
    /// Print the value of one config var
    #[command(after_help = "Examples:\n  dozen config get GREETING")]
    Get {
        /// Its name
        name: ConfigVar,
    },
    /// Set all config vars of a .env file, in one release
    #[command(after_help = "Examples:\n  dozen config import .env\n  dozen config import - < .env")]
    Import {
        /// The file, or - for stdin
        file: PathBuf,
    },
    /// Print all config vars as a .env file
    #[command(
        after_help = "What backing services set is left out.\n\nExamples:\n  dozen config export > .env"
    )]
    Export,
}

/// Runs the verb.
pub(crate) async fn config(args: ConfigArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let target = session.target(&args.app)?;
    match &args.action {
        None => list(&args, &target, session).await,
        Some(ConfigAction::Get { name }) => get(name, &target, session).await,
        Some(ConfigAction::Export) => export(&target, session).await,
        Some(ConfigAction::Set { pairs, stdin }) => {
            let mut values = pairs.iter().map(|pair| pair_of(pair)).collect::<Result<BTreeMap<_, _>, _>>()?;
            if let Some(name) = stdin {
                values.insert(name.clone(), read_stdin_value()?);
            }
            set(values, &target, session).await
        }
        Some(ConfigAction::Import { file }) => set(import(file, session)?, &target, session).await,
        Some(ConfigAction::Unset { names }) => {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let said = format!("{} unset", names.join(", "));
            change(&ConfigChange { unset: names, ..ConfigChange::default() }, &said, &target, session).await
        }
    }
}

async fn set(
    values: BTreeMap<ConfigVar, Vec<u8>>,
    target: &Target,
    session: &Session,
) -> Result<ExitStatus, CliError> {
    let names: Vec<&str> = values.keys().map(ConfigVar::as_str).collect();
    let said = format!("{} set", names.join(", "));
    let set = values.iter().map(|(name, value)| (name.to_string(), BASE64_STANDARD.encode(value))).collect();
    change(&ConfigChange { set, ..ConfigChange::default() }, &said, target, session).await
}

async fn change(
    change: &ConfigChange,
    said: &str,
    target: &Target,
    session: &Session,
) -> Result<ExitStatus, CliError> {
    let ended = carry_out(session, target, Method::PATCH, "/config", Some(json(change)?)).await?;
    ended.tell(session.out, target, said)
}

async fn entries(reveal: bool, target: &Target, session: &Session) -> Result<Vec<ConfigEntry>, CliError> {
    let path = target.path(if reveal { "/config?reveal=true" } else { "/config" });
    Ok(session.control().await?.get(&path).await?)
}

async fn list(args: &ConfigArgs, target: &Target, session: &Session) -> Result<ExitStatus, CliError> {
    let entries = entries(args.reveal, target, session).await?;
    if args.json {
        session.out.json(&entries)?;
        return Ok(ExitStatus::Success);
    }
    if entries.is_empty() {
        session.out.note(format_args!("{target} has no config var yet"));
    }
    let mut table = Table::default();
    for entry in &entries {
        let value = match &entry.value {
            Some(_) => String::from_utf8_lossy(&value_of(entry)?).into_owned(),
            None if args.reveal => FROM_THE_FIRST_RELEASE_ON.to_owned(),
            None => "********".to_owned(),
        };
        let description = entry.description.clone().unwrap_or_default();
        table.row([entry.name.to_string(), value, entry.origin.clone(), description]);
    }
    table.lines().into_iter().try_for_each(|line| session.out.result(line))?;
    Ok(ExitStatus::Success)
}

async fn get(name: &ConfigVar, target: &Target, session: &Session) -> Result<ExitStatus, CliError> {
    let entries = entries(true, target, session).await?;
    let Some(entry) = entries.iter().find(|entry| entry.name == *name) else {
        return Err(CliError::Unavailable {
            message: format!("`{name}` is not set"),
            hint: Some("list the names with `dozen config`".to_owned()),
        });
    };
    if entry.value.is_none() {
        return Err(CliError::Unavailable {
            message: format!(
                "`{name}` has no value yet: {} sets it {FROM_THE_FIRST_RELEASE_ON}",
                entry.origin
            ),
            hint: None,
        });
    }
    let mut value = value_of(entry)?;
    value.push(b'\n');
    session.out.bytes(&value)?;
    Ok(ExitStatus::Success)
}

async fn export(target: &Target, session: &Session) -> Result<ExitStatus, CliError> {
    for entry in entries(true, target, session).await? {
        if entry.origin.starts_with("service ") {
            continue;
        }
        match dotenv_line(entry.name.as_str(), &value_of(&entry)?) {
            Some(line) => session.out.result(line)?,
            None => {
                session.out.warning(&format!("`{}` is left out: no .env file can hold its value", entry.name))
            }
        }
    }
    Ok(ExitStatus::Success)
}

fn value_of(entry: &ConfigEntry) -> Result<Vec<u8>, CliError> {
    let text = entry.value.as_deref().unwrap_or_default();
    BASE64_STANDARD
        .decode(text)
        .map_err(|_| CliError::Client(ClientError::Answer("a value is not base64".into())))
}

/// `NAME=VALUE`; the value is bytes.
fn pair_of(pair: &OsStr) -> Result<(ConfigVar, Vec<u8>), CliError> {
    let bytes = pair.as_bytes();
    let usage = |message| CliError::Usage { message, hint: Some("write `NAME=VALUE`".to_owned()) };
    let Some(at) = bytes.iter().position(|b| *b == b'=') else {
        // It may be a value that went astray: it is not quoted.
        return Err(usage("an argument has no `=`".to_owned()));
    };
    let name = String::from_utf8_lossy(&bytes[..at]);
    let name: ConfigVar = name.parse().map_err(|error: dozen_model::names::NameError| CliError::Usage {
        message: error.to_string(),
        hint: None,
    })?;
    Ok((name, bytes[at + 1..].to_vec()))
}

fn read_stdin_value() -> Result<Vec<u8>, CliError> {
    let mut value = read_limited(io::stdin().lock(), Path::new("stdin"))?;
    if value.last() == Some(&b'\n') {
        value.pop();
    }
    Ok(value)
}

/// The config vars of a `.env` file.
fn import(path: &Path, session: &Session) -> Result<BTreeMap<ConfigVar, Vec<u8>>, CliError> {
    let bytes = if path == Path::new("-") {
        read_limited(io::stdin().lock(), Path::new("stdin"))?
    } else {
        let file = File::open(path).map_err(|source| CliError::File {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        read_limited(file, path)?
    };
    let file = Dotenv::parse(&bytes).map_err(|error| CliError::Unavailable {
        message: format!("`{}` was not imported: {error}", path.display()),
        hint: error.hint(),
    })?;
    file.warnings.iter().for_each(|warning| session.out.warning(warning));
    if file.vars.is_empty() {
        let message = format!("`{}` sets nothing", path.display());
        return Err(CliError::Unavailable { message, hint: None });
    }
    Ok(file.vars.into_iter().collect())
}

fn read_limited(from: impl Read, path: &Path) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let read = from.take(LIMIT + 1).read_to_end(&mut bytes);
    let read = read.map_err(|source| CliError::File { action: "read", path: path.to_owned(), source })?;
    if read as u64 > LIMIT {
        return Err(CliError::Unavailable {
            message: format!("`{}` holds more than {} MiB", path.display(), LIMIT >> 20),
            hint: Some("keep what is large in the repository or in a backing service".to_owned()),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_split_at_its_first_equals_sign() {
        let (name, value) = pair_of(OsStr::from_bytes(b"URL=a=b\xff ")).unwrap();
        assert_eq!((name.as_str(), value.as_slice()), ("URL", &b"a=b\xff "[..]));
        assert_eq!(pair_of(OsStr::new("EMPTY=")).unwrap().1, b"");
    }

    #[test]
    fn a_word_that_is_no_pair_is_not_quoted() {
        let error = pair_of(OsStr::new("s3cret")).unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
        assert_eq!(error.code(), 2);
        assert!(pair_of(OsStr::new("DOZEN_HOME=x")).is_err());
    }
}
