//! `[router]`: what the router does with an app's requests before it passes them on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ByteSize, Hsts, HttpsRedirect, Redirect, Www, is_unset};
use crate::{address_range::AddressRange, route_table::StageRoute};

/// What an app asks of the router. What is not set here, the server decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouterSettings {
    /// The largest body of a request; unlimited if absent.
    #[serde(skip_serializing_if = "is_unset")]
    pub max_body: Option<ByteSize>,
    /// From the end of a request to the first byte of its answer.
    #[serde(skip_serializing_if = "is_unset")]
    pub first_byte: Option<Duration>,
    /// Without any progress while a body moves.
    #[serde(skip_serializing_if = "is_unset")]
    pub idle: Option<Duration>,
    /// How long a request may wait for an instance.
    #[serde(skip_serializing_if = "is_unset")]
    pub hold_limit: Option<Duration>,
    /// The page that each instance is asked for again and again; none if absent.
    #[serde(skip_serializing_if = "is_unset")]
    pub probe: Option<String>,
    /// Between two probes of an instance.
    #[serde(skip_serializing_if = "is_unset")]
    pub probe_interval: Option<Duration>,
    /// How long a probe may take.
    #[serde(skip_serializing_if = "is_unset")]
    pub probe_timeout: Option<Duration>,
    /// How many must fail in a row.
    #[serde(skip_serializing_if = "is_unset")]
    pub probe_failures: Option<u32>,
    /// The only addresses that are served; all if empty.
    #[serde(skip_serializing_if = "is_unset")]
    pub allow: Vec<AddressRange>,
    /// Addresses that lead elsewhere; the first that fits counts.
    #[serde(skip_serializing_if = "is_unset")]
    pub redirects: Vec<Redirect>,
    /// Which of two hosts that differ by `www.` answers; both if absent.
    #[serde(skip_serializing_if = "is_unset")]
    pub www: Option<Www>,
    /// Whether requests in the clear are sent to HTTPS.
    #[serde(skip_serializing_if = "is_unset")]
    pub https: Option<HttpsRedirect>,
    /// Whether browsers are told to come by HTTPS alone.
    #[serde(skip_serializing_if = "is_unset")]
    pub hsts: Option<Hsts>,
    /// The folder of the tree that holds the app's own error pages; see [`crate::error_pages`].
    #[serde(skip_serializing_if = "is_unset")]
    pub error_pages: Option<String>,
}

impl RouterSettings {
    /// Between two probes, where nothing else is said.
    pub const PROBE_INTERVAL: Duration = Duration::from_secs(10);
    /// For a probe, where nothing else is said.
    pub const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
    /// In a row, where nothing else is said.
    pub const PROBE_FAILURES: u32 = 3;

    /// How long a request may wait for an instance.
    pub fn hold_limit(&self) -> Duration {
        self.hold_limit.unwrap_or(StageRoute::HOLD_LIMIT)
    }

    /// These settings, and `base` where they say nothing. A list replaces a list.
    pub(super) fn over(self, base: Self) -> Self {
        Self {
            max_body: self.max_body.or(base.max_body),
            first_byte: self.first_byte.or(base.first_byte),
            idle: self.idle.or(base.idle),
            hold_limit: self.hold_limit.or(base.hold_limit),
            probe: self.probe.or(base.probe),
            probe_interval: self.probe_interval.or(base.probe_interval),
            probe_timeout: self.probe_timeout.or(base.probe_timeout),
            probe_failures: self.probe_failures.or(base.probe_failures),
            allow: if self.allow.is_empty() { base.allow } else { self.allow },
            redirects: if self.redirects.is_empty() { base.redirects } else { self.redirects },
            www: self.www.or(base.www),
            https: self.https.or(base.https),
            hsts: self.hsts.or(base.hsts),
            error_pages: self.error_pages.or(base.error_pages),
        }
    }
}
