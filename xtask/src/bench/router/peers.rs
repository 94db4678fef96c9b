//! Who is measured: our router and its peers, each set up as its experts would.
//!
//! All of them do the same work: they route by host, keep connections to the upstream open, speak
//! HTTP/1.1 to it, add `X-Forwarded-For`, `-Proto`, `-Host` and `-Port` and a request id that the
//! answer carries too, count for their metrics, and write an access log with the same fields, buffered
//! where they can. Each has one worker or thread.
//!
//! A file for each; it writes the configuration and says what to start.

mod caddy;
mod envoy;
mod haproxy;
mod nginx;
mod ours;
mod traefik;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub(super) use nginx::{TOOL as NGINX_TOOL, frame as nginx_frame};
pub(super) use ours::OURS;

use super::{process::pinned, venv};
use crate::{
    requirements::Tool,
    task::{TaskError, find},
};

/// The host that all requests are for.
pub(super) const HOST: &str = "bench.test";

/// What a contender is set up for.
#[derive(Debug)]
pub(super) struct Site {
    /// Where its files go.
    pub(super) folder: PathBuf,
    /// The port that its requests go to.
    pub(super) upstream: u16,
    /// The port that it listens on.
    pub(super) plain: u16,
    /// The port for TLS.
    pub(super) tls: u16,
    /// Where `certificate.pem`, `key.pem` and `both.pem` are.
    pub(super) certificates: PathBuf,
    /// A datagram socket that takes its log, for one that sends it.
    pub(super) log: PathBuf,
    /// How many hosts it routes, the one of the requests last; only for ours.
    pub(super) hosts: usize,
}

/// One of those that may be measured.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) comes_from: ComesFrom,
    /// Arguments that make it tell its version.
    pub(super) version: &'static [&'static str],
    pub(super) speaks_tls: bool,
    /// Writes its configuration; the command comes back.
    pub(super) set_up: fn(&Path, &Site) -> Result<Command, TaskError>,
}

/// How a peer gets here.
#[derive(Debug)]
pub(super) enum ComesFrom {
    Debian(Tool),
    /// A package of the Python index, and where its program is in the environment.
    PyPi {
        package: &'static str,
        program: &'static str,
    },
    Us,
}

/// All but ours.
pub(super) const PEERS: &[Peer] =
    &[nginx::NGINX, haproxy::HAPROXY, traefik::TRAEFIK, caddy::CADDY, envoy::ENVOY];

/// One that takes part.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) version: String,
    pub(super) peer: &'static Peer,
}

impl Contender {
    pub(super) fn ours(name: &str, program: &Path, version: String) -> Self {
        Self { name: name.to_owned(), program: program.to_owned(), version, peer: &OURS }
    }

    /// One that is installed; otherwise why it is not.
    pub(super) fn find(peer: &'static Peer) -> Result<Self, String> {
        let program = match &peer.comes_from {
            ComesFrom::Debian(tool) => find(tool.name, "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
            ComesFrom::PyPi { program, .. } => venv::program(program),
            ComesFrom::Us => None,
        };
        let program = program.ok_or("not installed")?;
        let told = Command::new(&program).args(peer.version).output().map_err(|error| error.to_string())?;
        let told = [told.stdout, told.stderr].concat();
        let version = version(&String::from_utf8_lossy(&told)).ok_or("it tells no version")?;
        Ok(Self { name: peer.name.to_owned(), program, version, peer })
    }

    /// Writes its configuration; the command that starts it comes back.
    pub(super) fn set_up(&self, site: &Site) -> Result<Command, TaskError> {
        (self.peer.set_up)(&self.program, site)
    }

    pub(super) fn is_ours(&self) -> bool {
        matches!(self.peer.comes_from, ComesFrom::Us)
    }
}

fn proxy(program: &Path) -> Command {
    pinned(super::process::PROXY_CPU, program)
}

/// The first thing that looks like a version.
fn version(told: &str) -> Option<String> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    let parts = told.split(|c| !is_part(c)).map(|part| part.trim_matches('.'));
    parts.filter(|part| part.matches('.').count() >= 2).map(str::to_owned).next()
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_are_found_in_what_peers_tell() {
        for (told, wanted) in [
            ("nginx version: nginx/1.22.1\n", "1.22.1"),
            ("HAProxy version 2.6.12-1+deb12u4 2026/10/17", "2.6.12"),
            ("v2.11.7 h1:abc=", "2.11.7"),
            ("python3.11/envoy  version: 8b/1.40.0/Clean", "1.40.0"),
            ("Version:      3.7.15\nCodename:     x", "3.7.15"),
        ] {
            assert_eq!(super::version(told).as_deref(), Some(wanted));
        }
    }
}
