//! An ACME server that others wrote: Pebble, of Let's Encrypt.

use std::{
    net::{Ipv4Addr, TcpListener, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use super::{add_domain, entry, https_port};
use crate::{
    host::{TestHost, skip, wait_for},
    project::Project,
    tls_client,
};

/// Programs that end with the test.
struct Pebble(Vec<Child>);

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Ports that were free a moment ago: neither program tells which one it got.
fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let held = [(); COUNT].map(|()| {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = tcp.local_addr().expect("its address").port();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        (port, tcp, udp)
    });
    held.map(|(port, _, _)| port)
}

#[test]
fn pebble_issues_a_certificate_by_either_validation_although_it_refuses_good_nonces() {
    for program in ["pebble", "pebble-challtestsrv"] {
        if !Path::new("/usr/bin").join(program).is_file() {
            return skip(&format!("`{program}` is not installed"));
        }
    }
    let [acme, manage, dns, dns_manage] = free_ports();
    let mut host = TestHost::without_server();
    host.set_env("DOZEN_LISTEN_HTTPS", "127.0.0.1:0");
    host.set_env("DOZEN_ACME_DIRECTORY", &format!("https://127.0.0.1:{acme}/dir"));
    let (tls, root) = (host.home().join("tls.pem"), host.home().join("root.pem"));
    host.set_env("DOZEN_ACME_CA", tls.to_str().expect("a path"));
    host.start_server();
    host.up(&Project::small("shop"));
    let ports = [acme, manage, dns, dns_manage];
    // Nobody is at port 1. The second server does not know the account that the first one made.
    for (http, name) in [(host.port(), "by-http.example.org"), (1, "by-tls.example.org")] {
        let _pebble = pebble(&host, ports, http);
        std::fs::write(&root, root_of(manage, &tls)).expect("the root");
        wait_for("pebble to take connections", Duration::from_secs(20), || {
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, acme)).ok()
        });
        add_domain(&host, name);
        host.dozen(["certs", "add", name, "--acme"]).succeeds();
        host.dozen(["certs", "renew", name]).succeeds();
        let got = tls_client::get(https_port(&host), name, &root).expect("an answer");
        assert!(got.text.contains("hello v1 "), "{got:?}");
        assert_eq!(entry(&host, "acme", name).expect("it")["state"], "valid");
    }
}

/// What its certificates are believed for: another one at each start.
fn root_of(manage: u16, tls: &Path) -> String {
    let request = "GET /roots/0 HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n";
    let told = wait_for("pebble", Duration::from_secs(20), || {
        let told = tls_client::exchange((Ipv4Addr::LOCALHOST, manage).into(), "127.0.0.1", tls, request);
        told.ok().filter(|told| told.text.contains("BEGIN"))
    });
    told.text[told.text.find("-----BEGIN").expect("a certificate")..].to_owned()
}

fn pebble(host: &TestHost, [acme, manage, dns, dns_manage]: [u16; 4], http: u16) -> Pebble {
    let folder = host.home();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.join("tls.pem"), own.pem()).expect("a file");
    std::fs::write(folder.join("tls.key"), key.serialize_pem()).expect("a file");
    let config = json!({"pebble": {
        "listenAddress": format!("127.0.0.1:{acme}"),
        "managementListenAddress": format!("127.0.0.1:{manage}"),
        "certificate": folder.join("tls.pem"),
        "privateKey": folder.join("tls.key"),
        "httpPort": http,
        "tlsPort": https_port(host),
        "externalAccountBindingRequired": false,
    }});
    std::fs::write(folder.join("pebble.json"), config.to_string()).expect("a file");
    let start = |command: &mut Command| {
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the program")
    };
    let dns_at = format!("127.0.0.1:{dns}");
    let mut names = Command::new("pebble-challtestsrv");
    names.args(["-dns01", &dns_at, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", ""]);
    names.args(["-https01", "", "-tlsalpn01", "", "-management", &format!("127.0.0.1:{dns_manage}")]);
    let mut server = Command::new("pebble");
    server.args(["-strict", "-config", "pebble.json", "-dnsserver", &dns_at]);
    server.envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_WFE_NONCEREJECT", "10"), ("PEBBLE_AUTHZREUSE", "50")]);
    Pebble(vec![start(&mut names), start(&mut server)])
}
