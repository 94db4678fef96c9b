//! The steps of a build that run commands inside walls.
//!
//! Each language's steps turn a plan into layers; [`session::Session`] runs the commands, follows
//! their lines and stops them. Where things stand inside the walls is said here, once.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{runtime::Installed, step::Bind};

pub(crate) mod assets;
mod build_paths;
pub(crate) mod by_hand;
pub(crate) mod dependencies;
pub(crate) mod install_python;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod placeholder;
pub(crate) mod project;
pub(crate) mod python;
pub(crate) mod session;
pub(crate) mod site_packages;

/// Where the app stands; what is installed there names this path.
pub(crate) const APP: &str = "/app";
/// The virtualenv of a Python app.
pub(crate) const VENV: &str = "/app/.venv";
/// Tools of a build.
const TOOLS: &str = "/dozen/tools";
/// The tool's download cache, one for each app.
const CACHE: &str = "/dozen/cache";
/// A home and temporary folder that ends with the build.
const HOME: &str = "/dozen/home";

/// The time that tools which honour it write into what they make: as a layer's own.
const EPOCH: &str = "315532800";

/// The environment of every step. `bin` are folders that come first in `PATH`.
fn base_env(bin: &[String]) -> BTreeMap<String, String> {
    let usual = ["/usr/local/bin", "/usr/bin", "/bin"].map(str::to_owned);
    let mut folders: Vec<String> = bin.to_vec();
    for folder in usual {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    let pairs = [
        ("PATH", folders.join(":")),
        ("HOME", HOME.to_owned()),
        ("TMPDIR", format!("{HOME}/tmp")),
        ("LANG", "C.UTF-8".to_owned()),
        ("TZ", "UTC".to_owned()),
        ("CI", "1".to_owned()),
        ("NO_COLOR", "1".to_owned()),
        ("SOURCE_DATE_EPOCH", EPOCH.to_owned()),
        ("PYTHONHASHSEED", "0".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(crate) fn read_only(host: impl Into<PathBuf>, inside: impl Into<PathBuf>) -> Bind {
    Bind { host: host.into(), inside: inside.into(), writable: false }
}

fn writable(host: impl Into<PathBuf>, inside: impl Into<PathBuf>) -> Bind {
    Bind { host: host.into(), inside: inside.into(), writable: true }
}

/// The runtime as it is installed, with its headers; the walls show `/usr` anyway.
fn real_runtime(installed: &Installed) -> Option<Bind> {
    let (host, inside) = (installed.host_path(&installed.prefix), &installed.prefix);
    (!inside.starts_with("/usr")).then(|| read_only(host, inside))
}

/// The folder of the runtime's programs.
pub(crate) fn runtime_bin(installed: &Installed) -> String {
    installed.program.parent().unwrap_or(Path::new("/usr/bin")).display().to_string()
}
