//! What travels over the API socket: requests, answers, progress events.
//!
//! HTTP/1.1 over the unix socket `DOZEN_RUN/control.sock`, JSON bodies. Long work answers with
//! newline-delimited JSON, one [`Progress`] an event, and ends with [`Progress::Finished`].
//! A refused request answers a 4xx (the user can act) or 5xx (our own fault) status and an
//! [`ErrorBody`]. The paths stand in [`paths`]; both sides build them from there.
//!
//! No type here carries a config value except [`ConfigEntry`], and that only when asked for.

use std::collections::BTreeMap;

use dozen_model::{
    digest::Digest,
    image::Language,
    names::{AppName, ConfigVar, Domain, InstanceName, ProcessType, ServiceName, StageName},
    release::ReleaseNumber,
};
use serde::{Deserialize, Serialize};

/// Paths of the API. `{stage}` paths start with [`paths::stage`].
pub mod paths {
    use dozen_model::names::{AppName, StageName};

    /// `GET`: [`super::ServerInfo`].
    pub const SERVER: &str = "/v1/server";
    /// `POST` [`super::StopServer`]: ends control and router, with `all` the apps too.
    pub const SERVER_STOP: &str = "/v1/server/stop";
    /// `GET`: `Vec<`[`super::DoctorCheck`]`>`.
    pub const DOCTOR: &str = "/v1/doctor";
    /// `GET`: `Vec<`[`super::AppSummary`]`>`; `POST` [`super::CreateApp`].
    pub const APPS: &str = "/v1/apps";

    /// `DELETE`: destroys the app and everything it owns, as [`super::Progress`].
    pub fn app(app: &AppName) -> String {
        format!("{APPS}/{app}")
    }

    /// The prefix of everything that belongs to one stage. Below it:
    ///
    /// | path | method and body | answer |
    /// |---|---|---|
    /// | `/deploys` | POST tar stream, header `x-dozen-source` = JSON [`super::DeploySource`] | progress |
    /// | `/deploys` | GET `?limit=` | `Vec<`[`super::DeploySummary`]`>` |
    /// | `/deploys/N/events` | GET `?follow=true` | progress, from the start |
    /// | `/deploys/N/cancel` | POST | [`super::Cancelled`] |
    /// | `/releases` | GET `?limit=` | `Vec<`[`super::ReleaseSummary`]`>` |
    /// | `/releases/N` | GET | [`super::ReleaseDetail`] |
    /// | `/rollback` | POST [`super::Rollback`] | progress |
    /// | `/config` | GET `?reveal=true` | `Vec<`[`super::ConfigEntry`]`>` |
    /// | `/config` | PATCH [`super::ConfigChange`] | progress |
    /// | `/domains` | GET; POST [`super::AddDomain`] | `Vec<`[`super::DomainEntry`]`>` |
    /// | `/domains/NAME` | DELETE | `Vec<`[`super::DomainEntry`]`>` |
    /// | `/ps` | GET | [`super::StageStatus`] |
    /// | `/scale` | POST `{"web": 2}` (process type to count) | progress |
    /// | `/restart` | POST [`super::ProcessFilter`] | progress |
    /// | `/stop` | POST [`super::ProcessFilter`] (all types: as `down`; or one instance `run.1`) | progress |
    /// | `/start` | POST, no body: the undo of `down` | progress |
    /// | `/run` | POST [`super::RunRequest`] | detached: [`super::RunStarted`]; else 101 and frames |
    /// | `/logs` | GET [`super::LogRequest`] as a query | [`super::LogRecord`] a line |
    /// | `/services` | GET; POST [`super::CreateService`] | `Vec<`[`super::ServiceEntry`]`>` |
    /// | `/services/NAME/attach` | POST [`super::AttachService`] | progress |
    /// | `/services/NAME/detach` | POST | progress |
    pub fn stage(app: &AppName, stage: &StageName) -> String {
        format!("{APPS}/{app}/stages/{stage}")
    }
}

/// Why a request was refused, as the CLI prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One sentence, lower case, no full stop, no secret.
    pub message: String,
    /// What the reader can do next.
    pub hint: Option<String>,
    /// The tail of the log that explains it, already redacted.
    #[serde(default)]
    pub log_tail: Vec<String>,
    /// Whether dozen itself is at fault (exit status 3) and not the request (1).
    #[serde(default)]
    pub internal: bool,
}

/// One event of long work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Progress {
    /// The work has its number; another deploy may run before it.
    Queued {
        /// Number of the deploy within its stage.
        deploy: u64,
        /// Whether another one has to end first.
        waiting: bool,
    },
    /// A step began.
    Step {
        /// The step's stable name, such as `release-phase`.
        step: String,
        /// What it does, for people: `Running the release phase`.
        title: String,
    },
    /// A line of the current step's log, redacted.
    Log {
        /// The line without its newline.
        line: String,
    },
    /// A step ended well.
    Done {
        /// The step's stable name.
        step: String,
        /// What it decided: `uv.lock unchanged, layer 1f3a reused`.
        result: String,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// Something the user should know.
    Warning {
        /// One sentence.
        text: String,
    },
    /// Advice.
    Hint {
        /// One sentence.
        text: String,
    },
    /// The last event.
    Finished {
        /// How it ended.
        outcome: Outcome,
        /// The release that serves now, when one was made.
        release: Option<ReleaseNumber>,
        /// Addresses at which the stage answers.
        urls: Vec<String>,
        /// Why it failed.
        error: Option<ErrorBody>,
    },
}

/// How long work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of it was done.
    Succeeded,
    /// A step refused; what ran before runs still.
    Failed,
    /// The user asked for its end before it took effect.
    Cancelled,
    /// A newer push took its place in the queue.
    Superseded,
}

/// About the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// dozen's version.
    pub version: String,
    /// Process id of control.
    pub pid: u32,
    /// Process id of the router, absent while it is being restarted.
    pub router_pid: Option<u32>,
    /// State folder.
    pub home: String,
    /// Addresses the router listens on.
    pub listen: Vec<String>,
    /// Base domain: apps answer at `APP.DOMAIN`.
    pub domain: String,
    /// Start of control, unix seconds.
    pub started_at: i64,
    /// Whether it runs as root, with users of their own for apps.
    pub root: bool,
    /// Apps known.
    pub apps: u64,
    /// Instances running.
    pub instances: u64,
}

/// `POST` [`paths::SERVER_STOP`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopServer {
    /// Stop the apps too.
    pub all: bool,
}

/// One line of `dozen doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorCheck {
    /// What was looked at.
    pub name: String,
    /// Whether it is as it should be, works with less, or is broken.
    pub state: DoctorState,
    /// What was seen, and what it means.
    pub finding: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Result of one doctor check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoctorState {
    /// As it should be.
    Ok,
    /// Works, with less.
    Degraded,
    /// Does not work.
    Broken,
}

/// `POST` [`paths::APPS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateApp {
    /// Its name.
    pub name: AppName,
    /// Do not refuse when it exists.
    #[serde(default)]
    pub if_missing: bool,
}

/// One app of `dozen apps`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSummary {
    /// Its name.
    pub name: AppName,
    /// Its stages.
    pub stages: Vec<StageSummary>,
    /// When it was created, unix seconds.
    pub created_at: i64,
}

/// One stage of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageSummary {
    /// Its name.
    pub name: StageName,
    /// The release that serves, if any.
    pub release: Option<ReleaseNumber>,
    /// Commit of that release.
    pub commit: Option<String>,
    /// Instances running and wanted.
    pub running: u32,
    /// Instances wanted.
    pub wanted: u32,
    /// Whether `down` stopped it.
    pub stopped: bool,
    /// Addresses.
    pub urls: Vec<String>,
}

/// Where a tree came from; what the exporter saw, header `x-dozen-source`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploySource {
    /// Commit id, absent for an archive.
    pub commit: Option<String>,
    /// What the user named: a branch, a tag, a file name.
    pub reference: Option<String>,
    /// First line of the commit message.
    pub subject: Option<String>,
    /// Sub-folder of the repository that was exported.
    pub folder: Option<String>,
    /// Whether uncommitted changes are in it.
    #[serde(default)]
    pub dirty: bool,
    /// Make the app when it does not exist (`up`).
    #[serde(default)]
    pub create: bool,
    /// `archive` when the body is the user's archive and not our own tar stream.
    #[serde(default)]
    pub archive: Option<ArchiveFormat>,
}

/// Format of an uploaded archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveFormat {
    /// `.tar.gz`
    TarGz,
    /// `.tar`
    Tar,
    /// `.zip`
    Zip,
}

/// One deploy of `dozen builds`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploySummary {
    /// Number within the stage.
    pub number: u64,
    /// `deploy`, `config`, `rollback`, `attach`, `detach`, `formation`.
    pub kind: String,
    /// `queued`, `running`, `succeeded`, `failed`, `cancelled`, `superseded`.
    pub state: String,
    /// The step it is in or ended in.
    pub step: Option<String>,
    /// Where the tree came from.
    pub source: DeploySource,
    /// Who asked.
    pub who: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Seconds it took, when ended.
    pub took_ms: Option<u64>,
    /// The release it made.
    pub release: Option<ReleaseNumber>,
    /// Digest of the image it built.
    pub image: Option<Digest>,
    /// Why it failed.
    pub error: Option<ErrorBody>,
}

/// Answer to a cancel request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// Whether it will end; false when it is past the point (the release phase has begun).
    pub cancelled: bool,
    /// The step it is in.
    pub step: Option<String>,
}

/// One release of `dozen releases`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSummary {
    /// Its number.
    pub number: ReleaseNumber,
    /// Whether it serves now.
    pub current: bool,
    /// What changed, names only: `deploy 1f3a9c2`, `set GREETING`, `rollback to v2`.
    pub change: String,
    /// Whether it went live, or why not: `live`, `failed`, `pending`.
    pub state: String,
    /// Who.
    pub who: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Commit of its image's source.
    pub commit: Option<String>,
    /// Image digest.
    pub image: Digest,
}

/// `dozen releases info N`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseDetail {
    /// The same as in the list.
    pub summary: ReleaseSummary,
    /// Names of the config vars it carries.
    pub config: Vec<String>,
    /// Attached services: var to service.
    pub attachments: BTreeMap<String, ServiceName>,
    /// Instances wanted when it was made.
    pub formation: BTreeMap<ProcessType, u32>,
    /// Process types and command lines.
    pub processes: BTreeMap<ProcessType, String>,
    /// Language of the image.
    pub language: Language,
    /// Runtime, such as `python 3.11.7`.
    pub runtime: Option<String>,
    /// Layers: role and digest.
    pub layers: Vec<(String, Digest)>,
}

/// `POST /rollback`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// The release to return to; the one that served before the current when absent.
    pub to: Option<ReleaseNumber>,
    /// Run the release phase of the old image too.
    #[serde(default)]
    pub run_release_phase: bool,
}

/// One config var.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigEntry {
    /// Its name.
    pub name: ConfigVar,
    /// Where it comes from: `set`, `generated`, `default`, or `service NAME`.
    pub origin: String,
    /// Base64 of the value, only when asked for.
    pub value: Option<String>,
}

/// `PATCH /config`: values are bytes, in base64.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// Names and values to set.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Names to remove.
    #[serde(default)]
    pub unset: Vec<String>,
}

/// `POST /domains`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddDomain {
    /// The domain.
    pub domain: Domain,
}

/// One domain of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainEntry {
    /// The domain.
    pub domain: String,
    /// Whether dozen made it up (`APP.localhost`) or the user added it.
    pub automatic: bool,
    /// The address to open.
    pub url: String,
}

/// Which processes a verb means: none named is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFilter {
    /// `web`, `web.1` or `run.1`.
    pub target: Option<String>,
}

/// `dozen ps`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageStatus {
    /// App.
    pub app: AppName,
    /// Stage.
    pub stage: StageName,
    /// The release that serves.
    pub release: Option<ReleaseNumber>,
    /// Whether `down` stopped it.
    pub stopped: bool,
    /// Instances wanted of each process type.
    pub formation: BTreeMap<ProcessType, u32>,
    /// Command lines of the process types.
    pub processes: BTreeMap<ProcessType, String>,
    /// Instances and one-off processes.
    pub instances: Vec<InstanceStatus>,
    /// Walls that are active, and what is missing with its reason.
    pub walls: Vec<String>,
}

/// One running process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// `web.1`, `run.3`.
    pub name: InstanceName,
    /// `starting`, `up`, `draining`, `stopping`, `backoff`, `crashed`, `exited`.
    pub state: String,
    /// Why, for `backoff`, `crashed` and `exited`: `exit status 42`, `signal 9`.
    pub reason: Option<String>,
    /// Its release.
    pub release: ReleaseNumber,
    /// Unix seconds of its last start.
    pub started_at: i64,
    /// Restarts since its launch.
    pub restarts: u32,
    /// Memory of everything inside, in bytes (PSS where readable, else RSS).
    pub memory: Option<u64>,
    /// Process id of the app's main process, as seen on the host.
    pub pid: Option<u32>,
    /// Where the router reaches it.
    pub endpoint: Option<String>,
    /// Requests in flight.
    pub in_flight: Option<u64>,
    /// Command line, for one-off processes.
    pub command: Option<String>,
    /// Who started it, for one-off processes.
    pub who: Option<String>,
}

/// `POST /run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// The command and its arguments; a single word with spaces is split like a Procfile line.
    pub argv: Vec<String>,
    /// Run in this release instead of the current one.
    pub release: Option<ReleaseNumber>,
    /// The caller's terminal, when it has one.
    pub terminal: Option<TerminalRequest>,
    /// Do not attach; answer with the name.
    #[serde(default)]
    pub detach: bool,
}

/// The caller's terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalRequest {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
    /// `TERM`.
    pub term: String,
}

/// Answer to a detached run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// Its name, `run.1`.
    pub name: InstanceName,
    /// The release it runs in.
    pub release: ReleaseNumber,
}

/// Query of `GET /logs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRequest {
    /// The last N lines.
    pub lines: Option<usize>,
    /// `web` or `web.1`.
    pub ps: Option<String>,
    /// `app` or `dozen`.
    pub source: Option<String>,
    /// Unix nanoseconds.
    pub since_ns: Option<u64>,
    /// Go on as lines come.
    #[serde(default)]
    pub follow: bool,
}

/// One log line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Unix nanoseconds.
    pub time_ns: u64,
    /// `app` or `dozen`.
    pub source: String,
    /// `web.1`, `router`, `release`.
    pub process: String,
    /// The line, invalid UTF-8 replaced.
    pub text: String,
    /// Whether the line was longer than the limit and goes on in the next record.
    #[serde(default)]
    pub continued: bool,
}

/// `POST /services`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateService {
    /// Its name within the stage.
    pub name: ServiceName,
    /// `sqlite`, `volume`, `external` …
    pub kind: String,
    /// URL of an external one. A secret.
    pub url: Option<String>,
    /// Mount path of a volume.
    pub path: Option<String>,
}

/// `POST /services/NAME/attach`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachService {
    /// The config var; the kind's usual one when absent.
    pub var: Option<ConfigVar>,
}

/// One backing service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEntry {
    /// Its name.
    pub name: ServiceName,
    /// Its kind.
    pub kind: String,
    /// Config vars it is attached to.
    pub attached: Vec<ConfigVar>,
    /// What there is to know without a secret: folder and size, scheme and host.
    pub detail: String,
    /// Unix seconds.
    pub created_at: i64,
}
