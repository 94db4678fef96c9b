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
        ("[router]\nwww = 'bare'", "`router.www`: write one of `off`, `to-bare`, `to-www`"),
        ("[router]\nhttps = true", "`router.https` must be text in quotes"),
        ("[router]\nhttps = 'on'", "`router.https`: write one of `auto`, `redirect`, `off`"),
        ("[router]\nhsts = '11y'", "`router.hsts`: `11y` is not a duration"),
        ("[router]\nhsts = '4000d'", "3650 days at most"),
        ("[router]\nhsts = { include_subdomains = true }", "`router.hsts`: say its `max_age`"),
        ("[router]\nhsts = { max_age = '180d', include_subdomains = true, preload = true }", "365d at least"),
        ("[router]\nhsts = { max_age = '400d', preload = true }", "`include_subdomains = true`"),
        ("[router]\nerror_pages = '../x'", "`router.error_pages`: write a path below the source tree"),
        (
            "[stages.staging.router]\nallow = ['office']",
            "`stages.staging.router.allow`: `office` is not a range of addresses",
        ),
    ] {
        is_refused(text, said);
    }
}

#[test]
fn a_redirect_that_cannot_be_followed_is_refused_by_line() {
    for (text, said) in [
        ("[router]\nredirects = []", "`router.redirects`: list 1 to 1000 redirects"),
        ("[router]\nredirects = 'x'", "`router.redirects` must be a list of tables, not text"),
        (
            "[router]\nredirects = [{ from = '/a', to = '/b' }, 1]",
            "`router.redirects` must be a list of tables",
        ),
        ("[[router.redirects]]", "`router.redirects`: say `from` where and `to` where"),
        ("[[router.redirects]]\nfrom = '/a'\nto = '/b'\nstate = 301", "unknown key `state`"),
        (
            "[[router.redirects]]\nfrom = '/a'\nto = '/b'\nstatus = 303",
            "`router.redirects.status`: write 301, 302, 307 or 308",
        ),
        (
            "[[router.redirects]]\nfrom = '/a'\nto = '/b'\n[[router.redirects]]\nto = '/c'\nfrom = 'a b'",
            "`router.redirects.from`: write a path such as",
        ),
        (
            "[[router.redirects]]\nfrom = '/a'\nto = '//evil.org'",
            "`router.redirects.to`: a path begins with one `/`",
        ),
        (
            "[[router.redirects]]\nto = '/b'\nfrom = '/a'\n[[stages.x.router.redirects]]\nfrom = '/a'\nto = '/a'",
            "`stages.x.router.redirects.to`: `/a` leads back to itself",
        ),
        (
            "[stages.production]\ndomains = ['a.org']\n[router]\n\
             redirects = [{ from = '/x', to = 'https://a.org/y' }, { from = '/y', to = '/x' }]",
            "`router.redirects.to`: `/x` leads back to itself",
        ),
    ] {
        is_refused(text, said);
    }
}

fn is_refused(text: &str, said: &str) {
    let error = refused(text);
    assert!(error.to_string().contains(said), "{text}: {error}");
    assert_eq!(error.line, Some(text.lines().count()), "{text}: {error}");
}

#[test]
fn redirects_https_and_pages_are_read_and_a_stage_changes_what_it_names() {
    let text = "[router]\nwww = 'to-bare'\nhttps = 'redirect'\nhsts = '180d'\nerror_pages = 'errors'\n\
                [[router.redirects]]\nfrom = '/a'\nto = '/b'\n\
                [[router.redirects]]\nfrom = 'old.org'\nto = 'https://new.org'\nstatus = 308\nquery = false\n\
                [stages.production.router]\nwww = 'off'\nhttps = 'off'\n\
                hsts = { max_age = '365d', include_subdomains = true, preload = true }\n\
                redirects = [{ from = '/c', to = '/d', status = 307 }]\n";
    let whole = toml(text).router;
    let said = |settings: &RouterSettings| {
        let rules = settings.redirects.iter();
        let rules = rules.map(|one| format!("{} {} {} {}", one.from, one.to, one.status, one.keeps_query));
        rules.collect::<Vec<_>>()
    };
    assert_eq!(said(&whole), ["/a /b 301 true", "old.org/* https://new.org/* 308 false"]);
    assert_eq!((whole.www, whole.https), (Some(Www::ToBare), Some(HttpsRedirect::Redirect)));
    assert_eq!(whole.hsts.unwrap().value(), "max-age=15552000");
    let production = production(text);
    assert_eq!(said(&production), ["/c /d 307 true"]);
    assert_eq!((production.www, production.https), (Some(Www::Off), Some(HttpsRedirect::Off)));
    assert_eq!(production.hsts.unwrap().value(), "max-age=31536000; includeSubDomains; preload");
    assert_eq!(production.error_pages.as_deref(), Some("errors"));
    let json = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::from_str::<RouterSettings>(&json).unwrap(), whole);
}

#[test]
fn an_error_in_a_list_of_tables_names_the_line_of_its_table() {
    let error = refused("[[router.redirects]]\nfrom = '/a'\nto = '/b'\n\n[[router.redirects]]\nto = '/c'\n");
    assert_eq!(error.line, Some(5), "{error}");
    let twice =
        refused("[router]\nredirects = [\n{ from = '/a', to = '/b' },\n{ from = '/a', to = '/c' },\n]\n");
    assert_eq!(twice.line, Some(4), "{twice}");
    assert!(twice.to_string().contains("`/a` is sent somewhere already"), "{twice}");
}
