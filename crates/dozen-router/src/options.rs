//! What the router is started with, and its limits.

use std::{os::fd::OwnedFd, path::PathBuf, time::Duration};

use dozen_model::address_range::AddressRange;
use serde::{Deserialize, Serialize};

use crate::{error::RouterError, launch::Launch, listen::Listener};

/// The uid and gid that a router started as root continues as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropTo {
    /// The user id, not 0.
    pub uid: u32,
    /// The group id; supplementary groups are given up.
    pub gid: u32,
}

/// Everything that a router is started with; it reads no environment.
#[derive(Debug)]
pub struct RouterOptions {
    /// Bound and listening TCP sockets. There are as many threads as the address with the most of
    /// them has, up to eight; each address is spread over all of them.
    pub listeners: Vec<Listener>,
    /// The bound and listening unix socket on which control speaks.
    pub control: OwnedFd,
    /// Where the last route table and certificates are kept; the router's uid must be able to write it.
    pub state_dir: PathBuf,
    /// Below which access logs are written, a folder for each app and stage.
    pub access_dir: PathBuf,
    /// What to continue as, when started as root.
    pub drop_to: Option<DropTo>,
    /// Proxies before this router whose word about the client counts.
    pub trusted_proxies: Vec<AddressRange>,
    /// Time limits and bounds.
    pub limits: Limits,
}

impl RouterOptions {
    /// Takes the options that [`Launch::spawn`] sent over standard input.
    ///
    /// Call it first, before any thread is started.
    pub fn from_stdin() -> Result<Self, RouterError> {
        Launch::receive().map_err(RouterError::NoLaunch)
    }
}

/// Time limits and bounds of the data path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// For a whole request head, and for a TLS handshake.
    pub header_read: Duration,
    /// Bytes of a request head.
    pub head_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// Client connections open at once, in all; the process's descriptors may allow fewer.
    pub connections: usize,
    /// The same for each client address; trusted proxies, who speak for many, have no such bound.
    pub connections_per_client: usize,
    /// For a client connection without a request.
    pub keep_alive: Duration,
    /// For a connection to an instance.
    pub connect: Duration,
    /// From the end of the request to the first byte of the answer.
    pub first_byte: Duration,
    /// Without any progress while a body moves, in either direction; upgraded connections are exempt.
    pub idle: Duration,
    /// Age at which an idle connection to an instance is given up: below the keep-alive limits of
    /// app servers (gunicorn 2 s, uvicorn and node 5 s are met by liveness checks and replay).
    pub pool_idle: Duration,
    /// The same for requests that may not be sent twice. Zero, the default, gives each of them a
    /// new connection: an app may close a pooled one at any moment, also right after an answer, and
    /// neither we nor the client could know whether it read the request.
    pub pool_idle_unsafe: Duration,
    /// From SIGTERM to the end, for what is in flight.
    pub drain: Duration,
    /// Requests held at once, per stage.
    pub held_per_stage: usize,
    /// Idle connections kept to an instance, per thread.
    pub pool_per_endpoint: usize,
    /// Size at which an access log file is followed by the next.
    pub access_file_bytes: u64,
    /// Access log files kept per stage; the oldest goes first.
    pub access_files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_read: Duration::from_secs(10),
            head_bytes: 64 << 10,
            headers: 100,
            connections: 1 << 18,
            connections_per_client: 4096,
            keep_alive: Duration::from_secs(75),
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(55),
            pool_idle: Duration::from_secs(3),
            pool_idle_unsafe: Duration::ZERO,
            drain: Duration::from_secs(30),
            held_per_stage: 1000,
            pool_per_endpoint: 128,
            access_file_bytes: 8 << 20,
            access_files: 8,
        }
    }
}
