//! What a stage's policy decides about one request, before anybody looks for an instance.
//!
//! Pure: facts in, a verdict out. Who asks turns the verdict into an answer. The order matters:
//!
//! ```text
//! address not allowed -> 403   in the clear -> HTTPS   another address -> there
//! maintenance -> 503           body too large -> 413   else it passes
//! ```
//!
//! A pause is no verdict: what is paused passes, and waits where requests wait for instances.
//!
//! Start reading at [`Policy::verdict`].

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dozen_model::{
    address_range::AddressRange,
    manifest::{HttpsRedirect, RouterSettings},
    names::Domain,
    route_policy::{Pause, RoutePolicy},
};
use http::{HeaderValue, Method};
use tokio::time::Instant;

use crate::{
    error_page::ErrorPages,
    host::HostName,
    http_challenge::is_challenge,
    options::Limits,
    redirect::{Redirection, Redirects},
};

/// No pause is longer, whatever the clock says.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// What a verdict is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The client's address; see [`crate::forwarded`].
    pub(crate) client: IpAddr,
    /// What `Content-Length` says.
    pub(crate) content_length: Option<u64>,
    pub(crate) method: &'a Method,
    pub(crate) host: &'a HostName,
    /// In origin form, or `*`.
    pub(crate) target: &'a str,
    /// Whether the client spoke TLS, to us or to a trusted proxy.
    pub(crate) is_https: bool,
    /// Where it is to come again by HTTPS, if it is to.
    pub(crate) https_port: Option<u16>,
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes to its stage.
    Pass,
    /// It is answered by the router.
    Instead(Instead),
}

/// What the router answers in the place of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Instead {
    /// 403: its address is not one that is let in.
    Forbidden,
    /// 503: the stage is in maintenance.
    Maintenance,
    /// 413: its body is larger than the stage takes. What is left of it is not read.
    TooLarge,
    /// It is sent to another address.
    Redirect(Redirection),
}

/// The policy of one stage, as a table has it.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    said: RoutePolicy,
    /// Whether there is nothing to decide.
    is_plain: bool,
    paused_until: Option<Instant>,
    redirects: Redirects,
    hsts: Option<HeaderValue>,
    pages: Option<Arc<ErrorPages>>,
}

impl Policy {
    /// Prepares what a table says of a stage with these domains. Error pages that the policy
    /// `before` it had are not read again.
    pub(crate) fn new(said: &RoutePolicy, domains: &[Domain], before: Option<&Self>) -> Self {
        let left = said.pause.and_then(|pause| left_of(pause, SystemTime::now()));
        let old = before.and_then(|before| before.pages.clone());
        let pages = said.error_pages.as_ref().map(|folder| {
            old.filter(|old| old.folder == *folder)
                .unwrap_or_else(|| Arc::new(ErrorPages::new(folder.clone())))
        });
        Self {
            is_plain: RoutePolicy { https_port: None, ..said.clone() } == RoutePolicy::default(),
            redirects: Redirects::new(&said.declared, domains),
            hsts: said.declared.hsts.and_then(|hsts| HeaderValue::try_from(hsts.value()).ok()),
            said: said.clone(),
            paused_until: left.map(|left| Instant::now() + left),
            pages,
        }
    }

    /// Decides about one request.
    pub(crate) fn verdict(&self, facts: &Facts<'_>) -> Verdict {
        if self.is_plain && facts.https_port.is_none() {
            return Verdict::Pass;
        }
        let allow = &self.said.declared.allow;
        if !allow.is_empty() && !is_in(allow, facts.client) {
            return Verdict::Instead(Instead::Forbidden);
        }
        if let Some(redirection) = self.redirection(facts) {
            return Verdict::Instead(Instead::Redirect(redirection));
        }
        let maintenance = self.said.maintenance.as_ref();
        if maintenance.is_some_and(|said| !is_in(&said.allow, facts.client)) {
            return Verdict::Instead(Instead::Maintenance);
        }
        if facts.content_length.is_some_and(|length| self.is_too_large(length)) {
            return Verdict::Instead(Instead::TooLarge);
        }
        Verdict::Pass
    }

    /// Where a request is sent that is not the app's to answer.
    fn redirection(&self, facts: &Facts<'_>) -> Option<Redirection> {
        if !facts.target.starts_with('/') || is_challenge(facts.target) {
            return None;
        }
        let to_https = facts.https_port.map(|port| Redirection::to_https(facts, port));
        to_https.or_else(|| self.redirects.find(facts))
    }

    /// Whether requests in the clear are sent to HTTPS.
    pub(crate) fn https(&self) -> HttpsRedirect {
        self.said.declared.https.unwrap_or_default()
    }

    /// The port of HTTPS as clients see it, where an operator has said so.
    pub(crate) fn https_port(&self) -> Option<u16> {
        self.said.https_port
    }

    /// What browsers are told that came by HTTPS.
    pub(crate) fn hsts(&self) -> Option<&HeaderValue> {
        self.hsts.as_ref()
    }

    /// The app's own error pages.
    pub(crate) fn pages(&self) -> Option<&ErrorPages> {
        self.pages.as_deref()
    }

    /// When requests go on, while they all wait.
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.paused_until.filter(|end| Instant::now() < *end)
    }

    /// The most bytes a request's body may have; asked again as a body without a length comes in.
    pub(crate) fn max_body(&self) -> Option<u64> {
        self.said.declared.max_body.map(|size| size.bytes())
    }

    /// Whether a body of so many bytes is too large.
    pub(crate) fn is_too_large(&self, bytes: u64) -> bool {
        self.max_body().is_some_and(|most| bytes > most)
    }

    /// The liveness probe of the stage's instances, if it wants one.
    pub(crate) fn probe(&self) -> Option<Probe> {
        let declared = &self.said.declared;
        Some(Probe {
            path: declared.probe.clone()?,
            interval: declared.probe_interval.unwrap_or(RouterSettings::PROBE_INTERVAL),
            timeout: declared.probe_timeout.unwrap_or(RouterSettings::PROBE_TIMEOUT),
            failures: declared.probe_failures.unwrap_or(RouterSettings::PROBE_FAILURES),
        })
    }

    /// The limits that hold for this stage.
    pub(crate) fn limits(&self, limits: &Limits) -> Limits {
        let declared = &self.said.declared;
        Limits {
            first_byte: declared.first_byte.unwrap_or(limits.first_byte),
            idle: declared.idle.unwrap_or(limits.idle),
            ..*limits
        }
    }
}

/// How a stage's instances are probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) path: String,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// So many in a row put an instance out of rotation.
    pub(crate) failures: u32,
}

/// What is left of a pause. A clock that went back makes none longer than the longest.
fn left_of(pause: Pause, now: SystemTime) -> Option<Duration> {
    let until = UNIX_EPOCH.checked_add(Duration::from_millis(pause.until_ms))?;
    Some(until.duration_since(now).ok()?.min(LONGEST_PAUSE))
}

fn is_in(ranges: &[AddressRange], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

#[cfg(test)]
mod tests;
