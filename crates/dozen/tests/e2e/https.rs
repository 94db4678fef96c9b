//! HTTPS from a setting to an app: the listener, its certificates, and both through every restart.

use std::process::Command;

use dozen_model::certificates::{Certificate, CertificateSet, PrivateKey};
use dozen_router::client::RouterClient;

use crate::{host::TestHost, project::Project};

/// A certificate of nobody's authority for the app.
pub fn certificate() -> Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let name = "shop.localhost";
    let made = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    Certificate {
        names: vec![name.parse().unwrap()],
        chain: made.pem(),
        key: PrivateKey::new(key.serialize_pem()),
    }
}

/// What the app answers over HTTPS; curl believes this certificate and no other.
#[track_caller]
pub fn fetch(host: &TestHost, certificate: &Certificate, address: &str, version: &str) -> String {
    let file = host.home().join("believed.pem");
    std::fs::write(&file, &certificate.chain).unwrap();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "30", "--noproxy", "*", version]);
    command.args(["--write-out", " over HTTP/%{http_version}", "--connect-to", &format!("::{address}")]);
    let output = command.arg("--cacert").arg(&file).arg("https://shop.localhost/").output();
    let output = output.expect("curl is needed: install the package `curl`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Where the router listens for HTTPS.
pub fn https_address(host: &TestHost) -> String {
    let info = host.dozen(["server", "status", "--json"]).succeeds().json();
    info["listen_https"][0].as_str().expect("an address for HTTPS").to_owned()
}

#[test]
fn an_app_answers_over_https_through_restarts_of_all_that_serves_it() {
    let mut host = TestHost::start_with(&[("DOZEN_LISTEN_HTTPS", "127.0.0.1:0")]);
    host.up(&Project::small("shop"));
    let address = https_address(&host);
    assert_ne!(address, format!("127.0.0.1:{}", host.port()));
    let status = host.dozen(["server", "status"]).succeeds().stdout;
    assert!(status.contains(&format!("HTTPS {address}")), "{status}");
    let doctor = host.dozen(["doctor"]).stdout;
    assert!(doctor.contains(&format!("for HTTPS, on {address}")), "{doctor}");

    let shown = certificate();
    let socket = host.state().join("run/router.sock");
    let set = CertificateSet {
        // Above whatever control numbers its own with.
        generation: u64::MAX / 2,
        certificates: vec![shown.clone()],
        ..CertificateSet::default()
    };
    RouterClient::connect(&socket).unwrap().set_certificates(&set).unwrap();
    for (version, told) in [("--http2", " over HTTP/2"), ("--http1.1", " over HTTP/1.1")] {
        let answer = fetch(&host, &shown, &address, version);
        assert!(answer.starts_with("hello ") && answer.ends_with(told), "{answer}");
    }

    assert_eq!(host.get("shop", "/").status, 301, "in the clear it is sent there");

    let router = host.router_pid();
    host.kill_control();
    fetch(&host, &shown, &address, "--http2");
    host.start_server();
    assert_eq!(host.router_pid(), router, "it is found and kept");
    assert_eq!(https_address(&host), address);
    crate::crash::processes::kill(router);
    fetch(&host, &shown, &address, "--http2");
    assert_ne!(host.router_pid(), router);

    // Another router takes the listeners over, each for what it was.
    let router = host.router_pid();
    host.kill_control();
    host.set_env("DOZEN_TRUSTED_PROXIES", "127.0.0.1");
    host.start_server();
    assert_ne!(host.router_pid(), router);
    assert_eq!(https_address(&host), address);
    fetch(&host, &shown, &address, "--http2");
    assert_eq!(host.get("shop", "/").status, 200, "a trusted proxy that does not say how it was asked");
}
