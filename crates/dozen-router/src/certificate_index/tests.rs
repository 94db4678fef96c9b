//! Which certificate is found for a name, and what refuses a set.

use std::time::{Duration, Instant};

use dozen_model::certificates::PrivateKey;

use super::*;

fn certificate(names: &[&str]) -> Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let text: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::CertificateParams::new(text).unwrap().self_signed(&key).unwrap();
    Certificate {
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
        chain: made.pem(),
        key: PrivateKey::new(key.serialize_pem()),
        is_local: false,
    }
}

fn index(certificates: Vec<Certificate>) -> CertificateIndex {
    CertificateIndex::of(CertificateSet { certificates, ..CertificateSet::default() }).unwrap()
}

#[test]
fn an_exact_name_comes_before_a_wildcard_and_the_first_before_the_next() {
    let index = index(vec![
        certificate(&["*.shop.org"]),
        certificate(&["www.shop.org", "shop.org"]),
        certificate(&["www.shop.org", "*.shop.org"]),
    ]);
    let place = |shown: &Arc<Shown>| index.all.iter().position(|one| Arc::ptr_eq(one, shown));
    let found = |name: &str| index.find(name).and_then(place);
    assert_eq!(found("www.shop.org"), Some(1));
    assert_eq!(found("shop.org"), Some(1));
    assert_eq!(found("api.shop.org"), Some(0));
    for nobodys in ["a.b.shop.org", "org", "shop.com", ""] {
        assert_eq!(found(nobodys), None, "{nobodys}");
    }
    assert_eq!(index.find_at_or_below("shop.org").and_then(place), Some(1));
    let below = super::tests::index(vec![certificate(&["*.apps.org"])]);
    assert!(below.find("apps.org").is_none() && below.find_at_or_below("apps.org").is_some());
}

#[test]
fn a_challenge_has_its_critical_mark_and_no_client_is_shown_it() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["new.org".to_owned()]).unwrap();
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(&[7; 32])];
    let made = params.self_signed(&key).unwrap();
    let challenge = Certificate {
        names: vec!["new.org".parse().unwrap()],
        chain: made.pem(),
        key: PrivateKey::new(key.serialize_pem()),
        is_local: false,
    };
    let set = CertificateSet { tls_challenges: vec![challenge.clone()], ..CertificateSet::default() };
    assert!(CertificateIndex::of(set).unwrap().tls_challenge("new.org").is_some());
    let shown = CertificateSet { certificates: vec![challenge], ..CertificateSet::default() };
    assert!(CertificateIndex::of(shown).is_err(), "clients could not read it");
}

#[test]
fn a_certificate_that_cannot_be_shown_is_named_and_its_key_is_not() {
    let refused = |change: fn(&mut Certificate)| {
        let mut bad = certificate(&["bad.org"]);
        change(&mut bad);
        let key = bad.key.expose().to_owned();
        let set = CertificateSet { certificates: vec![bad], ..CertificateSet::default() };
        let error = CertificateIndex::of(set).unwrap_err();
        assert!(error.to_string().contains("`bad.org`") && !error.to_string().contains(&key), "{error}");
        error
    };
    let name = || "bad.org".to_owned();
    assert_eq!(refused(|bad| bad.chain.clear()), CertificateError::Chain(name()));
    assert_eq!(refused(|bad| bad.key = PrivateKey::new("x")), CertificateError::Key(name()));
    let other = refused(|bad| bad.key = certificate(&["bad.org"]).key);
    assert_eq!(other, CertificateError::OtherKey(name()));
}

#[test]
fn a_hundred_thousand_names_are_looked_up_as_fast_as_ten() {
    let one = Arc::new(Shown {
        key: read(&certificate(&["a.org"]), Use::Shown).unwrap(),
        names: Vec::new(),
        is_local: false,
    });
    let of = |count: usize| CertificateIndex {
        exact: (0..count).map(|n| (format!("host-{n}.example.org"), Arc::clone(&one))).collect(),
        ..CertificateIndex::default()
    };
    let time = |index: &CertificateIndex| {
        let start = Instant::now();
        for _ in 0..10_000 {
            assert!(index.find("host-7.example.org").is_some());
            assert!(index.find("nobody.example.org").is_none());
        }
        start.elapsed()
    };
    let (small, large) = (of(10), of(100_000));
    let best = |index| (0..5).map(|_| time(index)).min().unwrap();
    let (few, many) = (best(&small), best(&large));
    assert!(many < few * 20 + Duration::from_millis(20), "{few:?} for 10, {many:?} for 100,000");
}
