//! `[router]`: what it takes, what it refuses, and how a stage changes it.

use super::*;
use crate::names::StageName;

fn production(text: &str) -> RouterSettings {
    toml(text).for_stage(&StageName::production()).router
}

#[test]
fn limits_and_ranges_are_read_and_a_stage_changes_what_it_names() {
    let text = "[router]\nmax_body = '10MB'\nfirst_byte = '2m'\nidle = '90s'\nhold_limit = '5s'\n\
                allow = ['10.0.0.0/8', '::1']\n\
                [stages.production.router]\nidle = '10s'\nallow = ['192.0.2.7']\n";
    let whole = toml(text).router;
    assert_eq!(whole.max_body, Some(ByteSize(10 << 20)));
    assert_eq!(
        (whole.first_byte, whole.idle),
        (Some(Duration::from_secs(120)), Some(Duration::from_secs(90)))
    );
    assert_eq!((whole.hold_limit(), whole.allow.len()), (Duration::from_secs(5), 2));
    let production = production(text);
    assert_eq!(production.max_body, whole.max_body);
    assert_eq!(production.idle, Some(Duration::from_secs(10)));
    assert_eq!(production.allow, ["192.0.2.7".parse().unwrap()]);
    assert_eq!(RouterSettings::default().hold_limit(), Duration::from_secs(30));
}

#[test]
fn a_probe_is_read_and_a_stage_changes_what_it_names() {
    let text = "[router]\nprobe = '/healthz'\nprobe_interval = '5s'\nprobe_timeout = '500ms'\nprobe_failures = 2\n\
                [stages.production.router]\nprobe_interval = '1s'\n";
    let said = production(text);
    assert_eq!((said.probe.as_deref(), said.probe_failures), (Some("/healthz"), Some(2)));
    assert_eq!(said.probe_interval, Some(Duration::from_secs(1)));
    assert_eq!(said.probe_timeout, Some(Duration::from_millis(500)));
    assert_eq!(production("[router]\nidle = '1s'").probe, None, "nobody is probed unasked");
}

#[test]
fn a_router_setting_that_cannot_be_used_is_refused_by_line() {
    for (text, said) in [
        ("[router]\nmax_body = '10'", "`router.max_body`: `10` is not a size"),
        ("[router]\nfirst_byte = '0s'", "`router.first_byte`: write a duration above zero"),
        ("[router]\nidle = '9d'", "`router.idle`: `9d` is not a duration"),
        ("[router]\nhold_limit = 30", "`router.hold_limit` must be text in quotes, not a whole number"),
        ("[router]\nprobe = 'healthz'", "`router.probe`: write a path such as `/healthz`"),
        ("[router]\nprobe_interval = '999ms'", "`router.probe_interval`: write a second at least"),
        ("[router]\nprobe_failures = 0", "`router.probe_failures`: write a number from 1 to 100"),
        ("[router]\nallow = []", "`router.allow`: list who is let in"),
        (
            "[router]\nallow = ['10.0.0.1/8']",
            "`router.allow`: `10.0.0.1/8` is not a range of addresses: its first",
        ),
        ("[router]\nalow = ['::1']", "unknown key `alow` in `[router]`"),
        (
            "[stages.staging.router]\nallow = ['office']",
            "`stages.staging.router.allow`: `office` is not a range of addresses",
        ),
    ] {
        let error = refused(text);
        assert!(error.to_string().contains(said), "{text}: {error}");
        assert_eq!(error.line, Some(text.lines().count()), "{text}: {error}");
    }
}
