//! Control is killed at every place on the way of a certificate: it comes all the same, and the ACME
//! server makes no second account.

use std::time::Duration;

use dozen_control::barrier::CertificatePlace;

use super::{add_domain, entry, https_port, settings};
use crate::{acme::AcmeServer, crash::deploys::HeldHost, host::wait_for, project::Project, tls_client};

/// A host that stops at barriers, with the app `shop`.
struct HeldSite {
    held: HeldHost,
    acme: AcmeServer,
}

impl HeldSite {
    fn start() -> Self {
        let acme = AcmeServer::start();
        let settings = settings(&acme);
        let held = HeldHost::start_with(&settings.each_ref().map(|(name, value)| (*name, value.as_str())));
        held.host.up(&Project::small("shop"));
        acme.script(|script| script.ports = (held.host.port(), https_port(&held.host)));
        Self { held, acme }
    }

    /// Asks for a certificate and comes back when control stands at a place of its way.
    fn ask_up_to(&self, name: &str, place: CertificatePlace) -> std::process::Child {
        add_domain(&self.held.host, name);
        self.held.run_up_to(self.held.host.command(["certs", "add", name, "--acme"]), place.name())
    }

    #[track_caller]
    fn comes(&self, name: &str) {
        let host = &self.held.host;
        wait_for(&format!("the certificate of {name}"), Duration::from_secs(20), || {
            entry(host, "acme", name).filter(|entry| entry["state"] == "valid")
        });
        wait_for(&format!("{name} to be shown"), Duration::from_secs(5), || {
            tls_client::get(https_port(host), name, &self.acme.root()).ok()
        });
        assert_eq!(self.acme.accounts(), 1, "{name}");
    }

    /// Kills it at each of these places, each time with another domain.
    fn kill_at_each(&mut self, places: &[CertificatePlace]) {
        for place in places {
            let name = format!("{}.example.org", place.name().replace('.', "-"));
            let before = self.acme.orders();
            let asking = self.ask_up_to(&name, *place);
            self.held.kill_and_start_again();
            self.comes(&name);
            asking.wait_with_output().expect("its end");
            let orders = self.acme.orders() - before;
            // One whose URL was never heard is begun again.
            let most = if *place == CertificatePlace::Ordered { 2 } else { 1 };
            assert_eq!(orders, most, "{place:?}");
            assert_eq!(entry(&self.held.host, "acme", &name).expect("it")["failures"], 0, "{place:?}");
        }
    }
}

/// Those until the ACME server was told to look, without those of the account.
const FIRST_HALF: [CertificatePlace; 5] = [
    CertificatePlace::Recorded,
    CertificatePlace::OrderRecorded,
    CertificatePlace::Ordered,
    CertificatePlace::ChallengeStored,
    CertificatePlace::ChallengeShown,
];
const OF_ACCOUNTS: [CertificatePlace; 2] =
    [CertificatePlace::AccountKeyStored, CertificatePlace::AccountMade];

#[test]
fn an_order_goes_on_when_control_is_killed_before_it_is_validated() {
    HeldSite::start().kill_at_each(&FIRST_HALF);
}

#[test]
fn an_order_goes_on_when_control_is_killed_after_it_was_told_to_be_validated() {
    let is_later = |place: &&CertificatePlace| !FIRST_HALF.contains(place) && !OF_ACCOUNTS.contains(place);
    let places: Vec<CertificatePlace> = CertificatePlace::ALL.iter().filter(is_later).copied().collect();
    HeldSite::start().kill_at_each(&places);
}

#[test]
fn an_account_is_made_once_when_control_is_killed_before_and_after_it_is_made() {
    let mut site = HeldSite::start();
    let asking = site.ask_up_to("shop.example.org", CertificatePlace::AccountKeyStored);
    site.held.host.kill_control();
    site.held.open();
    site.held.hold(CertificatePlace::AccountMade.name());
    site.held.host.start_server();
    site.held.wait_until_at(CertificatePlace::AccountMade.name());
    assert_eq!(site.acme.accounts(), 1);
    site.held.kill_and_start_again();
    site.comes("shop.example.org");
    asking.wait_with_output().expect("its end");
    assert_eq!(site.acme.count("new-account"), 2, "asked for again, and found by its key");
    add_domain(&site.held.host, "www.example.org");
    site.held.host.dozen(["certs", "add", "www.example.org", "--acme"]).succeeds();
    assert_eq!(site.acme.count("new-account"), 2, "and kept");
}

#[test]
fn who_waits_for_a_certificate_is_told_when_clients_are_shown_it_and_not_before() {
    let site = HeldSite::start();
    let mut asking = site.ask_up_to("shop.example.org", CertificatePlace::Stored);
    let stored = entry(&site.held.host, "acme", "shop.example.org").expect("it");
    assert_eq!((&stored["state"], &stored["tries"]), (&"valid".into(), &0.into()), "{stored}");
    assert!(asking.try_wait().expect("its state").is_none());
    site.held.open();
    assert!(asking.wait().expect("its end").success());
    tls_client::get(https_port(&site.held.host), "shop.example.org", &site.acme.root()).expect("by TLS");
    assert_eq!(entry(&site.held.host, "acme", "shop.example.org").expect("it")["tries"], 1);
}

#[test]
fn an_order_that_ended_while_control_was_away_is_begun_again_at_once() {
    let mut site = HeldSite::start();
    site.acme.script(|script| script.order_life = Duration::from_secs(1));
    let asking = site.ask_up_to("shop.example.org", CertificatePlace::ChallengeStored);
    site.held.host.kill_control();
    site.held.open();
    wait_for("the end of the order", Duration::from_secs(5), || {
        site.acme.is_every_order_over().then_some(())
    });
    site.acme.script(|script| script.order_life = Duration::from_secs(3600));
    site.held.host.start_server();
    site.comes("shop.example.org");
    asking.wait_with_output().expect("its end");
    assert_eq!(site.acme.orders(), 2);
    assert_eq!(entry(&site.held.host, "acme", "shop.example.org").expect("it")["failures"], 0);
}
