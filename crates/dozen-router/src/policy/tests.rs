//! What is decided, in which order.

use dozen_model::{
    manifest::{ByteSize, RouterSettings},
    route_policy::Maintenance,
};

use super::*;

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
    for (content_length, verdict) in
        [(None, Verdict::Pass), (Some(10), Verdict::Pass), (Some(11), Verdict::Instead(Instead::TooLarge))]
    {
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
