//! Fetches uv's wheel: with a Python's standard library, else with its pip.
//!
//! The first needs nothing that Python does not bring, since Debian's has no pip. The second is
//! for what only pip knows: a keyring, a proxy of another kind, a folder of wheels. Both keep to
//! the machine's own index, proxy and CA settings, and no password of them gets into an argument
//! or an error.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::json;

use super::UV_VERSION;
use crate::{
    error::shown,
    network_settings::{certificate_file, indexes},
    runtime::Installed,
};

const SCRIPT: &str = include_str!("fetch_wheel.py");
/// How long the download may take.
const LONGEST_SECONDS: u32 = 300;

/// The wheel, in a folder of ours; else why every way failed.
pub(super) fn fetch(
    pythons: &[Installed],
    platform: &str,
    hash: &str,
    network: &BTreeMap<String, String>,
    into: &Path,
) -> Result<PathBuf, String> {
    if pythons.is_empty() {
        return Err("it is fetched with a Python 3, and none was found".into());
    }
    let mut reasons = Vec::new();
    for python in pythons {
        match by_standard_library(python, platform, network, into) {
            Ok(wheel) => return Ok(wheel),
            Err(NotFetched::NoTls) => reasons.push(format!("{} has no TLS", python.described())),
            Err(NotFetched::Because(reason)) => {
                reasons.push(reason);
                break;
            }
        }
    }
    let Some(python) = pythons.iter().rev().find(|python| has_pip(python)) else {
        return Err(reasons.join("; "));
    };
    by_pip(python, platform, hash, network, into).map_err(|reason| {
        reasons.push(format!("pip: {reason}"));
        reasons.join("; ")
    })
}

enum NotFetched {
    /// This Python was built without; another one may have it.
    NoTls,
    Because(String),
}

fn by_standard_library(
    python: &Installed,
    platform: &str,
    network: &BTreeMap<String, String>,
    into: &Path,
) -> Result<PathBuf, NotFetched> {
    let wheel = into.join("uv.whl");
    let wish = json!({
        "project": "uv",
        "begins": format!("uv-{UV_VERSION}-"),
        "platform": platform,
        "indexes": indexes(network),
        "certificates": certificate_file(network),
        "seconds": LONGEST_SECONDS,
        "into": wheel,
    });
    let because = |error: &std::io::Error| NotFetched::Because(error.to_string());
    let mut child = Command::new(python.host_program())
        .args(["-I", "-B", "-c", SCRIPT])
        .envs(network.iter().filter(|(name, _)| name.to_ascii_lowercase().ends_with("_proxy")))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| because(&error))?;
    // A script that ended early has said why.
    let _ = child.stdin.take().map(|mut input| input.write_all(wish.to_string().as_bytes()));
    let output = child.wait_with_output().map_err(|error| because(&error))?;
    if output.status.success() {
        return Ok(wheel);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or("Python ended badly");
    if last.contains("_ssl") {
        return Err(NotFetched::NoTls);
    }
    Err(NotFetched::Because(shown(last.as_bytes())))
}

fn has_pip(python: &Installed) -> bool {
    let status = Command::new(python.host_program())
        .args(["-m", "pip", "--version"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn by_pip(
    python: &Installed,
    platform: &str,
    hash: &str,
    network: &BTreeMap<String, String>,
    into: &Path,
) -> Result<PathBuf, String> {
    let wish = into.join("wish.txt");
    fs::write(&wish, format!("uv=={UV_VERSION} --hash=sha256:{hash}\n"))
        .map_err(|error| error.to_string())?;
    let output = Command::new(python.host_program())
        .args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"])
        .args(["--require-hashes", "--only-binary", ":all:", "--no-deps", "--no-cache-dir"])
        // It was just seen to be unreachable.
        .args(["--retries", "1", "--platform", platform, "--dest"])
        .arg(into)
        .arg("--requirement")
        .arg(&wish)
        .envs(network)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| line.starts_with("ERROR")).unwrap_or("it ended badly");
    let mut wheels = fs::read_dir(into).into_iter().flatten().flatten().map(|entry| entry.path());
    let wheel = wheels.find(|path| path.extension().is_some_and(|end| end == "whl"));
    wheel.filter(|_| output.status.success()).ok_or_else(|| shown(last.as_bytes()))
}
