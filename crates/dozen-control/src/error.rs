//! Why the control plane refused or could not do something.

use std::{io, path::PathBuf, time::Duration};

use dozen_model::{
    hint::Hint,
    manifest::MountPath,
    names::{AppName, ConfigVar, Domain, ServiceName, StageName},
    release::ReleaseNumber,
};

use crate::{api::wire::ErrorBody, certs::PairFault, key_file::KeyFault};

/// Why a request was refused, or what of our own went wrong.
///
/// No variant holds a config value or a service's URL: errors reach logs and screens.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message is its documentation")]
pub enum ControlError {
    #[error("another server runs on `{}`", home.display())]
    HomeTaken { home: PathBuf },
    #[error("could not prepare `{}`", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("could not listen on `{address}`{}", where_already(holder.as_deref()))]
    Listen { address: String, holder: Option<String>, source: io::Error },
    #[error("the database `{}` was written by a newer dozen (schema {found}, this one knows {known})", path.display())]
    NewerSchema { path: PathBuf, found: u32, known: u32 },
    #[error("the database `{}` is damaged: {detail}", path.display())]
    DamagedStore { path: PathBuf, detail: String },
    #[error("the database `{}` is missing or empty, but this home holds apps", path.display())]
    LostStore { path: PathBuf },
    #[error("could not read or write the database")]
    Store(#[from] rusqlite::Error),
    #[error("could not use the key file `{}`: {fault}", path.display())]
    Key { path: PathBuf, fault: KeyFault },
    #[error("a stored secret of {what} does not open with this key")]
    Sealed { what: String },
    #[error("there is no app `{app}`")]
    NoSuchApp { app: String, nearest: Option<String> },
    #[error("app `{app}` has no stage `{stage}`")]
    NoSuchStage { app: AppName, stage: StageName, nearest: Option<String> },
    #[error("there is an app `{app}` already")]
    AppTaken { app: AppName },
    #[error("`{app}` is being destroyed")]
    Doomed { app: AppName },
    #[error("there is no release {number} of `{app}`")]
    NoSuchRelease { app: AppName, number: ReleaseNumber, last: Option<ReleaseNumber> },
    #[error("`{app}` has no release yet")]
    NoRelease { app: AppName },
    #[error("`{app}` has no earlier release to return to")]
    NoEarlierRelease { app: AppName },
    #[error("there is no process type `{process}` in this release")]
    NoSuchProcess { process: String, known: Vec<String>, nearest: Option<String> },
    #[error("there is no process `{name}`")]
    NoSuchInstance { name: String },
    #[error("`{name}` is an instance of the formation and would be started again")]
    OfFormation { name: dozen_model::names::InstanceName },
    #[error("there is no deploy {number}")]
    NoSuchDeploy { number: u64 },
    #[error("`{domain}` belongs to `{owner}`")]
    DomainTaken { domain: Domain, owner: AppName },
    #[error("`{domain}` is not a domain of this app")]
    NoSuchDomain { domain: String },
    #[error("`{domain}` is below the base domain, where dozen gives every app its name")]
    DomainReserved { domain: Domain },
    #[error(transparent)]
    Certificate(#[from] PairFault),
    #[error("there is no certificate for `{name}`")]
    NoSuchCertificate { name: String },
    #[error("several certificates are for `{name}`: number {}", numbers.join(", "))]
    SeveralCertificates { name: String, numbers: Vec<String> },
    #[error("the certificate for `{name}` comes from the local authority, which makes it again")]
    LocalCertificate { name: String },
    #[error("the certificate for `{name}` would be asked for again, because DOZEN_ACME is on")]
    AutomaticCertificate { name: String },
    #[error("no certificate for `{name}` comes from an ACME server")]
    NotFromAcme { name: String },
    #[error("no public authority issues a certificate for `{name}` by HTTP-01 or TLS-ALPN-01")]
    NotPublic { name: String },
    #[error("`{domain}` is not a domain of any app")]
    DomainOfNobody { domain: Domain },
    #[error("the ACME server asks to wait until {until}")]
    AcmeWaits { until: String },
    #[error("there is no local authority, because the router has no address for TLS")]
    NoAuthority,
    #[error("there is no service `{name}`")]
    NoSuchService { name: String, nearest: Option<String> },
    #[error("there is a service `{name}` already")]
    ServiceTaken { name: ServiceName },
    #[error("`{name}` is attached to nothing")]
    NotAttached { name: ServiceName },
    #[error("`{service}` at `{path}` overlaps the mount of `{other}`")]
    MountTaken { service: ServiceName, path: MountPath, other: ServiceName },
    #[error("`{var}` is already attached to `{service}`")]
    VarAttached { var: ConfigVar, service: ServiceName, wanted: ServiceName },
    #[error("`{var}` is set by the service `{service}`")]
    VarOfService { var: ConfigVar, service: ServiceName },
    #[error("`{var}` is set in the app's config; attaching `{service}` to it would lose that value")]
    VarSet { var: ConfigVar, service: ServiceName },
    #[error("`{name}` is not set")]
    NotSet { name: String, nearest: Option<String> },
    #[error("config of `{app}` would be {bytes} bytes; the limit is {limit}")]
    ConfigTooLarge { app: AppName, bytes: usize, limit: usize },
    #[error("the value of `{var}` contains a NUL byte, which no environment can hold")]
    NulInValue { var: String },
    #[error("required config is not set: {}", required(missing))]
    RequiredConfig { missing: Vec<(ConfigVar, Option<String>)> },
    #[error("{count} instances of `{process}` are more than the limit of {limit}")]
    TooMany { process: String, count: u32, limit: u32 },
    #[error("a pause is from {least:?} to {most:?} long")]
    PauseLimit { least: Duration, most: Duration },
    #[error("the pause is over, and {left} of the requests before it are still in flight")]
    PauseOver { left: usize },
    #[error("the image has no process types")]
    NoProcesses,
    #[error("the release phase ended with {reason}")]
    PhaseFailed { reason: String, log_tail: Vec<String> },
    #[error("the release phase took longer than {limit:?} and was stopped")]
    PhaseTimeout { limit: Duration, log_tail: Vec<String> },
    #[error("the release phase was found dead without a result; it is not run again")]
    PhaseUnknown { log_tail: Vec<String> },
    #[error("{message}")]
    NotReady { message: String, hint: Option<String>, log_tail: Vec<String> },
    #[error("{message}")]
    Build { message: String, hint: Option<String>, log_tail: Vec<String>, internal: bool },
    #[error("{message}")]
    UnknownKind { message: String, hint: String },
    #[error("the deploy was cancelled")]
    Cancelled,
    #[error("dozen came to a fault of its own, which stands in the server's log")]
    Panicked,
    #[error("the server and all apps are being stopped")]
    Stopping,
    #[error("`{name}` was stopped before it began")]
    EndedBefore { name: dozen_model::names::InstanceName },
    #[error("{0}")]
    BadRequest(String),
    #[error(transparent)]
    Service(#[from] dozen_services::ServiceError),
    #[error(transparent)]
    Name(#[from] dozen_model::names::NameError),
    #[error("could not run a process: {0}")]
    Run(#[from] dozen_run::RunError),
    #[error("{0}")]
    Logs(String),
    #[error("the router did not answer: {0}")]
    Router(String),
    #[error("could not {what}")]
    Io { what: String, source: io::Error },
}

/// Names, each with what the app says it is for.
fn required(missing: &[(ConfigVar, Option<String>)]) -> String {
    let told = missing.iter().map(|(name, description)| match description {
        Some(text) => format!("{name} ({})", text.chars().take(200).collect::<String>()),
        None => name.to_string(),
    });
    told.collect::<Vec<_>>().join(", ")
}

fn where_already(holder: Option<&str>) -> String {
    holder.map(|holder| format!(", where {holder} listens already")).unwrap_or_default()
}

impl ControlError {
    /// An I/O error with what was being done.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Whether dozen or its machine is at fault, not the request.
    pub fn is_internal(&self) -> bool {
        match self {
            _ if self.is_disk_full() => false,
            Self::Store(_)
            | Self::Sealed { .. }
            | Self::Router(_)
            | Self::Run(_)
            | Self::Logs(_)
            | Self::Folder { .. }
            | Self::Panicked
            | Self::Io { .. } => true,
            Self::Build { internal, .. } => *internal,
            _ => false,
        }
    }

    pub(crate) fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. }
            | Self::Folder { source, .. }
            | Self::Key { fault: KeyFault::NotMade(source), .. } => {
                source.kind() == io::ErrorKind::StorageFull
            }
            Self::Store(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            _ => false,
        }
    }

    /// Whether what was asked for does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::NoSuchApp { .. }
                | Self::NoSuchStage { .. }
                | Self::NoSuchRelease { .. }
                | Self::NoSuchDeploy { .. }
                | Self::NoSuchService { .. }
                | Self::NoSuchInstance { .. }
                | Self::NoSuchProcess { .. }
                | Self::NoSuchDomain { .. }
                | Self::NoSuchCertificate { .. }
                | Self::NotFromAcme { .. }
                | Self::NotSet { .. }
        )
    }

    /// The form that travels to the CLI: the message with its causes, the hint, the log's tail.
    pub fn body(&self) -> ErrorBody {
        let mut message = self.to_string();
        let mut last = message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            // A library's error may say its cause's words itself, or the other way round.
            if !message.contains(&text) && !text.contains(&last) {
                message = format!("{message}: {text}");
            }
            last = text;
            cause = error.source();
        }
        ErrorBody { message, hint: self.hint(), log_tail: self.log_tail(), internal: self.is_internal() }
    }

    fn log_tail(&self) -> Vec<String> {
        match self {
            Self::PhaseFailed { log_tail, .. }
            | Self::PhaseTimeout { log_tail, .. }
            | Self::PhaseUnknown { log_tail }
            | Self::NotReady { log_tail, .. }
            | Self::Build { log_tail, .. } => log_tail.clone(),
            _ => Vec::new(),
        }
    }
}
