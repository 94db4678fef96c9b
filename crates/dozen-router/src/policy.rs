//! What a stage's policy decides about one request, before anybody looks for an instance.
//!
//! Pure: facts in, a verdict out. Who asks turns the verdict into an answer. The order matters:
//!
//! ```text
//! address not allowed -> 403   maintenance -> 503   body too large -> 413   else it passes
//! ```
//!
//! A pause is no verdict: what is paused passes, and waits where requests wait for instances.
//!
//! Start reading at [`Policy::verdict`].

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dozen_model::{
    address_range::AddressRange,
    manifest::RouterSettings,
    route_policy::{Pause, RoutePolicy},
};
use tokio::time::Instant;

use crate::options::Limits;

/// No pause is longer, whatever the clock says.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// What a verdict is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// The client's address; see [`crate::forwarded`].
    pub(crate) client: IpAddr,
    /// What `Content-Length` says.
    pub(crate) content_length: Option<u64>,
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
}

/// The policy of one stage, as a table has it.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    said: RoutePolicy,
    /// Whether there is nothing to decide.
    is_plain: bool,
    paused_until: Option<Instant>,
}

impl Policy {
    /// Prepares what a table says.
    pub(crate) fn new(said: &RoutePolicy) -> Self {
        let left = said.pause.and_then(|pause| left_of(pause, SystemTime::now()));
        Self {
            is_plain: *said == RoutePolicy::default(),
            said: said.clone(),
            paused_until: left.map(|left| Instant::now() + left),
        }
    }

    /// Decides about one request.
    pub(crate) fn verdict(&self, facts: &Facts) -> Verdict {
        if self.is_plain {
            return Verdict::Pass;
        }
        let allow = &self.said.declared.allow;
        if !allow.is_empty() && !is_in(allow, facts.client) {
            return Verdict::Instead(Instead::Forbidden);
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
mod tests {
    use dozen_model::{manifest::ByteSize, route_policy::Maintenance};

    use super::*;

    fn policy(declared: RouterSettings) -> Policy {
        Policy::new(&RoutePolicy { declared, ..RoutePolicy::default() })
    }

    fn facts(client: &str) -> Facts {
        Facts { client: client.parse().unwrap(), content_length: None }
    }

    #[test]
    fn without_a_policy_everything_passes() {
        let facts = Facts { content_length: Some(u64::MAX), ..facts("192.0.2.1") };
        assert_eq!(Policy::new(&RoutePolicy::default()).verdict(&facts), Verdict::Pass);
    }

    #[test]
    fn only_who_is_listed_is_let_in() {
        let allow = ["10.0.0.0/8", "::1"].map(|range| range.parse().unwrap()).to_vec();
        let policy = policy(RouterSettings { allow, ..RouterSettings::default() });
        for (client, verdict) in [
            ("10.9.9.9", Verdict::Pass),
            ("::ffff:10.9.9.9", Verdict::Pass),
            ("::1", Verdict::Pass),
            ("127.0.0.1", Verdict::Instead(Instead::Forbidden)),
            ("2001:db8::1", Verdict::Instead(Instead::Forbidden)),
        ] {
            assert_eq!(policy.verdict(&facts(client)), verdict, "{client}");
        }
    }

    #[test]
    fn in_maintenance_only_who_is_named_passes_and_nobody_whom_the_app_does_not_serve() {
        let maintenance = Some(Maintenance { allow: vec!["10.0.0.1".parse().unwrap()] });
        let declared = RouterSettings {
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            max_body: Some(ByteSize(1)),
            ..RouterSettings::default()
        };
        let policy = Policy::new(&RoutePolicy { declared, maintenance, pause: None });
        let large = |client| Facts { content_length: Some(2), ..facts(client) };
        assert_eq!(policy.verdict(&facts("10.0.0.1")), Verdict::Pass);
        assert_eq!(policy.verdict(&large("10.0.0.1")), Verdict::Instead(Instead::TooLarge));
        assert_eq!(policy.verdict(&large("10.0.0.2")), Verdict::Instead(Instead::Maintenance));
        assert_eq!(policy.verdict(&facts("192.0.2.1")), Verdict::Instead(Instead::Forbidden));
    }

    #[test]
    fn a_pause_ends_by_itself_also_when_the_clock_went_back() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let pause = |until: u64| Pause { until_ms: until * 1000 };
        assert_eq!(left_of(pause(1_000_030), now), Some(Duration::from_secs(30)));
        assert_eq!(left_of(pause(999_999), now), None);
        assert_eq!(left_of(pause(2_000_000), now), Some(LONGEST_PAUSE));
        assert_eq!(left_of(Pause { until_ms: u64::MAX }, now), Some(LONGEST_PAUSE));
        assert!(Policy::new(&RoutePolicy::default()).paused_until().is_none());
    }

    #[test]
    fn a_body_is_measured_by_what_its_length_says() {
        let policy = policy(RouterSettings { max_body: Some(ByteSize(10)), ..RouterSettings::default() });
        for (content_length, verdict) in [
            (None, Verdict::Pass),
            (Some(10), Verdict::Pass),
            (Some(11), Verdict::Instead(Instead::TooLarge)),
        ] {
            assert_eq!(policy.verdict(&Facts { content_length, ..facts("::1") }), verdict);
        }
        assert!(!policy.is_too_large(10) && policy.is_too_large(11));
    }

    #[test]
    fn a_stage_changes_the_limits_it_names() {
        let own = RouterSettings { idle: Some(Duration::from_secs(1)), ..RouterSettings::default() };
        let limits = policy(own).limits(&Limits::default());
        assert_eq!(limits, Limits { idle: Duration::from_secs(1), ..Limits::default() });
    }
}
