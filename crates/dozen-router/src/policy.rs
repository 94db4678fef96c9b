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
    manifest::HttpsRedirect,
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

/// What is left of a pause. A clock that went back makes none longer than the longest.
fn left_of(pause: Pause, now: SystemTime) -> Option<Duration> {
    let until = UNIX_EPOCH.checked_add(Duration::from_millis(pause.until_ms))?;
    Some(until.duration_since(now).ok()?.min(LONGEST_PAUSE))
}

fn is_in(ranges: &[AddressRange], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

#[cfg(test)]
impl Default for Facts<'static> {
    /// A `GET` of `/` in the clear.
    fn default() -> Self {
        static HOST: std::sync::LazyLock<HostName> =
            std::sync::LazyLock::new(|| HostName::parse(b"a.test").unwrap());
        Self {
            client: [127, 0, 0, 1].into(),
            content_length: None,
            method: &Method::GET,
            host: &HOST,
            target: "/",
            is_https: false,
            https_port: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use dozen_model::{
        manifest::{ByteSize, RouterSettings},
        route_policy::Maintenance,
    };

    use super::*;

    fn policy(declared: RouterSettings) -> Policy {
        Policy::new(&RoutePolicy { declared, ..RoutePolicy::default() }, &[], None)
    }

    fn facts(client: &str) -> Facts<'static> {
        Facts { client: client.parse().unwrap(), ..Facts::default() }
    }

    #[test]
    fn without_a_policy_everything_passes() {
        let facts = Facts { content_length: Some(u64::MAX), ..facts("192.0.2.1") };
        assert_eq!(Policy::new(&RoutePolicy::default(), &[], None).verdict(&facts), Verdict::Pass);
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
        let policy = Policy::new(&RoutePolicy { declared, maintenance, ..RoutePolicy::default() }, &[], None);
        let large = |client| Facts { content_length: Some(2), ..facts(client) };
        assert_eq!(policy.verdict(&facts("10.0.0.1")), Verdict::Pass);
        assert_eq!(policy.verdict(&large("10.0.0.1")), Verdict::Instead(Instead::TooLarge));
        assert_eq!(policy.verdict(&large("10.0.0.2")), Verdict::Instead(Instead::Maintenance));
        assert_eq!(policy.verdict(&facts("192.0.2.1")), Verdict::Instead(Instead::Forbidden));
    }

    #[test]
    fn https_comes_before_all_other_redirects_and_no_redirect_before_a_challenge_or_the_wrong_address() {
        let rule = dozen_model::manifest::Redirect::read("/*", "https://b.test/*", 302, true).unwrap();
        let allow = vec!["127.0.0.1".parse().unwrap()];
        let policy = policy(RouterSettings { redirects: vec![rule], allow, ..RouterSettings::default() });
        let location = |facts: Facts<'_>| match policy.verdict(&facts) {
            Verdict::Instead(Instead::Redirect(to)) => Some(to.location),
            _ => None,
        };
        let clear = Facts { target: "/x", https_port: Some(443), ..Facts::default() };
        assert_eq!(location(clear).unwrap(), "https://a.test/x");
        assert_eq!(location(Facts { https_port: None, ..clear }).unwrap(), "https://b.test/x");
        for target in ["/.well-known/acme-challenge/x", "*"] {
            assert_eq!(location(Facts { target, ..clear }), None, "{target}");
        }
        let other = Facts { client: [127, 0, 0, 2].into(), ..clear };
        assert_eq!(policy.verdict(&other), Verdict::Instead(Instead::Forbidden));
    }

    #[test]
    fn a_pause_ends_by_itself_also_when_the_clock_went_back() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let pause = |until: u64| Pause { until_ms: until * 1000 };
        assert_eq!(left_of(pause(1_000_030), now), Some(Duration::from_secs(30)));
        assert_eq!(left_of(pause(999_999), now), None);
        assert_eq!(left_of(pause(2_000_000), now), Some(LONGEST_PAUSE));
        assert_eq!(left_of(Pause { until_ms: u64::MAX }, now), Some(LONGEST_PAUSE));
        assert!(Policy::new(&RoutePolicy::default(), &[], None).paused_until().is_none());
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
