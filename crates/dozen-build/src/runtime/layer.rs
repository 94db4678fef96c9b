//! Makes the layer of a runtime: a pruned copy, compiled, mounted where the original is.
//!
//! Left out are tests, headers, static libraries, the installer, tkinter, and the packages that
//! happen to be installed on this machine. Bytecode is compiled anew as unchecked-hash: a layer's
//! times are normalised, and bytecode that is checked against times would be made at every start.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use dozen_model::digest::Digest;
use serde::{Deserialize, Serialize};

use super::Installed;
use crate::{
    error::{BuildError, shown_path},
    store::{LayerStore, Lease, read_json, write_json},
    tree_copy::Adoption,
};

/// Raised when the copy changes for the same runtime.
const COPY_VERSION: u32 = 1;

/// A runtime's layer.
#[derive(Debug)]
pub struct RuntimeLayer {
    /// Its name in the store.
    pub digest: Digest,
    /// The paths at which parts of it are mounted.
    pub mounts: Vec<String>,
    /// Where its tree is.
    pub tree: std::path::PathBuf,
    /// Whether it was there already.
    pub cached: bool,
    /// Keeps it in the store.
    pub lease: Lease,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    installed: Installed,
    copy_version: u32,
    with_npm: bool,
    digest: Digest,
}

/// The layer of `installed`, made when the store has none yet; `with_npm` takes npm along with Node.
pub fn runtime_layer(
    store: &LayerStore,
    installed: &Installed,
    with_npm: bool,
) -> Result<RuntimeLayer, BuildError> {
    let key = Digest::of(format!("{}\n{with_npm}", installed.program.display()).as_bytes());
    let remembered_path = store.cache().join("runtimes").join(format!("{}.json", key.hex()));
    let parts = parts_of(installed, with_npm);
    let mounts: Vec<String> = parts.iter().map(|part| part.display().to_string()).collect();
    let remembered: Option<Remembered> = read_json(&remembered_path);
    if let Some(known) = remembered
        && known.installed == *installed
        && (known.copy_version, known.with_npm) == (COPY_VERSION, with_npm)
    {
        let lease = store.lease(&known.digest);
        if store.has(&known.digest) {
            store.touch(&known.digest);
            let tree = store.path(&known.digest);
            return Ok(RuntimeLayer { digest: known.digest, mounts, tree, cached: true, lease });
        }
    }
    let staging = tempfile::Builder::new()
        .prefix("runtime-")
        .tempdir_in(store.tmp())
        .map_err(BuildError::io("make a folder in `tmp`"))?;
    for part in &parts {
        copy_part(&installed.host_path(part), &below(staging.path(), part))?;
    }
    if installed.name == "python" {
        add_python_names(installed, staging.path())?;
        compile_stdlib(installed, staging.path())?;
    }
    let (digest, lease) = store.adopt(staging.path(), Adoption::default())?;
    let known = Remembered { installed: installed.clone(), copy_version: COPY_VERSION, with_npm, digest };
    write_json(&remembered_path, &known)?;
    let tree = store.path(&known.digest);
    Ok(RuntimeLayer { digest: known.digest, mounts, tree, cached: false, lease })
}

/// The paths that make up a runtime. Below `/usr`, where the walls show the host's own, only the
/// runtime's files; elsewhere the prefix.
fn parts_of(installed: &Installed, with_npm: bool) -> Vec<PathBuf> {
    if installed.name == "python" {
        if installed.is_systems() {
            return vec![installed.program.clone(), installed.stdlib.clone()];
        }
        return vec![installed.prefix.clone()];
    }
    let mut parts = vec![installed.program.clone()];
    let npm = npm_of(installed);
    if with_npm && npm.is_dir() {
        parts.push(npm);
    }
    parts
}

/// Where npm's own files are.
pub(crate) fn npm_of(installed: &Installed) -> PathBuf {
    installed.prefix.join("lib/node_modules/npm")
}

/// Copies one path of the host into the layer.
fn copy_part(part: &Path, target: &Path) -> Result<(), BuildError> {
    let above = target.parent().unwrap_or(target);
    fs::create_dir_all(above).map_err(BuildError::io("make a folder of a runtime"))?;
    copy_pruned(part, target, part)
}

fn below(staging: &Path, path: &Path) -> PathBuf {
    staging.join(path.strip_prefix("/").unwrap_or(path))
}

fn copy_pruned(from: &Path, to: &Path, top: &Path) -> Result<(), BuildError> {
    let doing = || format!("copy `{}`", shown_path(from));
    let facts = fs::symlink_metadata(from).map_err(BuildError::io(doing()))?;
    if facts.is_symlink() {
        let target = fs::read_link(from).map_err(BuildError::io(doing()))?;
        // A link that leaves the runtime would mean something else on another host.
        let leaves = target.is_absolute() || !from.canonicalize().is_ok_and(|real| real.starts_with(top));
        if leaves {
            return Ok(());
        }
        return std::os::unix::fs::symlink(target, to).map_err(BuildError::io(doing()));
    }
    if facts.is_file() {
        return fs::copy(from, to).map(drop).map_err(BuildError::io(doing()));
    }
    if !facts.is_dir() {
        return Ok(());
    }
    fs::create_dir(to).map_err(BuildError::io(doing()))?;
    for entry in fs::read_dir(from).map_err(BuildError::io(doing()))? {
        let entry = entry.map_err(BuildError::io(doing()))?;
        let path = entry.path();
        if !is_left_out(path.strip_prefix(top).unwrap_or(&path)) {
            copy_pruned(&path, &to.join(entry.file_name()), top)?;
        }
    }
    Ok(())
}

/// Whether a path, relative to the part that is copied, is not needed to run an app.
fn is_left_out(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let top = text.split('/').next().unwrap_or_default();
    // Of a Python prefix: `bin` gets its few names afterwards.
    if matches!(top, "include" | "share" | "man" | "bin") {
        return true;
    }
    let in_stdlib = text
        .split_once("lib/python3")
        .map_or(text.as_ref(), |(_, rest)| rest.split_once('/').map_or("", |(_, inner)| inner));
    let first = in_stdlib.split('/').next().unwrap_or_default();
    let unused = ["test", "idlelib", "turtledemo", "tkinter", "ensurepip", "site-packages", "dist-packages"];
    unused.contains(&first)
        || first.starts_with("config-3")
        || matches!(name.as_ref(), "__pycache__" | "pkgconfig" | "EXTERNALLY-MANAGED")
        || name.ends_with(".a")
        || (in_stdlib.starts_with("lib-dynload/")
            && (name.starts_with("_tkinter") || name.starts_with("_test")))
        || in_stdlib == "unittest/test"
        || in_stdlib == "lib2to3/tests"
        || in_stdlib == "distutils/tests"
}

/// `bin/python3.11` and the names that a virtualenv or a `#!` line uses for it.
fn add_python_names(installed: &Installed, staging: &Path) -> Result<(), BuildError> {
    if installed.is_systems() {
        return Ok(());
    }
    let bin = below(staging, &installed.prefix).join("bin");
    let doing = "name the Python of a runtime";
    fs::create_dir_all(&bin).map_err(BuildError::io(doing))?;
    let name = installed.program.file_name().unwrap_or_default();
    fs::copy(installed.host_program(), bin.join(name)).map_err(BuildError::io(doing))?;
    for link in ["python3", "python"] {
        if Path::new(link) != Path::new(name) {
            std::os::unix::fs::symlink(name, bin.join(link)).map_err(BuildError::io(doing))?;
        }
    }
    Ok(())
}

/// Compiles the copied standard library. One process in a fixed order: what is shared between
/// constants, and with it the bytes, depends on what was compiled before.
fn compile_stdlib(installed: &Installed, staging: &Path) -> Result<(), BuildError> {
    let library = below(staging, &installed.stdlib);
    let strip = staging.to_string_lossy().into_owned();
    let status = Command::new(installed.host_program())
        .args(["-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"])
        .args(["-s", strip.trim_end_matches('/'), "-p", "/"])
        .arg(&library)
        .env_clear()
        .env("PYTHONHASHSEED", "0")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(BuildError::io("start Python to compile its library"))?;
    // Status 1 says that a file has another Python's syntax: lib2to3 brings such ones.
    if status.code().is_some_and(|code| code <= 1) {
        Ok(())
    } else {
        Err(BuildError::io("compile Python's library")(std::io::Error::other(status.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_headers_and_installed_packages_are_left_out() {
        for path in [
            "include/python3.11/Python.h",
            "share/man",
            "lib/libpython3.11.a",
            "lib/python3.11/test",
            "lib/python3.11/site-packages",
            "lib/python3.11/config-3.11-x86_64-linux-gnu",
            "lib/python3.11/lib-dynload/_tkinter.cpython-311-x86_64-linux-gnu.so",
            "lib/python3.11/json/__pycache__",
            "test",
            "unittest/test",
        ] {
            assert!(is_left_out(Path::new(path)), "{path}");
        }
        for path in [
            "lib",
            "lib/libpython3.11.so.1.0",
            "lib/python3.11",
            "lib/python3.11/json",
            "lib/python3.11/unittest",
            "lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so",
            "lib/python3.11/sysconfig.py",
            "json/decoder.py",
        ] {
            assert!(!is_left_out(Path::new(path)), "{path}");
        }
    }
}
