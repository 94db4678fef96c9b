//! Settings of dozen itself: what was decided, once, before any verb runs.
//!
//! The only place in the workspace that reads the environment. Each setting is resolved in one
//! order: flag, then `DOZEN_*` variable, then default. Past [`resolve`] nobody looks at flags or
//! variables again; what other rooms need they get as parameters.
//!
//! An empty variable counts as one that is not set. Config vars of apps are no settings and never
//! pass through here.
//!
//! Start reading at [`Settings`] and [`resolve`].

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use dozen_model::{
    address_range::NotARange,
    digest::Digest,
    hint::Hint,
    names::{AppName, NameError, StageName},
};

mod acme;
mod caller;
mod router_limits;
mod server;
mod server_address;

pub(crate) use caller::Caller;
pub(crate) use server::{ServerFlags, ServerSettings};
pub(crate) use server_address::{ServerAddress, SshHost};

use crate::{
    context::Target,
    output::{ColourChoice, Style},
};

#[cfg(test)]
mod tests;

/// The variables that dozen reads, with default and meaning: the reference is generated from it.
pub(crate) const VARIABLES: &[(&str, &str, &str)] = &[
    ("DOZEN_HOME", "root: `/var/lib/dozen`; else `dozen` in the XDG data folder", "Folder of all state"),
    (
        "DOZEN_RUN",
        "root: `/run/dozen`; else `dozen` in the XDG run-time folder; `run` in `DOZEN_HOME` when that is set",
        "Folder of the sockets",
    ),
    (
        "DOZEN_SERVER",
        "the socket in `DOZEN_RUN`",
        "Server to talk to: `ssh://user@host[:port]` or `unix:/path`",
    ),
    ("DOZEN_APP", "the Git remote `dozen`", "App that a verb means"),
    ("DOZEN_STAGE", "`production`", "Stage that a verb means"),
    ("DOZEN_LISTEN", "`127.0.0.1:1212`", "Addresses the router listens on, with commas between them"),
    ("DOZEN_LISTEN_HTTPS", "none", "Addresses the router listens on for HTTPS, with commas between them"),
    (
        "DOZEN_HTTPS_PORT",
        "the port listened on for HTTPS",
        "Port at which clients reach HTTPS, where something before this machine changes it",
    ),
    ("DOZEN_DOMAIN", "`localhost`", "Base domain: apps answer at `APP.DOMAIN`"),
    (
        "DOZEN_ACME",
        "`off`",
        "`on`: every public domain of an app gets a certificate from the ACME server, whose terms of service \
         you agree to by that",
    ),
    (
        "DOZEN_ACME_DIRECTORY",
        "Let's Encrypt",
        "URL of the directory of the ACME server that certificates come from",
    ),
    ("DOZEN_ACME_EMAIL", "none", "Whom the ACME server may write to"),
    ("DOZEN_ACME_CA", "the system's", "PEM file of the authorities that a private ACME server's own TLS has"),
    (
        "DOZEN_TRUSTED_PROXIES",
        "none",
        "Addresses, or ranges such as `10.0.0.0/8`, of proxies before the router that may say who the client is, with commas between them",
    ),
    ("DOZEN_ROUTER_HEADER_READ", "`10s`", "How long a request's head may take to arrive"),
    ("DOZEN_ROUTER_HEAD_SIZE", "`64K`", "The largest request head"),
    ("DOZEN_ROUTER_HEADERS", "`100`", "The most headers of a request"),
    ("DOZEN_ROUTER_KEEP_ALIVE", "`75s`", "How long a client's connection may stay without a request"),
    ("DOZEN_ROUTER_CONNECT", "`5s`", "How long a connection to an instance may take"),
    (
        "DOZEN_ROUTER_CONNECTIONS",
        "`262144`, or half of the descriptors that the router may open",
        "Client connections open at once; others wait",
    ),
    (
        "DOZEN_ROUTER_CONNECTIONS_PER_CLIENT",
        "`4096`",
        "The same for each client address; trusted proxies have no such bound",
    ),
    ("DOZEN_ROUTER_HELD", "`1000`", "Requests of a stage that may wait for an instance at once"),
    ("DOZEN_KEY_FILE", "`key` in `DOZEN_HOME`", "Key that config vars are encrypted with"),
    ("DOZEN_LOG", "`warn` for verbs, `info` for the server", "Level of dozen's own log"),
    ("NO_COLOR", "", "No colour when set"),
    ("CLICOLOR", "", "No colour when `0`"),
    ("CLICOLOR_FORCE", "", "Colour also into a pipe when set and not `0`"),
];

/// The environment as it was when the process started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub(crate) fn read() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// An environment for tests.
    #[cfg(test)]
    pub(crate) fn of(vars: &[(&str, &str)]) -> Self {
        Self(vars.iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// A variable's value, `None` when it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// A variable's value as text.
    fn text(&self, name: &'static str) -> Result<Option<&str>, SettingsError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.to_str().map(Some).ok_or(SettingsError::NotText { name })
    }

    /// A variable's value as an absolute path.
    fn path(&self, name: &'static str) -> Result<Option<PathBuf>, SettingsError> {
        self.get(name).map(|value| absolute(name, Path::new(value))).transpose()
    }

    /// A folder of the XDG base directories, which says that relative paths are to be ignored.
    fn xdg(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }
}

/// Flags that every verb takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct GlobalFlags {
    /// Server to talk to: `ssh://user@host[:port]` or `unix:/path`
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    pub(crate) server: Option<ServerAddress>,

    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", value_enum, help_heading = "Global options")]
    pub(crate) color: Option<ColourChoice>,
}

/// What was decided.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Folder of all state.
    pub(crate) home: PathBuf,
    /// Folder of the sockets.
    pub(crate) run: PathBuf,
    /// The server that verbs talk to.
    pub(crate) server: ServerAddress,
    /// Where else to look when nothing answers there: the machine's root server.
    pub(crate) fallback: Option<ServerAddress>,
    /// The caller's data folder, for the Git repositories that pushes go to.
    pub(crate) data: Result<PathBuf, SettingsError>,
    /// `DOZEN_APP`.
    pub(crate) app: Option<AppName>,
    /// `DOZEN_STAGE`.
    pub(crate) stage: Option<StageName>,
    /// How output looks.
    pub(crate) style: Style,
    /// `TERM`, for the terminal of a one-off process.
    pub(crate) term: String,
    /// `DOZEN_LOG`.
    pub(crate) log: Option<String>,
    /// Whether the caller is root.
    pub(crate) root: bool,
    /// This executable.
    pub(crate) binary: PathBuf,
}

impl Settings {
    /// A short name of the server, for folders that belong to it alone.
    pub(crate) fn server_id(&self) -> String {
        Digest::of(self.server.to_string().as_bytes()).short().to_owned()
    }

    /// The Git repository that pushes of a stage go to: the calling user's own, on the server's
    /// machine.
    pub(crate) fn push_repository(&self, target: &Target) -> Result<PathBuf, SettingsError> {
        let data = self.data.clone()?;
        Ok(data.join("dozen-git").join(self.server_id()).join(target.repository()))
    }

    /// Whether the server is the one that this user would start here.
    pub(crate) fn server_is_own(&self) -> bool {
        self.server == ServerAddress::Unix(self.run.join("control.sock"))
    }

    /// The log of a detached server.
    pub(crate) fn server_log(&self) -> PathBuf {
        self.home.join("logs").join("server.log")
    }
}

/// Decides every setting.
pub(crate) fn resolve(
    flags: &GlobalFlags,
    env: &Environment,
    caller: &Caller,
) -> Result<Settings, SettingsError> {
    let (home, home_was_named) = home(env, caller)?;
    let (run, run_was_named) = run(env, caller, &home, home_was_named)?;
    let named = match &flags.server {
        Some(address) => Some(address.clone()),
        None => {
            env.text("DOZEN_SERVER")?.map(|text| text.parse().map_err(SettingsError::Server)).transpose()?
        }
    };
    let own = named.is_none() && !caller.root && !run_was_named && !home_was_named;
    let fallback = own.then(|| ServerAddress::Unix(PathBuf::from("/run/dozen/control.sock")));
    // A user without a home folder who named one for dozen has that.
    let data =
        data_folder(env, caller).or_else(|none| if home_was_named { Ok(home.clone()) } else { Err(none) });
    Ok(Settings {
        server: named.unwrap_or_else(|| ServerAddress::Unix(run.join("control.sock"))),
        fallback,
        home,
        run,
        data,
        app: name(env, "DOZEN_APP")?,
        stage: name(env, "DOZEN_STAGE")?,
        style: Style::decide(flags.color, env, caller.terminals),
        term: env.get("TERM").and_then(OsStr::to_str).unwrap_or("dumb").to_owned(),
        log: env.text("DOZEN_LOG")?.map(str::to_owned),
        root: caller.root,
        binary: caller.binary.clone(),
    })
}

/// The state folder, and whether the user named it.
fn home(env: &Environment, caller: &Caller) -> Result<(PathBuf, bool), SettingsError> {
    match env.path("DOZEN_HOME")? {
        Some(path) => Ok((path, true)),
        None if caller.root => Ok((PathBuf::from("/var/lib/dozen"), false)),
        None => Ok((data_folder(env, caller)?.join("dozen"), false)),
    }
}

/// The folder of the sockets, and whether the user named it.
///
/// A state folder that was named brings its own: otherwise a second server's verbs would silently
/// talk to the first one.
fn run(
    env: &Environment,
    caller: &Caller,
    home: &Path,
    home_was_named: bool,
) -> Result<(PathBuf, bool), SettingsError> {
    if let Some(path) = env.path("DOZEN_RUN")? {
        return Ok((path, true));
    }
    let usual = if caller.root { Some(PathBuf::from("/run")) } else { env.xdg("XDG_RUNTIME_DIR") };
    Ok(match usual {
        Some(folder) if !home_was_named => (folder.join("dozen"), false),
        _ => (home.join("run"), false),
    })
}

/// The XDG data folder.
fn data_folder(env: &Environment, caller: &Caller) -> Result<PathBuf, SettingsError> {
    if let Some(folder) = env.xdg("XDG_DATA_HOME") {
        return Ok(folder);
    }
    user_home(env, caller).map(|home| home.join(".local/share")).ok_or(SettingsError::NoHome)
}

/// The caller's home folder: `HOME`, else what the user database says.
fn user_home(env: &Environment, caller: &Caller) -> Option<PathBuf> {
    env.xdg("HOME").or_else(|| (caller.passwd_home)())
}

fn name<T: std::str::FromStr<Err = NameError>>(
    env: &Environment,
    variable: &'static str,
) -> Result<Option<T>, SettingsError> {
    let Some(text) = env.text(variable)? else { return Ok(None) };
    text.parse().map(Some).map_err(|source| SettingsError::Name { variable, source })
}

fn absolute(name: &'static str, path: &Path) -> Result<PathBuf, SettingsError> {
    std::path::absolute(path).map_err(|source| SettingsError::Path { name, source: source.into() })
}

/// Why the settings could not be decided.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("`{name}` is not UTF-8 text")]
    NotText { name: &'static str },
    #[error("`{variable}` does not hold a name")]
    Name { variable: &'static str, source: NameError },
    #[error("`{name}` does not hold a path that can be made absolute")]
    Path {
        name: &'static str,
        #[source]
        source: std::sync::Arc<std::io::Error>,
    },
    #[error("no home folder is known for this user")]
    NoHome,
    #[error(transparent)]
    Server(#[from] server_address::NotAServer),
    #[error("`{text}` is not an address to listen on")]
    Listen { text: String },
    #[error("`DOZEN_HTTPS_PORT` does not hold a port: `{text}`")]
    Port { text: String },
    #[error("`DOZEN_DOMAIN` does not hold a domain")]
    Domain { source: NameError },
    #[error("`{name}` is neither `on` nor `off`")]
    Switch { name: &'static str },
    #[error("`DOZEN_ACME_DIRECTORY` does not hold a URL that begins with `https://`")]
    AcmeDirectory,
    #[error("`DOZEN_ACME_EMAIL` does not hold one e-mail address")]
    AcmeEmail,
    #[error("`DOZEN_TRUSTED_PROXIES` does not hold addresses of proxies")]
    Proxy { source: NotARange },
    #[error("`{name}`: {reason}")]
    RouterLimit { name: &'static str, reason: String },
}

impl Hint for SettingsError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoHome => Some("set `HOME` or `DOZEN_HOME`".to_owned()),
            Self::Listen { .. } => {
                Some("write an address and a port, such as `127.0.0.1:1212` or `[::1]:80`".to_owned())
            }
            _ => None,
        }
    }
}
