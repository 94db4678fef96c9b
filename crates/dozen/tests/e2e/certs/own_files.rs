//! Certificates that a user brings as files.

use std::{path::PathBuf, process::Command};

use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::{add_domain, curl, entry, https_port, log};
use crate::{
    host::{Ran, TestHost},
    project::Project,
    tls_client,
};

/// An authority of somebody else.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// The chain and the key of a certificate; `change` says what is special about it.
    fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        (format!("{}{}", leaf.pem(), self.issuer.pem()), key.serialize_pem())
    }
}

fn served() -> TestHost {
    let host = TestHost::start_with(&[("DOZEN_LISTEN_HTTPS", "127.0.0.1:0")]);
    host.up(&Project::small("shop"));
    host
}

fn file(host: &TestHost, name: &str, text: &str) -> PathBuf {
    let path = host.home().join(name);
    std::fs::write(&path, text).expect("a file");
    path
}

fn add(host: &TestHost, (chain, key): (&str, &str)) -> Ran {
    let (cert, key) = (file(host, "chain.pem", chain), file(host, "key.pem", key));
    host.dozen(["certs", "add", "--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()])
}

#[test]
fn a_wildcard_of_ones_own_is_shown_for_each_name_below_it_and_replaced_in_the_running_router() {
    let host = served();
    let authority = Authority::named("an authority");
    let root = file(&host, "root.pem", &authority.issuer.pem());
    for name in ["a.example.org", "b.example.org"] {
        add_domain(&host, name);
    }
    let (chain, key) = authority.issue(&["*.example.org", "example.org"], |_| {});
    let added = add(&host, (&chain, &key)).succeeds();
    assert!(added.stdout.contains("*.example.org"), "{added:?}");
    for name in ["a.example.org", "b.example.org"] {
        assert!(curl(&host, &root, name).succeeds().stdout.starts_with("hello v1 "), "{name}");
    }
    let shown = |name: &str| tls_client::get(https_port(&host), name, &root).map(|got| got.certificate);
    let first = shown("a.example.org").unwrap();
    assert!(shown("a.b.example.org").is_err(), "a wildcard is for one label");

    // One for the same names takes its place, one for a name alone comes before it.
    let (chain, key) = authority.issue(&["*.example.org", "example.org"], |_| {});
    add(&host, (&chain, &key)).succeeds();
    let second = shown("a.example.org").unwrap();
    assert_ne!(first, second);
    let (chain, key) = authority.issue(&["a.example.org"], |_| {});
    add(&host, (&chain, &key)).succeeds();
    assert_ne!(shown("a.example.org").unwrap(), second);
    assert_eq!(shown("b.example.org").unwrap(), second);

    let several = host.dozen(["certs", "list", "--json"]).succeeds().json();
    let own = several.as_array().unwrap().iter().filter(|entry| entry["source"] == "file").count();
    assert_eq!(own, 2, "{several}");
    host.dozen(["certs", "remove", "a.example.org"]).succeeds();
    assert_eq!(shown("a.example.org").unwrap(), second);
    host.dozen(["certs", "remove", "*.example.org"]).succeeds();
    assert!(shown("a.example.org").is_err());
    assert!(!log(&host).contains("PRIVATE KEY"));
}

#[test]
fn files_that_are_not_right_are_refused_with_the_reason_and_change_nothing() {
    let host = served();
    let authority = Authority::named("an authority");
    let root = file(&host, "root.pem", &authority.issuer.pem());
    add_domain(&host, "shop.example.org");
    let (chain, key) = authority.issue(&["shop.example.org"], |_| {});
    add(&host, (&chain, &key)).succeeds();
    let (other_chain, other_key) = authority.issue(&["shop.example.org"], |_| {});
    let expired = authority.issue(&["shop.example.org"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let early = authority.issue(&["shop.example.org"], |params| {
        params.not_before = rcgen::date_time_ymd(2090, 1, 1);
        params.not_after = rcgen::date_time_ymd(2091, 1, 1);
    });
    let nameless = authority.issue(&["127.0.0.1"], |_| {});
    let leaf = &other_chain[..other_chain.find("-----END CERTIFICATE-----").unwrap() + 26];
    let stranger = format!("{leaf}{}", Authority::named("another").issuer.pem());
    let encrypted = encrypted(&host, &other_key);
    let wrong: [(&str, &str, &str); 9] = [
        (&other_chain, &key, "the key is not the one of the first certificate"),
        (&expired.0, &expired.1, "the certificate ended on 2021-01-01"),
        (&early.0, &early.1, "the certificate is not valid before 2090-01-01"),
        (&nameless.0, &nameless.1, "for no DNS name"),
        (&stranger, &other_key, "certificate 1 of the chain was not issued by the one after it"),
        (&other_chain, &encrypted, "encrypted with a pass phrase"),
        ("", &other_key, "no certificate in it"),
        (&other_chain, "hunter2", "not readable as a private key"),
        (&key, &key, "no certificate in it"),
    ];
    for (chain, key, why) in wrong {
        let refused = add(&host, (chain, key)).fails_with(1);
        assert!(refused.stderr.contains(why), "{why}: {refused:?}");
        assert!(!refused.stderr.contains("PRIVATE KEY"), "{refused:?}");
    }
    let listed = entry(&host, "file", "shop.example.org").expect("the first one");
    assert_eq!(
        (&listed["id"], &listed["state"]),
        (&entry(&host, "file", "shop.example.org").unwrap()["id"], &"valid".into())
    );
    let shown = tls_client::get(https_port(&host), "shop.example.org", &root).unwrap().certificate;
    assert!(chain.starts_with(&pem_of(&shown)[..200]), "the first one is shown");
    assert!(!log(&host).contains("PRIVATE KEY") && !log(&host).contains("hunter2"));
}

fn pem_of(der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n", lines.join("\n"))
}

fn encrypted(host: &TestHost, key: &str) -> String {
    let path = file(host, "plain.pem", key);
    let mut command = Command::new("openssl");
    command.args(["pkey", "-aes256", "-passout", "pass:word", "-in"]).arg(path);
    Ran::from(command.output().expect("openssl is needed: install the package `openssl`")).succeeds().stdout
}
