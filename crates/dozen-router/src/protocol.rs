//! The control protocol: one line of JSON each way over a unix socket.
//!
//! Requests are objects with one key, such as `{"set_table": {…}}` or `{"in_flight": {}}`; so are
//! the answers. Only root and the router's own user may speak it.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use dozen_model::{address_range::AddressRange, certificates::CertificateSet, route_table::RouteTable};
use serde::{Deserialize, Serialize};

use crate::{listen::ListenerKind, options::Limits};

/// What control asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Route by this table; answered once it is on disk and every thread routes by it.
    SetTable(RouteTable),
    /// Show these certificates; answered once they are on disk and every handshake shows them.
    SetCertificates(CertificateSet),
    /// How many requests each endpoint has.
    InFlight {},
    /// Copies of the public listeners.
    Listeners {},
    /// How the router does.
    Status {},
    /// What was counted.
    Metrics {},
    /// End the upgraded connections of an endpoint, now and from now on.
    CloseUpgraded { endpoint: String },
}

/// What the router answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The generation that is now routed by.
    Swapped(u64),
    /// The generation of the certificates that are now shown.
    CertificatesSwapped(u64),
    /// Endpoint id to load.
    InFlight(BTreeMap<String, EndpointLoad>),
    /// What clients speak on the listeners whose descriptors came along, in their order.
    Listeners(Vec<ListenerKind>),
    /// The status.
    Status(Box<RouterStatus>),
    /// What was counted, as Prometheus reads it.
    Metrics(String),
    /// How many connections were told to end.
    Closing(usize),
    /// Why not.
    Refused(String),
}

/// What an endpoint has in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointLoad {
    /// Requests that are not answered to the last byte yet.
    pub requests: usize,
    /// Upgraded connections (WebSockets) that are open.
    pub upgraded: usize,
    /// Those of `requests` whose method may change something: what a hold of unsafe requests came
    /// too late for.
    #[serde(default)]
    pub unsafe_requests: usize,
}

impl std::ops::AddAssign for EndpointLoad {
    /// What two routers have in flight to the same endpoint.
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.upgraded += other.upgraded;
        self.unsafe_requests += other.unsafe_requests;
    }
}

/// How the router does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// The generation of the route table in use; 0 before the first.
    pub generation: u64,
    /// The router's process id.
    pub pid: u32,
    /// Threads that serve requests.
    pub threads: usize,
    /// Client connections accepted since the start.
    pub connections: u64,
    /// Client connections open now.
    pub open_connections: u64,
    /// Requests taken since the start.
    pub requests: u64,
    /// Requests refused because their head or framing was not acceptable.
    pub malformed: u64,
    /// Requests refused because no app answers to their host.
    #[serde(default)]
    pub unknown_hosts: u64,
    /// Requests held now.
    pub held: usize,
    /// Requests sent again because a pooled connection had died.
    pub replayed: u64,
    /// Access log lines that could not be written.
    pub dropped_lines: u64,
    /// Whether the router is on its way out.
    pub draining: bool,
    /// The proxies it was told to believe.
    #[serde(default)]
    pub trusted_proxies: Vec<AddressRange>,
    /// The limits it was told.
    #[serde(default)]
    pub limits: Limits,
    /// Where it stores its table.
    #[serde(default)]
    pub state_dir: PathBuf,
    /// Its public listeners.
    #[serde(default)]
    pub listeners: Vec<ListenerStatus>,
    /// The generation of the certificates in use; 0 before the first.
    #[serde(default)]
    pub certificate_generation: u64,
    /// How many certificates it has.
    #[serde(default)]
    pub certificates: usize,
    /// TLS handshakes completed since the start.
    #[serde(default)]
    pub tls_handshakes: u64,
    /// Those of them that went on with an earlier session.
    #[serde(default)]
    pub tls_resumed: u64,
    /// TLS handshakes that failed.
    #[serde(default)]
    pub tls_failures: u64,
}

/// A public listener of the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Where it listens.
    pub address: SocketAddr,
    /// What clients speak there.
    pub kind: ListenerKind,
}
