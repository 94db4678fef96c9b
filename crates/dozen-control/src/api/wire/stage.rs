//! What belongs to one stage: deploys, releases, config, processes, logs, services.

use std::{collections::BTreeMap, time::Duration};

use dozen_model::{
    address_range::AddressRange,
    digest::Digest,
    image::Language,
    names::{AppName, ConfigVar, Domain, InstanceName, ProcessType, ServiceName, StageName},
    release::ReleaseNumber,
};
use serde::{Deserialize, Serialize};

use super::{DomainCertificate, ErrorBody};

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
    /// `deploy`, `config`, `rollback`, `attach` or `detach`.
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
    /// How long it took, in milliseconds, when ended.
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

/// One config var. It has no `Debug` on purpose.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigEntry {
    /// Its name.
    pub name: ConfigVar,
    /// Where it comes from: `set`, `generated`, `default`, or `service NAME`.
    pub origin: String,
    /// Base64 of the value, only when asked for; a service that is attached before the first release
    /// has none yet.
    pub value: Option<String>,
    /// What the app says it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
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
    /// What clients that speak TLS are shown.
    #[serde(default)]
    pub certificate: Option<DomainCertificate>,
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
    /// Maintenance and pause, absent while the router does not answer.
    #[serde(default)]
    pub traffic: Option<TrafficStatus>,
}

/// Whether a stage is in maintenance or paused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficStatus {
    /// Whether visitors get 503.
    pub maintenance: bool,
    /// Who is let through all the same.
    pub allow: Vec<AddressRange>,
    /// For how long requests still wait, in milliseconds; absent when they do not.
    pub paused_for_ms: Option<u64>,
    /// Requests at instances now, WebSockets not counted.
    pub in_flight: u64,
}

/// `POST /maintenance`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceWish {
    /// Whether it begins or ends.
    pub on: bool,
    /// Who is let through.
    #[serde(default)]
    pub allow: Vec<AddressRange>,
}

/// `POST /pause`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseRequest {
    /// When requests go on by themselves, in milliseconds from now.
    pub limit_ms: u64,
    /// End only when nothing is in flight.
    #[serde(default)]
    pub wait: bool,
}

impl PauseRequest {
    /// The shortest limit.
    pub const SHORTEST: Duration = Duration::from_secs(1);
    /// The longest limit: who waits longer has gone away.
    pub const LONGEST: Duration = Duration::from_secs(600);
}

/// One running process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// `web.1`, `run.3`.
    pub name: InstanceName,
    /// `starting`, `up`, `draining`, `stopping`, `crashed`, `exited`.
    pub state: String,
    /// Why, for `crashed` and `exited`: `exit status 42`, `signal 9`.
    pub reason: Option<String>,
    /// Unix seconds of its next start, while a crashed or exited instance waits for that.
    #[serde(default)]
    pub starts_again_at: Option<i64>,
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

/// `POST /run`. It has no `Debug` on purpose: a word may be a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Query of `GET /logs` and `POST /logs`.
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

/// What comes of `/logs`, one a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LogItem {
    /// A line of the log.
    Line(LogRecord),
    /// Behind each batch that a follower gets: where it stands in the streams that have moved. Who
    /// was cut off sends all of them together as the body of `POST /logs` to go on behind that batch.
    Position {
        /// The streams that have moved.
        position: LogPosition,
    },
    /// Why no more comes.
    Failed {
        /// The refusal.
        failed: ErrorBody,
    },
}

/// Where a reader stands in the streams of a log.
pub type LogPosition = dozen_logs::Cursor;

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
    /// Whether it takes the place of a service that has the var.
    #[serde(default)]
    pub replace: bool,
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
    /// What may surprise, said when it is made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
