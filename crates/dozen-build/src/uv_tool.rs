//! Obtains `uv`, pinned by version and hash, once for each home.
//!
//! It comes as a wheel, by `pip download` of whichever Python has pip, so the machine's own index,
//! proxy and CA settings hold. The hash is checked by pip and again here before unpacking.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest as _, Sha256};

use crate::{
    error::{BuildError, shown},
    runtime::Installed,
    store::{LayerStore, set_mode},
};

/// The version that builds use; part of every cache key.
pub(crate) const UV_VERSION: &str = "0.13.9";

/// Wheels by machine: the platform's name for pip and the wheel's SHA-256.
const WHEELS: [(&str, &str, &str); 2] = [
    ("x86_64", "manylinux_2_17_x86_64", "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19"),
    ("aarch64", "manylinux_2_17_aarch64", "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe"),
];

/// The largest program that is unpacked.
const LARGEST: u64 = 256 << 20;

/// The path of `uv`, fetched when it is not there yet.
pub(crate) fn obtain_uv(store: &LayerStore, pythons: &[Installed]) -> Result<PathBuf, BuildError> {
    let missing = |reason: String| BuildError::ToolMissing { tool: format!("uv {UV_VERSION}"), reason };
    let arch = std::env::consts::ARCH;
    let wheel = WHEELS.iter().find(|(machine, _, _)| *machine == arch);
    let (_, platform, hash) = wheel.ok_or_else(|| missing(format!("no wheel is known for {arch}")))?;
    let folder = store.cache().join("tools").join(format!("uv-{UV_VERSION}-{}", &hash[..12]));
    let program = folder.join("uv");
    if program.is_file() {
        return Ok(program);
    }
    let python = pythons.iter().rev().find(|python| has_pip(python));
    let python = python.ok_or_else(|| missing("no Python with pip was found to fetch it".into()))?;
    let staging = tempfile::Builder::new()
        .prefix("uv-")
        .tempdir_in(store.tmp())
        .map_err(BuildError::io("make a folder in `tmp`"))?;
    let wheel = download(python, platform, hash, staging.path()).map_err(missing)?;
    let unpacked = staging.path().join("uv");
    unpack(&wheel, hash, &unpacked).map_err(|error| missing(error.to_string()))?;
    set_mode(&unpacked, 0o555)?;
    set_mode(staging.path(), 0o755)?;
    fs::remove_file(&wheel).map_err(BuildError::io("remove a wheel"))?;
    File::open(&unpacked).and_then(|file| file.sync_all()).map_err(BuildError::io("write `uv` to disk"))?;
    fs::create_dir_all(store.cache().join("tools")).map_err(BuildError::io("make a folder in `cache`"))?;
    let staging = staging.keep();
    // Another build may have been faster; then its copy is as good.
    if fs::rename(&staging, &folder).is_err() {
        crate::tree_copy::remove_tree(&staging)?;
    }
    if program.is_file() { Ok(program) } else { Err(missing("it could not be stored".into())) }
}

fn has_pip(python: &Installed) -> bool {
    let status = Command::new(&python.program)
        .args(["-m", "pip", "--version"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn download(python: &Installed, platform: &str, hash: &str, into: &Path) -> Result<PathBuf, String> {
    let wish = into.join("wish.txt");
    fs::write(&wish, format!("uv=={UV_VERSION} --hash=sha256:{hash}\n"))
        .map_err(|error| error.to_string())?;
    let output = Command::new(&python.program)
        .args(["-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"])
        .args(["--require-hashes", "--only-binary", ":all:", "--no-deps", "--no-cache-dir"])
        .args(["--platform", platform, "--dest"])
        .arg(into)
        .arg("--requirement")
        .arg(&wish)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| line.starts_with("ERROR")).unwrap_or("pip ended badly");
    let mut wheels = fs::read_dir(into).into_iter().flatten().flatten().map(|entry| entry.path());
    let wheel = wheels.find(|path| path.extension().is_some_and(|end| end == "whl"));
    wheel.filter(|_| output.status.success()).ok_or_else(|| shown(last.as_bytes()))
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
