//! Installs a Python that no file of this machine is: by uv, into a folder of dozen's own.
//!
//! It happens inside walls that show the folder at one fixed place, because uv writes the place
//! into what it unpacks: so the runtime's layer is the same on every home. uv checks what it
//! fetches by the hashes that it brings. A Python that is there stays, also when a newer one that
//! would fit appears elsewhere.
//!
//! Start reading at [`pythons_for`].

use std::{fs, path::Path, time::Duration};

use super::{
    CACHE, TOOLS, base_env, read_only,
    session::{Ended, Session},
    writable,
};
use crate::{
    error::{BuildError, shown},
    plan::WantedVersion,
    runtime::{self, Installed, OWN_PYTHONS, Runtimes},
    step::{AppMount, WalledStep},
    tree_copy::give_tree,
    uv_tool::{self, Uv},
};

/// The Pythons of this machine, after one was installed if none fitted.
pub(crate) fn pythons_for(
    session: &mut Session<'_>,
    wanted: &WantedVersion,
) -> Result<Vec<Installed>, BuildError> {
    let input = session.input;
    let mut runtimes = Runtimes::new(&input.search, &input.store.cache());
    let pythons = runtimes.pythons();
    let Err(missing) = runtime::choose("Python", wanted, &pythons) else { return Ok(pythons) };
    let missing = |reason: String| match missing {
        BuildError::NoRuntime { language, wanted, found, .. } => {
            BuildError::NoRuntime { language, wanted, found, not_installed_because: Some(reason) }
        }
        other => other,
    };
    let Some(own) = &input.search.own_pythons else { return Err(missing("no folder is set for it".into())) };
    let uv = match uv_tool::obtain_uv(input.store, &pythons, &session.network, &input.search) {
        Ok(uv) => uv,
        Err(error @ BuildError::ToolMissing { .. }) => return Err(missing(error.to_string())),
        Err(error) => return Err(error),
    };
    session.say(&format!("no Python {} is installed; uv {} installs one", wanted.described(), uv.version));
    if let Err(reason) = install(session, &uv, wanted, own)? {
        return Err(missing(reason));
    }
    Ok(runtimes.pythons())
}

/// Installs the exact version, else the highest that is allowed; the inner error is uv's word.
fn install(
    session: &mut Session<'_>,
    uv: &Uv,
    wanted: &WantedVersion,
    own: &Path,
) -> Result<Result<(), String>, BuildError> {
    // Another stage's build may be in it, as another user.
    session.take_tool_cache("uv")?;
    let folder = session.folder("pythons")?;
    let requests = wanted.exact.map(|exact| exact.to_string()).into_iter().chain([wanted.range.specifier()]);
    let mut reason = String::new();
    for request in requests {
        let step = install_step(session, uv, &folder, &request)?;
        let ended = session.run(step)?;
        if ended.is_well() {
            take(session, &folder, own)?;
            return Ok(Ok(()));
        }
        reason = reason_of(&ended);
    }
    Ok(Err(reason))
}

fn install_step(
    session: &Session<'_>,
    uv: &Uv,
    folder: &Path,
    request: &str,
) -> Result<WalledStep, BuildError> {
    let place = session.folder("python-app")?;
    session.give(folder)?;
    session.give(&place)?;
    let program = format!("{TOOLS}/uv");
    let mut env = base_env(&[]);
    let settings = [("UV_CACHE_DIR", CACHE), ("UV_NO_CONFIG", "1"), ("UV_NO_PROGRESS", "1")];
    let settings = settings.into_iter().chain([("UV_SYSTEM_CERTS", "1"), ("UV_PYTHON_DOWNLOADS", "manual")]);
    env.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut binds = vec![
        read_only(&uv.program, program.as_str()),
        writable(session.tool_cache("uv")?, CACHE),
        writable(folder, OWN_PYTHONS),
    ];
    session.add_network(&mut env, &mut binds)?;
    session.add_python_sources(&mut env, &mut binds);
    let words = ["python", "install", "--no-bin", "--install-dir", OWN_PYTHONS, request];
    Ok(WalledStep {
        name: "python".into(),
        argv: [program.as_str()].into_iter().chain(words).map(str::to_owned).collect(),
        env,
        app: AppMount::Writable(place),
        binds,
        network: true,
        timeout: Duration::MAX,
        build_user: None,
    })
}

/// Moves what was installed to the folder of our own Pythons.
fn take(session: &Session<'_>, folder: &Path, own: &Path) -> Result<(), BuildError> {
    let doing = || BuildError::io("keep an installed Python");
    fs::create_dir_all(own).map_err(doing())?;
    for entry in fs::read_dir(folder).map_err(doing())? {
        let entry = entry.map_err(doing())?;
        let is_python = entry.file_name().to_string_lossy().starts_with("cpython-");
        // Beside it are a lock and links that name it by its minor version.
        if !is_python || !entry.file_type().map_err(doing())?.is_dir() {
            continue;
        }
        if session.input.build_user.is_some() {
            let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
            give_tree(&entry.path(), uid.as_raw(), gid.as_raw())?;
        }
        let target = own.join(entry.file_name());
        fs::File::open(entry.path()).and_then(|opened| Ok(rustix::fs::syncfs(opened)?)).map_err(doing())?;
        // Another build may have been faster; then its copy is as good.
        if !target.is_dir() {
            fs::rename(entry.path(), target).map_err(doing())?;
        }
    }
    Ok(())
}

/// What uv said: its error and the innermost cause.
fn reason_of(ended: &Ended) -> String {
    let words: Vec<&str> =
        ended.tail.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
    let first = words.iter().position(|line| line.starts_with("error:")).map(|at| &words[at..]);
    let told = first.unwrap_or(&words);
    let lines = match told {
        [] => return format!("uv {}", ended.end),
        [only] => vec![*only],
        [first, .., last] => vec![*first, *last],
    };
    let plain = lines.iter().map(|line| line.trim_start_matches("error: ").trim_start_matches("Caused by: "));
    let text = plain.collect::<Vec<_>>().join(": ");
    format!("uv says: {}", shown(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::StepEnd;

    #[test]
    fn the_reason_is_uvs_error_and_its_innermost_cause() {
        let ended = |tail: &[&str]| Ended {
            end: StepEnd::Exited(1),
            tail: tail.iter().map(|line| (*line).to_owned()).collect(),
        };
        let tail =
            ["Installing", "error: Failed to install cpython", "  Caused by: a", "  Caused by: refused"];
        assert_eq!(reason_of(&ended(&tail)), "uv says: Failed to install cpython: refused");
        assert_eq!(reason_of(&ended(&["error: No download found"])), "uv says: No download found");
        assert_eq!(reason_of(&ended(&[])), "uv ended with status 1");
    }
}
