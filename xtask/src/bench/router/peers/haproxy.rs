//! haproxy: one thread, idle server connections shared, its log sent to a local datagram socket.

use std::{fs, path::Path, process::Command};

use super::{ComesFrom, HOST, Peer, Site, proxy};
use crate::{requirements::Tool, task::TaskError};

pub(super) const HAPROXY: Peer = Peer {
    name: "haproxy",
    comes_from: ComesFrom::Debian(Tool { name: "haproxy", package: "haproxy", needed_for: "a peer" }),
    version: &["-v"],
    speaks_tls: true,
    set_up,
};

fn set_up(program: &Path, site: &Site) -> Result<Command, TaskError> {
    let log = site.log.display();
    let certificates = site.certificates.display();
    let (plain, tls, upstream) = (site.plain, site.tls, site.upstream);
    let hosts = site.folder.join("hosts.map");
    fs::write(&hosts, format!("{HOST} app\n"))?;
    let text = format!(
        r#"global
  nbthread 1
  maxconn 4096
  ssl-default-bind-options ssl-min-ver TLSv1.2
  log {log} len 1024 format rfc5424 local0
defaults
  mode http
  log global
  log-format "method=%HM path=%{{+Q}}HP host=%[var(txn.host)] request_id=%ID fwd=%ci instance=%s connect=%Tc service=%Tr status=%ST bytes=%B"
  option forwardfor
  option dontlognull
  http-reuse always
  timeout connect 5s
  timeout http-request 10s
  timeout http-keep-alive 75s
  timeout client 55s
  timeout server 30s
  timeout tunnel 1h
  unique-id-format %[uuid()]
  unique-id-header X-Request-ID
frontend public
  bind 127.0.0.1:{plain} backlog 4096
  bind 127.0.0.1:{tls} backlog 4096 ssl crt {certificates}/both.pem alpn h2,http/1.1
  http-request use-service prometheus-exporter if {{ path /metrics }}
  http-request set-var(txn.host) req.hdr(host),field(1,:),lower
  http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  http-request set-header X-Forwarded-Host %[var(txn.host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-response set-header X-Request-ID %[unique-id]
  use_backend %[var(txn.host),map_str({hosts})]
backend app
  server web1 127.0.0.1:{upstream} pool-max-conn 256
"#,
        hosts = hosts.display(),
    );
    let conf = site.folder.join("haproxy.cfg");
    fs::write(&conf, text)?;
    let mut command = proxy(program);
    command.arg("-db").arg("-f").arg(&conf);
    Ok(command)
}
