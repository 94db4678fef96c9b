//! nginx: one worker, an upstream pool, a buffered access log.

use std::{fs, path::Path, process::Command};

use super::{ComesFrom, HOST, Peer, Site, proxy};
use crate::{requirements::Tool, task::TaskError};

pub(super) const NGINX: Peer =
    Peer { name: "nginx", comes_from: ComesFrom::Debian(TOOL), version: &["-v"], speaks_tls: true, set_up };

/// It is the upstream, too.
pub(in super::super) const TOOL: Tool =
    Tool { name: "nginx", package: "nginx-light", needed_for: "the upstream, and a peer" };

/// What every nginx here needs: nothing outside its folder, and room for thousands of connections.
pub(in super::super) fn frame(folder: &Path, http: &str) -> String {
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {}/{name};\n", folder.display()))
        .concat();
    format!(
        "daemon off;\nworker_processes 1;\npid {0}/pid;\n\
         error_log {0}/error.log warn;\nevents {{ worker_connections 8192; }}\nhttp {{\n{paths}{http}}}\n",
        folder.display()
    )
}

fn set_up(program: &Path, site: &Site) -> Result<Command, TaskError> {
    let folder = site.folder.display();
    let certificates = site.certificates.display();
    let (plain, tls, upstream) = (site.plain, site.tls, site.upstream);
    let http = format!(
        r#"  log_format lines '$time_iso8601 method=$request_method path="$uri" host=$host request_id=$request_id '
    'fwd="$remote_addr" instance=$upstream_addr connect=$upstream_connect_time '
    'service=$upstream_response_time status=$status bytes=$body_bytes_sent';
  access_log {folder}/access.log lines buffer=64k flush=1s;
  server_tokens off;
  keepalive_requests 1000000;
  tcp_nodelay on;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream app {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000; }}
  server {{ listen 127.0.0.1:{plain} default_server backlog=4096; return 404; }}
  server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{tls} ssl http2 backlog=4096;
    ssl_certificate {certificates}/certificate.pem;
    ssl_certificate_key {certificates}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:10m;
    server_name {HOST};
    location = /metrics {{ stub_status; access_log off; }}
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Forwarded-Port $server_port;
      proxy_set_header X-Request-ID $request_id;
      add_header X-Request-ID $request_id always;
      proxy_buffer_size 16k;
      proxy_buffers 16 16k;
      proxy_max_temp_file_size 0;
    }}
  }}
"#
    );
    let conf = site.folder.join("nginx.conf");
    fs::write(&conf, frame(&site.folder, &http))?;
    let mut command = proxy(program);
    command.args(["-e", "stderr", "-p"]).arg(&site.folder).arg("-c").arg(&conf);
    Ok(command)
}
