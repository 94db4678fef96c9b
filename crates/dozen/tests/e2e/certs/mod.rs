//! Certificates with the real binary: from an ACME server, from files, from the local authority.
//!
//! Start reading at [`Site`].

mod failures;
mod kills;
mod local;
mod obtained;
mod own_files;
mod pebble;

use std::{path::Path, process::Command, time::Duration};

use serde_json::Value;

use crate::{
    acme::AcmeServer,
    host::{Ran, TestHost, wait_for},
    project::Project,
    tls_client::{self, Exchanged},
};

/// A host with the app `shop`, and an ACME server that reaches it.
pub struct Site {
    pub host: TestHost,
    pub acme: AcmeServer,
}

impl Site {
    fn start(env: &[(&str, &str)]) -> Self {
        let acme = AcmeServer::start();
        let host = TestHost::start_with(
            &[&settings(&acme).each_ref().map(|(name, value)| (*name, value.as_str())), env].concat(),
        );
        let site = Self { host, acme };
        site.host.up(&Project::small("shop"));
        site.acme.script(|script| script.ports = (site.host.port(), https_port(&site.host)));
        site
    }

    /// The same, and this domain is the app's.
    fn with_domain(name: &str) -> Self {
        let site = Self::start(&[]);
        add_domain(&site.host, name);
        site
    }

    fn add(&self, name: &str) -> Ran {
        self.host.dozen(["certs", "add", name, "--acme"])
    }

    fn get(&self, name: &str) -> Exchanged {
        tls_client::get(https_port(&self.host), name, &self.acme.root()).expect("an answer by TLS")
    }

    /// Waits until clients are shown a certificate.
    fn wait_until_shown(&self, name: &str) -> Exchanged {
        wait_for(&format!("{name} by TLS"), Duration::from_secs(20), || {
            tls_client::get(https_port(&self.host), name, &self.acme.root()).ok()
        })
    }

    fn entry(&self, name: &str) -> Value {
        entry(&self.host, "acme", name).expect("a certificate from ACME")
    }
}

/// The settings of a host that asks this ACME server.
fn settings(acme: &AcmeServer) -> [(&'static str, String); 4] {
    [
        ("DOZEN_LISTEN_HTTPS", "127.0.0.1:0".to_owned()),
        ("DOZEN_ACME_DIRECTORY", acme.directory()),
        ("DOZEN_ACME_CA", acme.tls_root().display().to_string()),
        ("DOZEN_ACME_EMAIL", "ann@example.org".to_owned()),
    ]
}

fn add_domain(host: &TestHost, name: &str) {
    host.dozen(["domains", "add", "-a", "shop", name]).succeeds();
}

fn https_port(host: &TestHost) -> u16 {
    let info = host.dozen(["server", "status", "--json"]).succeeds().json();
    let address = info["listen_https"][0].as_str().expect("an address for HTTPS").to_owned();
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

/// What `dozen certs list` says of a name.
fn entry(host: &TestHost, source: &str, name: &str) -> Option<Value> {
    let listed = host.dozen(["certs", "list", "--json"]).succeeds().json();
    let is_it = |entry: &&Value| {
        let names = entry["names"].as_array().expect("names");
        entry["source"] == source && names.iter().any(|one| one == name)
    };
    listed.as_array().expect("a list").iter().find(is_it).cloned()
}

/// curl, that believes this authority.
fn curl(host: &TestHost, roots: &Path, name: &str) -> Ran {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "30", "--noproxy", "*", "--connect-to"]);
    command.arg(format!("::127.0.0.1:{}", https_port(host))).arg("--cacert").arg(roots);
    command.arg(format!("https://{name}/")).env("HOME", host.home());
    command.output().expect("curl is needed: install the package `curl`").into()
}

/// The server's log.
fn log(host: &TestHost) -> String {
    std::fs::read_to_string(host.home().join("server.log")).expect("the log")
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
