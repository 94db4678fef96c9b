//! Certificates that do not come: loud, patient, and what is shown stays.

use std::time::Duration;

use super::{Site, log, now};
use crate::{
    acme::{Fault, How, Kind, Problem},
    host::wait_for,
};

const NAME: &str = "shop.example.org";

fn fault(at: &'static str, how: How) -> Fault {
    Fault { at, after: 0, times: 1, how }
}

#[test]
fn a_failed_renewal_is_told_everywhere_and_the_certificate_that_is_shown_stays() {
    let site = Site::with_domain(NAME);
    site.add(NAME).succeeds();
    let shown = site.get(NAME).certificate;
    assert!(!site.host.dozen(["doctor"]).stdout.contains(NAME));

    let dns = Problem::new(400, "dns", "NXDOMAIN looking up A for shop.example.org");
    site.acme.script(|script| {
        script.validations = Kind::ALL.map(|kind| (kind, dns.clone())).into();
    });
    let failed = site.host.dozen(["certs", "renew", NAME]).fails_with(1);
    assert!(failed.stderr.contains("NXDOMAIN"), "{failed:?}");
    assert_eq!(site.acme.orders(), 3, "one more by HTTP-01 and one by TLS-ALPN-01");
    let entry = site.entry(NAME);
    assert_eq!((&entry["state"], &entry["failures"]), (&"failing".into(), &1.into()), "{entry}");
    let first_wait = entry["next_try"].as_i64().unwrap() - now();
    assert!((290..=370).contains(&first_wait), "{entry}");
    let listed = site.host.dozen(["certs"]).succeeds().stdout;
    assert!(listed.contains("failing") && listed.contains("NXDOMAIN"), "{listed}");
    let doctor = site.host.dozen(["doctor"]).stdout;
    assert!(doctor.contains("could not be renewed") && doctor.contains("NXDOMAIN"), "{doctor}");
    let log = log(&site.host);
    let told = log.lines().find(|line| line.contains("ERROR") && line.contains("NXDOMAIN"));
    assert!(told.is_some_and(|line| line.contains("the one that is shown stays")), "{log}");
    assert_eq!(site.get(NAME).certificate, shown);

    site.host.dozen(["certs", "renew", NAME]).fails_with(1);
    let entry = site.entry(NAME);
    let second_wait = entry["next_try"].as_i64().unwrap() - now();
    assert!((590..=730).contains(&second_wait), "later and later: {entry}");
    assert_eq!(site.acme.orders(), 5);

    site.acme.script(|script| script.validations.clear());
    site.host.dozen(["certs", "renew", NAME]).succeeds();
    let entry = site.entry(NAME);
    assert_eq!((&entry["state"], &entry["failures"]), (&"valid".into(), &0.into()), "{entry}");
    assert_ne!(site.get(NAME).certificate, shown);
}

#[test]
fn a_server_that_limits_us_is_left_alone_for_as_long_as_it_asks_also_over_a_restart() {
    let mut site = Site::with_domain(NAME);
    site.acme.script(|script| {
        script.faults = vec![fault("new-order", How::Refused(Problem::rate_limited(7200)))];
    });
    let failed = site.add(NAME).fails_with(1);
    assert!(failed.stderr.contains("too many certificates"), "{failed:?}");
    let entry = site.entry(NAME);
    let wait = entry["next_try"].as_i64().unwrap() - now();
    assert!((7190..=7200 + 400).contains(&wait), "{entry}");
    let refused = site.host.dozen(["certs", "renew", NAME]).fails_with(1);
    assert!(refused.stderr.contains("asks to wait until"), "{refused:?}");
    site.add(NAME).fails_with(1);
    site.host.kill_control();
    site.host.start_server();
    // The keeper has looked at it when it has given the router its set.
    site.host.dozen(["certs", "list"]).succeeds();
    assert_eq!(site.acme.count("new-order"), 1);
    assert_eq!(site.entry(NAME)["state"], "failed");
}

#[test]
fn a_server_that_is_out_of_order_is_asked_again_and_nothing_is_lost_by_that() {
    let site = Site::with_domain(NAME);
    let internal = Problem::new(500, "serverInternal", "something broke");
    let failures = [
        fault("directory", How::Page(502, None)),
        fault("new-nonce", How::Page(503, None)),
        fault("new-account", How::Refused(internal.clone())),
        fault("new-order", How::Refused(internal.clone())),
        fault("authorization", How::Page(500, None)),
        fault("challenge", How::Refused(internal.clone())),
        fault("finalize", How::Refused(internal)),
        fault("finalize", How::Cut),
        fault("certificate", How::Cut),
    ];
    for (number, one) in failures.into_iter().enumerate() {
        let at = one.at;
        site.acme.script(|script| script.faults = vec![one]);
        let failed = if number == 0 { site.add(NAME) } else { site.host.dozen(["certs", "renew", NAME]) }
            .fails_with(1);
        assert!(failed.stderr.contains(NAME), "{at}: {failed:?}");
        let entry = site.entry(NAME);
        assert_eq!(entry["failures"], number + 1, "{at}: {entry}");
        assert!(entry["next_try"].as_i64().unwrap() - now() > 250, "{at}: {entry}");
    }
    assert_eq!(site.acme.orders(), 1, "one that was begun is gone on with");
    site.host.dozen(["certs", "renew", NAME]).succeeds();
    assert_eq!((site.acme.accounts(), site.acme.orders(), site.acme.issued()), (1, 1, 1));

    site.acme.script(|script| script.is_away = true);
    let failed = site.host.dozen(["certs", "renew", NAME]).fails_with(1);
    assert!(failed.stderr.contains("could not"), "{failed:?}");
    assert_eq!(site.entry(NAME)["state"], "failing");
    assert!(site.get(NAME).text.contains("hello v1 "));
}

#[test]
fn what_the_server_refuses_is_told_and_the_next_try_has_an_order_of_its_own() {
    let site = Site::with_domain(NAME);
    let caa = Problem::new(403, "caa", "CAA record for example.org prevents issuance");
    site.acme.script(|script| script.issue = Some(caa));
    let failed = site.add(NAME).fails_with(1);
    assert!(failed.stderr.contains("CAA record"), "{failed:?}");
    let doctor = site.host.dozen(["doctor"]).stdout;
    assert!(doctor.contains("there is none") && doctor.contains("CAA record"), "{doctor}");
    site.acme.script(|script| script.issue = None);
    site.host.dozen(["certs", "renew", NAME]).succeeds();
    assert_eq!(site.acme.orders(), 2);

    // A page with Retry-After from whatever stands before the server counts, too.
    site.acme.script(|script| script.faults = vec![fault("new-order", How::Page(503, Some(5000)))]);
    site.host.dozen(["certs", "renew", NAME]).fails_with(1);
    let wait = site.entry(NAME)["next_try"].as_i64().unwrap() - now();
    assert!((4990..=5300).contains(&wait), "{wait}");
}

#[test]
fn a_domain_that_is_no_apps_or_not_public_is_refused_and_one_that_goes_is_not_renewed() {
    let site = Site::with_domain(NAME);
    for (name, why) in [
        ("other.example.org", "is not a domain of any app"),
        ("shop.localhost", "no public authority"),
        ("shop.internal", "no public authority"),
    ] {
        let refused = site.add(name).fails_with(1);
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
    assert_eq!(site.acme.count("directory"), 0);
    site.add(NAME).succeeds();
    site.host.dozen(["domains", "remove", "-a", "shop", NAME]).succeeds();
    wait_for("it to rest", Duration::from_secs(10), || {
        (site.entry(NAME)["state"] == "resting").then_some(())
    });
    let doctor = site.host.dozen(["doctor"]).stdout;
    assert!(doctor.contains("is not renewed"), "{doctor}");
    site.host.dozen(["certs", "remove", NAME]).succeeds();
    assert!(super::entry(&site.host, "acme", NAME).is_none());
}
