//! Certificates that come, are shown, and are renewed.

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use super::{Site, add_domain, curl, https_port, log, now};
use crate::{
    acme::{Fault, How, Kind, Life, Problem},
    host::wait_for,
    tls_client,
};

const NAME: &str = "shop.example.org";

#[test]
fn a_domain_gets_a_certificate_by_http_01_when_that_is_asked_for_and_curl_believes_it() {
    let site = Site::with_domain(NAME);
    assert_eq!(site.acme.count("directory"), 0, "nobody is asked before");
    let added = site.add(NAME).succeeds();
    assert!(added.stdout.contains(NAME) && added.stdout.contains("valid"), "{added:?}");
    let answer = curl(&site.host, &site.acme.root(), NAME).succeeds();
    assert!(answer.stdout.starts_with("hello v1 "), "{answer:?}");
    assert_eq!((site.acme.accounts(), site.acme.orders(), site.acme.issued()), (1, 1, 1));
    assert_eq!(site.acme.contacts(0), ["mailto:ann@example.org"]);
    let entry = site.entry(NAME);
    let (end, next) = (entry["not_after"].as_i64().unwrap(), entry["next_try"].as_i64().unwrap());
    assert!(end - next > 25 * 24 * 3600, "it is renewed well before its end: {entry}");
    assert!(next - now() > 50 * 24 * 3600, "and not at once: {entry}");

    let stored = std::fs::read(site.host.state().join("router/table/certificates.json")).expect("the set");
    let set: serde_json::Value = serde_json::from_slice(&stored).expect("JSON");
    for open in ["http_challenges", "tls_challenges"] {
        assert_eq!(set[open], serde_json::json!([]), "no challenge is left open");
    }

    // Again is nothing new, and a second domain needs no second account.
    site.add(NAME).succeeds();
    add_domain(&site.host, "www.example.org");
    site.add("www.example.org").succeeds();
    assert_eq!((site.acme.accounts(), site.acme.orders()), (1, 2));
    assert!(
        curl(&site.host, &site.acme.root(), "www.example.org").succeeds().stdout.starts_with("hello v1 ")
    );
    no_key_is_seen(&site);
}

/// No key is on a command line, in the log or in an answer; where one is in a file, its owner alone
/// can read that.
fn no_key_is_seen(site: &Site) {
    let host = &site.host;
    let told = [
        log(host),
        host.dozen(["certs", "list", "--json"]).succeeds().stdout,
        host.dozen(["doctor"]).stdout,
        host.dozen(["domains", "-a", "shop", "--json"]).succeeds().stdout,
    ];
    for text in told {
        assert!(!text.contains("PRIVATE KEY"), "{text}");
    }
    for pid in [host.control_pid(), host.router_pid()] {
        for file in ["cmdline", "environ"] {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).expect("our own process");
            assert!(!contains(&bytes, b"PRIVATE KEY"), "{file} of {pid}");
        }
    }
    let (mut files, mut folders) = (0, vec![host.state()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let about = entry.metadata().expect("about it");
            if about.is_dir() {
                folders.push(entry.path());
            } else if about.is_file()
                && contains(&std::fs::read(entry.path()).expect("a file"), b"PRIVATE KEY")
            {
                files += 1;
                assert_eq!(about.permissions().mode() & 0o077, 0, "{:?}", entry.path());
                let is_store = entry.file_name().to_string_lossy().starts_with("state.db");
                assert!(!is_store, "in the store keys are sealed");
            }
        }
    }
    assert_eq!(files, 1, "the router's own copy");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn every_public_domain_gets_one_unasked_when_that_is_on_by_tls_alpn_01_where_http_01_fails() {
    let site = Site::start(&[("DOZEN_ACME", "on")]);
    let refused = Problem::new(400, "connection", "port 80 is filtered");
    site.acme.script(|script| script.validations = vec![(Kind::Http, refused)]);
    add_domain(&site.host, NAME);
    assert!(site.wait_until_shown(NAME).text.contains("hello v1 "));
    let entry = site.entry(NAME);
    assert_eq!((&entry["failures"], &entry["error"]), (&0.into(), &serde_json::Value::Null));
    assert_eq!((site.acme.accounts(), site.acme.orders(), site.acme.issued()), (1, 2, 1));
    // What works is remembered.
    site.host.dozen(["certs", "renew", NAME]).succeeds();
    assert_eq!((site.acme.orders(), site.acme.issued()), (3, 2));
    let listed = site.host.dozen(["certs", "list", "--json"]).succeeds().json();
    let asked = listed.as_array().unwrap().iter().filter(|entry| entry["source"] == "acme").count();
    assert_eq!(asked, 1, "none for `shop.localhost`: {listed}");
    let kept = site.host.dozen(["certs", "remove", NAME]).fails_with(1);
    assert!(kept.stderr.contains("DOZEN_ACME is on"), "{kept:?}");
}

#[test]
fn a_certificate_is_renewed_by_itself_before_its_end_and_no_request_is_lost_by_the_exchange() {
    let site = Site::with_domain(NAME);
    // Two thirds of its life are over when it comes.
    let short = Life { before: Duration::from_secs(40), after: Duration::from_secs(12) };
    let mut long = short;
    site.acme.script(|script| std::mem::swap(&mut script.certificate_life, &mut long));
    site.add(NAME).succeeds();
    site.acme.script(|script| script.certificate_life = long);
    let first = site.get(NAME).certificate;

    let load = Load::start(https_port(&site.host), &site.acme.root());
    let renewed = wait_for("another certificate", Duration::from_secs(12), || {
        let shown = site.get(NAME).certificate;
        (shown != first).then_some(shown)
    });
    let Served { requests, failed, shown } = load.stop();
    assert!(failed.is_empty() && requests > 20, "{requests} requests: {failed:?}");
    assert!(shown.contains(&first) && shown.contains(&renewed), "{} certificates", shown.len());
    let entry = site.entry(NAME);
    assert!(entry["not_after"].as_i64().unwrap() - now() > 80 * 24 * 3600, "{entry}");
    assert_eq!(
        (site.acme.accounts(), site.acme.orders(), site.acme.issued()),
        (1, 2, 2),
        "no storm of renewals"
    );
}

/// Handshake after handshake, with a request each.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Served>>,
}

/// How many requests, what failed, and which certificates were shown.
#[derive(Default)]
struct Served {
    requests: usize,
    failed: Vec<String>,
    shown: BTreeSet<Vec<u8>>,
}

impl Load {
    fn start(port: u16, roots: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asker = || {
            let (stop, roots) = (Arc::clone(&stop), roots.to_owned());
            std::thread::spawn(move || {
                let mut served = Served::default();
                while !stop.load(Ordering::SeqCst) {
                    served.requests += 1;
                    match tls_client::get(port, NAME, &roots) {
                        Ok(got) if got.text.starts_with("HTTP/1.1 200") => {
                            served.shown.insert(got.certificate);
                        }
                        other => served.failed.push(format!("{other:?}")),
                    }
                }
                served
            })
        };
        let threads = (0..2).map(|_| asker()).collect();
        Self { stop, threads }
    }

    fn stop(self) -> Served {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Served::default();
        for thread in self.threads {
            let one = thread.join().expect("a client");
            all.requests += one.requests;
            all.failed.extend(one.failed);
            all.shown.extend(one.shown);
        }
        all
    }
}

#[test]
fn bad_nonces_and_slow_orders_are_nothing_to_speak_of() {
    let site = Site::with_domain(NAME);
    site.acme.script(|script| {
        script.bad_nonce_each = Some(3);
        script.processing = Duration::from_millis(1500);
    });
    site.add(NAME).succeeds();
    assert_eq!((site.acme.orders(), site.acme.issued()), (1, 1));
    let bad = site.acme.seen().iter().filter(|seen| seen.problem == Some("badNonce")).count();
    assert!(bad > 2, "{bad}");
    assert_eq!(site.entry(NAME)["failures"], 0);
    let polls = site.acme.count("order");
    assert!(polls < 15, "it was asked {polls} times how the order is");

    // An order that is ready at once, because the name was validated before.
    site.acme.script(|script| script.reuses_validations = true);
    let told = site.acme.count("challenge");
    site.host.dozen(["certs", "renew", NAME]).succeeds();
    assert_eq!((site.acme.issued(), site.acme.count("challenge")), (2, told));
}

#[test]
fn an_account_that_the_server_forgot_is_made_again() {
    let site = Site::with_domain(NAME);
    site.add(NAME).succeeds();
    site.acme.forget_accounts();
    site.host.dozen(["certs", "renew", NAME]).succeeds();
    assert_eq!((site.acme.accounts(), site.acme.issued()), (1, 2));

    // An answer that is lost, although what was asked is done, costs no second account.
    site.acme.forget_accounts();
    let cut = Fault { at: "new-account", after: 0, times: 1, how: How::Cut };
    site.acme.script(|script| script.faults = vec![cut]);
    let failed = site.host.dozen(["certs", "renew", NAME]).fails_with(1);
    assert!(failed.stderr.contains("make an account"), "{failed:?}");
    site.host.dozen(["certs", "renew", NAME]).succeeds();
    assert_eq!(site.acme.accounts(), 1);
}
