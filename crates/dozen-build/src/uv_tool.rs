//! Obtains `uv`, pinned by version and hash, once for each home.
//!
//! It comes as a wheel from the machine's package index; see [`fetch`]. The hash is checked here
//! before unpacking. Where no index can be reached, a `uv` of the same minor version in `PATH`
//! takes its place, and the build says so.
//!
//! Start reading at [`obtain_uv`].

mod fetch;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest as _, Sha256};

use crate::{
    error::BuildError,
    runtime::{Installed, RuntimeSearch},
    store::{LayerStore, set_mode},
    version::Version,
};

/// The version that builds use.
const UV_VERSION: &str = "0.13.9";

/// Wheels by machine: the platform's name for pip and the wheel's SHA-256.
const WHEELS: [(&str, &str, &str); 2] = [
    ("x86_64", "manylinux_2_17_x86_64", "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19"),
    ("aarch64", "manylinux_2_17_aarch64", "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe"),
];

/// The largest program that is unpacked.
const LARGEST: u64 = 256 << 20;

/// The `uv` that a build uses.
#[derive(Debug, Clone)]
pub(crate) struct Uv {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its version, part of every cache key.
    pub(crate) version: String,
    /// What to tell where it is not the pinned one.
    pub(crate) warning: Option<String>,
}

/// The pinned `uv`, fetched when it is not there yet; else one in `PATH` that is like it.
pub(crate) fn obtain_uv(
    store: &LayerStore,
    pythons: &[Installed],
    network: &BTreeMap<String, String>,
    search: &RuntimeSearch,
) -> Result<Uv, BuildError> {
    let reason = match pinned(store, pythons, network)? {
        Ok(program) => return Ok(Uv { program, version: UV_VERSION.to_owned(), warning: None }),
        Err(reason) => reason,
    };
    let installed = installed(search);
    if let Some((program, version)) = installed.iter().find(|(_, version)| is_like_pinned(version)) {
        let warning = Some(format!(
            "uv {version} of this machine is used: uv {UV_VERSION} could not be obtained: {reason}"
        ));
        return Ok(Uv { program: program.clone(), version: version.clone(), warning });
    }
    let others: Vec<&str> = installed.iter().map(|(_, version)| version.as_str()).collect();
    let others = if others.is_empty() { "no uv".to_owned() } else { format!("uv {}", others.join(", ")) };
    Err(BuildError::ToolMissing {
        tool: format!("uv {UV_VERSION}"),
        reason: format!("{reason}; {others} in PATH"),
    })
}

/// The program of the pinned version; the inner error says why it could not be fetched.
fn pinned(
    store: &LayerStore,
    pythons: &[Installed],
    network: &BTreeMap<String, String>,
) -> Result<Result<PathBuf, String>, BuildError> {
    let arch = std::env::consts::ARCH;
    let Some((_, platform, hash)) = WHEELS.iter().find(|(machine, _, _)| *machine == arch) else {
        return Ok(Err(format!("no wheel is known for {arch}")));
    };
    let folder = store.cache().join("tools").join(format!("uv-{UV_VERSION}-{}", &hash[..12]));
    let program = folder.join("uv");
    if program.is_file() {
        return Ok(Ok(program));
    }
    let staging = tempfile::Builder::new()
        .prefix("uv-")
        .tempdir_in(store.tmp())
        .map_err(BuildError::io("make a folder in `tmp`"))?;
    let wheel = match fetch::fetch(pythons, platform, hash, network, staging.path()) {
        Ok(wheel) => wheel,
        Err(reason) => return Ok(Err(reason)),
    };
    let unpacked = staging.path().join("uv");
    if let Err(error) = unpack(&wheel, hash, &unpacked) {
        return Ok(Err(error.to_string()));
    }
    set_mode(&unpacked, 0o555)?;
    set_mode(staging.path(), 0o755)?;
    fs::remove_file(&wheel).map_err(BuildError::io("remove a wheel"))?;
    fs::create_dir_all(store.cache().join("tools")).map_err(BuildError::io("make a folder in `cache`"))?;
    let staging = staging.keep();
    // Another build may have been faster; then its copy is as good.
    if fs::rename(&staging, &folder).is_err() {
        crate::tree_removal::remove_tree(&staging)?;
    }
    Ok(if program.is_file() { Ok(program) } else { Err("it could not be stored".into()) })
}

/// The `uv` programs of `PATH` with their versions.
fn installed(search: &RuntimeSearch) -> Vec<(PathBuf, String)> {
    let real = search.path.iter().filter_map(|folder| folder.join("uv").canonicalize().ok());
    let mut found: Vec<(PathBuf, String)> = Vec::new();
    for program in real.filter(|program| crate::runtime::is_program(program)) {
        let asked = Command::new(&program)
            .arg("--version")
            .current_dir("/")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        let said =
            asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let version = said.strip_prefix("uv ").and_then(|rest| rest.split_whitespace().next());
        if let Some(version) = version.filter(|version| Version::parse(version).is_some())
            && !found.iter().any(|(known, _)| *known == program)
        {
            found.push((program, version.to_owned()));
        }
    }
    found
}

/// Whether a version has the pinned one's minor: its arguments and locks are the same.
fn is_like_pinned(version: &str) -> bool {
    let minor = |text: &str| Version::parse(text).map(|version| [version.0[0], version.0[1]]);
    minor(version) == minor(UV_VERSION)
}

/// Checks the wheel's hash and takes the one program out of it.
fn unpack(wheel: &Path, hash: &str, into: &Path) -> std::io::Result<()> {
    let bytes = fs::read(wheel)?;
    let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != hash {
        return Err(std::io::Error::other("the wheel has another hash than it should have"));
    }
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).map_err(std::io::Error::other)?;
    let name = format!("uv-{UV_VERSION}.data/scripts/uv");
    let program = archive.by_name(&name).map_err(std::io::Error::other)?;
    let mut target = File::create_new(into)?;
    std::io::copy(&mut program.take(LARGEST), &mut target)?;
    target.sync_all()
}
