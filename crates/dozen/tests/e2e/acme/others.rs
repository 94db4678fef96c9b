//! A client that others wrote gets its certificates from the server: lego.

use std::{net::Ipv4Addr, path::Path, process::Command};

use super::AcmeServer;
use crate::host::{Ran, skip};

/// A port that was free a moment ago: the client binds its own.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

/// Runs it with an account and certificates of its own in `folder`.
fn lego(server: &AcmeServer, folder: &Path, words: &[&str]) -> Ran {
    let (http, tls) = (free_port(), free_port());
    server.script(|script| script.ports = (http, tls));
    let mut command = Command::new("lego");
    command.env("LEGO_CA_CERTIFICATES", server.tls_root()).env("HOME", folder).current_dir(folder);
    command.args(["--server", &server.directory(), "--accept-tos", "--email", "ann@example.org", "--path"]);
    command.arg(folder).args(["--http.port", &format!("127.0.0.1:{http}")]);
    command.args(["--tls.port", &format!("127.0.0.1:{tls}")]).args(words);
    Ran::from(command.output().expect("lego"))
}

#[test]
fn lego_gets_renews_and_revokes_certificates_with_either_kind_of_key_and_validation() {
    if !Path::new("/usr/bin/lego").is_file() {
        return skip("`lego` is not installed");
    }
    let server = AcmeServer::start();
    server.script(|script| script.bad_nonce_each = Some(7));
    let folder = tempfile::tempdir().expect("a folder");
    for (key, validation) in [("ec256", "--http"), ("rsa2048", "--tls")] {
        let folder = folder.path().join(key);
        std::fs::create_dir(&folder).expect("a folder");
        let name = format!("{key}.example.org");
        let words = ["--key-type", key, validation, "--domains", &name];
        lego(&server, &folder, &[words.as_slice(), &["run"]].concat()).succeeds();
        let chain = folder.join("certificates").join(format!("{name}.crt"));
        let mut openssl = Command::new("openssl");
        openssl.args(["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile"]).arg(server.root());
        openssl.arg("-untrusted").arg(&chain).arg(&chain);
        Ran::from(openssl.output().expect("openssl")).succeeds();
        lego(
            &server,
            &folder,
            &[words.as_slice(), &["renew", "--days", "365", "--no-random-sleep"]].concat(),
        )
        .succeeds();
        lego(&server, &folder, &[words.as_slice(), &["revoke", "--keep"]].concat()).succeeds();
        let again = lego(&server, &folder, &[words.as_slice(), &["revoke"]].concat());
        assert!(again.stderr.contains("alreadyRevoked"), "{again:?}");
    }
    assert_eq!((server.accounts(), server.orders(), server.issued()), (2, 4, 4));

    server.script(|script| script.binding = Some(("kid-1".into(), b"a secret of both".to_vec())));
    let bound = folder.path().join("bound");
    std::fs::create_dir(&bound).expect("a folder");
    let hmac = super::jws::encoded(b"a secret of both");
    let words = ["--http", "--domains", "bound.example.org"];
    let refused = lego(&server, &bound, &[words.as_slice(), &["run"]].concat());
    assert!(
        refused.stderr.contains("externalAccountRequired") || refused.stderr.contains("External Account"),
        "{refused:?}"
    );
    let binding = ["--eab", "--kid", "kid-1", "--hmac", &hmac];
    lego(&server, &bound, &[binding.as_slice(), &words, &["run"]].concat()).succeeds();
    assert_eq!(server.accounts(), 3);
}
