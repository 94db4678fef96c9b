//! What travels over the API socket: requests, answers, progress events.
//!
//! HTTP/1.1 over the unix socket `DOZEN_RUN/control.sock`, JSON bodies. Long work answers with
//! newline-delimited JSON, one [`Progress`] an event, and ends with [`Progress::Finished`].
//! A refused request answers a 4xx (the user can act) or 5xx (our own fault) status and an
//! [`ErrorBody`]. The paths stand in [`paths`]; both sides build them from there.
//!
//! No type here carries a config value except [`ConfigEntry`], and that only when asked for.

use dozen_model::{
    names::{AppName, StageName},
    release::ReleaseNumber,
};
use serde::{Deserialize, Serialize};

mod certificates;
mod stage;

pub use certificates::*;
pub use stage::*;

/// Paths of the API. `{stage}` paths start with [`paths::stage`].
pub mod paths {
    use dozen_model::names::{AppName, StageName};

    /// `GET`: [`super::ServerInfo`].
    pub const SERVER: &str = "/v1/server";
    /// `POST` [`super::StopServer`]: ends control and router, with `all` the apps too.
    pub const SERVER_STOP: &str = "/v1/server/stop";
    /// `GET`: what was counted, in Prometheus' text format.
    pub const METRICS: &str = "/v1/metrics";
    /// `GET`: `Vec<`[`super::DoctorCheck`]`>`.
    pub const DOCTOR: &str = "/v1/doctor";
    /// `GET`: `Vec<`[`super::AppSummary`]`>`; `POST` [`super::CreateApp`].
    pub const APPS: &str = "/v1/apps";

    /// `GET`; `POST` [`super::AddCertificate`]: `Vec<`[`super::CertificateEntry`]`>`.
    pub const CERTIFICATES: &str = "/v1/certificates";
    /// `POST` [`super::AcmeDomain`]: the same; the certificate comes later.
    pub const CERTIFICATES_ACME: &str = "/v1/certificates/acme";
    /// `POST` [`super::RenewCertificates`]: the same.
    pub const CERTIFICATES_RENEW: &str = "/v1/certificates/renew";
    /// `GET`: [`super::LocalAuthority`].
    pub const LOCAL_AUTHORITY: &str = "/v1/local-authority";

    /// `DELETE`: what is left. `which` is a name or a number.
    pub fn certificate(which: &str) -> String {
        format!("{CERTIFICATES}/{which}")
    }

    /// `DELETE`: destroys the app and everything it owns, as [`super::Progress`]. With `?follow=true`
    /// it begins nothing: a destruction that was seen to begin is followed to its end.
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
    /// | `/traffic` | GET | [`super::TrafficStatus`] |
    /// | `/maintenance` | POST [`super::MaintenanceWish`] | [`super::TrafficStatus`] |
    /// | `/pause` | POST [`super::PauseRequest`] | progress |
    /// | `/resume` | POST | [`super::TrafficStatus`] |
    /// | `/ps` | GET | [`super::StageStatus`] |
    /// | `/scale` | POST `{"web": 2}` (process type to count) | progress |
    /// | `/restart` | POST [`super::ProcessFilter`] | progress |
    /// | `/stop` | POST [`super::ProcessFilter`] (all types: as `down`; or one instance `run.1`) | progress |
    /// | `/start` | POST, no body: the undo of `down` | progress |
    /// | `/run` | POST [`super::RunRequest`] | detached: [`super::RunStarted`]; else 101 and frames |
    /// | `/logs` | GET [`super::LogRequest`] as a query | [`super::LogItem`] a line |
    /// | `/logs` | POST the same, [`super::LogPosition`] | the same, from there on |
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

/// How work ended.
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
    /// Addresses the router listens on for HTTPS.
    #[serde(default)]
    pub listen_https: Vec<String>,
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
    /// Requests that reached no app since the router's start, absent while it does not answer.
    #[serde(default)]
    pub refused: Option<RefusedRequests>,
}

/// Requests that the router refused itself. Each second's first one is in the server's log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRequests {
    /// Answered 400: the head or the framing was not acceptable.
    pub malformed: u64,
    /// Answered 404: no app answers to the host.
    pub unknown_hosts: u64,
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
