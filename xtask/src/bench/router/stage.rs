//! Where a workload is measured: a folder, an upstream, and the contenders that are there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use super::{
    options::Options,
    peers::{ComesFrom, Contender, HOST, NGINX_TOOL, PEERS, Peer, Site},
    process::{free_port, pin_the_load},
    upstream::{Upstream, take_logs},
    venv,
};
use crate::{
    requirements::{Tool, provide},
    task::{TaskError, cargo, command, output, repository, run},
};

/// What every run needs besides the peers.
const TOOLS: &[Tool] = &[
    NGINX_TOOL,
    Tool { name: "wrk", package: "wrk", needed_for: "the requests" },
    Tool { name: "h2load", package: "nghttp2-client", needed_for: "the requests of HTTP/2" },
    Tool { name: "curl", package: "curl", needed_for: "new handshakes" },
    Tool { name: "openssl", package: "openssl", needed_for: "the certificate" },
    Tool { name: "python3", package: "python3-venv", needed_for: "peers that come as Python packages" },
];

/// All that a run shares; the folder is removed in the end.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) options: Options,
    pub(super) contenders: Vec<Contender>,
    /// Peers that are not here, and why.
    pub(super) missing: Vec<(String, String)>,
    pub(super) upstream: Upstream,
    folder: PathBuf,
    /// How many there were: each has a folder of its own.
    sites: AtomicU32,
}

impl Stage {
    /// Provides what the run needs, builds ours, and starts the upstream.
    pub(super) fn set(options: Options) -> Result<Self, TaskError> {
        let wanted: Vec<&'static Peer> =
            PEERS.iter().filter(|peer| options.peers.iter().any(|name| name == peer.name)).collect();
        let debian = wanted.iter().filter_map(|peer| match peer.comes_from {
            ComesFrom::Debian(tool) => Some(tool),
            _ => None,
        });
        let tools: Vec<Tool> = TOOLS.iter().copied().chain(debian).collect();
        provide(&tools, options.install)?;
        venv::provide(&wanted, options.install)?;
        let mut contenders = ours(&options)?;
        let mut missing = Vec::new();
        for peer in wanted {
            match Contender::find(peer) {
                Ok(contender) => contenders.push(contender),
                Err(why) => missing.push((peer.name.to_owned(), why)),
            }
        }
        pin_the_load()?;
        let folder = std::env::temp_dir().join(format!("dozen-bench-{}", std::process::id()));
        fs::create_dir(&folder)?;
        make_certificate(&folder)?;
        let upstream = Upstream::start(&folder)?;
        Ok(Self { options, contenders, missing, upstream, folder, sites: AtomicU32::new(0) })
    }

    /// Where the certificate is.
    pub(super) fn certificates(&self) -> &Path {
        &self.folder
    }

    /// What `contender` is set up for, in a fresh folder, with nothing but the upstream behind it.
    pub(super) fn site(&self, contender: &Contender) -> Result<Site, TaskError> {
        let number = self.sites.fetch_add(1, Relaxed);
        let folder = self.folder.join(format!("{}-{number}", contender.name));
        fs::create_dir(&folder)?;
        let log = folder.join("log.sock");
        take_logs(&log)?;
        let (plain, tls) = (free_port()?, free_port()?);
        let certificates = self.folder.clone();
        Ok(Site { folder, upstream: self.upstream.port, plain, tls, certificates, log, hosts: 1 })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The binaries that were named, or this revision's, built now.
fn ours(options: &Options) -> Result<Vec<Contender>, TaskError> {
    if !options.ours.is_empty() {
        let named = options.ours.iter();
        return Ok(named.map(|(name, path)| Contender::ours(name, path, shown(path))).collect());
    }
    run(&mut cargo([
        "build",
        "--release",
        "--locked",
        "--package",
        "dozen-router",
        "--bin",
        "router-probe",
    ]))?;
    let revision = output(&mut command("git", ["describe", "--always", "--dirty"]))?;
    let program = repository().join("target/release/router-probe");
    Ok(vec![Contender::ours("dozen", &program, revision.trim().to_owned())])
}

/// A certificate for the host of the requests, with the kind of key that most have now.
fn make_certificate(folder: &Path) -> Result<(), TaskError> {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    openssl.args(["-days", "30", "-subj", &format!("/CN={HOST}")]);
    openssl.args(["-addext", &format!("subjectAltName=DNS:{HOST}")]);
    openssl.args(["-keyout", "key.pem", "-out", "certificate.pem"]).current_dir(folder);
    output(&mut openssl)?;
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| fs::read(folder.join(name)));
    fs::write(folder.join("both.pem"), [certificate?, key?].concat())?;
    Ok(())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
