//! `dozen server install`: hands the server to systemd.
//!
//! Writing the same unit again changes nothing. Where systemd is not the init it says what to use
//! instead; a unit file that nobody reads would only look like success.

use std::{
    fs::Permissions,
    io::Write,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    systemd::Systemd,
    unit::{Place, changed_settings, changed_variables, unit, variables},
};
use crate::{
    cli_error::{CliError, ExitStatus},
    session::Session,
    settings::{ServerSettings, SettingsError},
};

/// The unit's name.
const UNIT: &str = "dozen.service";

/// Where the unit and its variables go.
struct Files {
    unit: PathBuf,
    variables: PathBuf,
}

/// Writes, enables and starts the unit, or prints it.
pub(super) fn install(
    settings: &ServerSettings,
    print: bool,
    session: &Session,
) -> Result<ExitStatus, CliError> {
    let system = session.settings.root;
    let files = files(settings, system)?;
    let variables = variables(settings);
    let named = variables.as_ref().map(|_| files.variables.as_path());
    let place = Place { system, log: session.settings.log.as_deref(), variables: named };
    let text = unit(settings, &place);
    if print {
        session.out.bytes(text.as_bytes())?;
        if let Some(variables) = variables {
            session.out.bytes(format!("\n# {}\n{variables}", files.variables.display()).as_bytes())?;
        }
        return Ok(ExitStatus::Success);
    }
    if !Path::new("/run/systemd/system").is_dir() {
        return Err(CliError::Unavailable {
            message: "systemd is not the init of this machine".to_owned(),
            hint: Some(
                "let its init run `dozen server start`, or use `dozen server start --detached`".to_owned(),
            ),
        });
    }
    let systemd = Systemd::of(system);
    // Before anything is written: where it cannot be asked, a unit that is there stays as it is.
    systemd.ask(&["show", "--property=Version"])?;
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let (before, had) = (read(&files.unit), read(&files.variables));
    // First, for the unit names it. It may hold the passwords of proxies and indexes.
    let changed = set(&files.variables, variables.as_deref(), 0o600)? | set(&files.unit, Some(&text), 0o644)?;
    let path = files.unit.display();
    session.out.result(format_args!("{path} {}", if changed { "is installed" } else { "is as it was" }))?;
    if !before.is_empty() {
        let mut names = changed_settings(&before, &text);
        names.extend(changed_variables(&had, variables.as_deref().unwrap_or_default()));
        if !names.is_empty() {
            session.out.note(format_args!("settings that changed: {}", names.join(", ")));
        }
    }
    start(changed, systemd, session)
}

/// Enables and starts the unit.
fn start(changed: bool, systemd: Systemd, session: &Session) -> Result<ExitStatus, CliError> {
    if changed {
        systemd.ask(&["daemon-reload"])?;
    }
    systemd.ask(&["enable", UNIT])?;
    if systemd.is_active(UNIT) {
        if changed {
            let restart = systemd.command(&["restart", "dozen"]);
            session.out.hint(&format!("the server that runs has its old settings until `{restart}`"));
        }
    } else {
        systemd.ask(&["start", UNIT]).map_err(|_| does_not_start(systemd))?;
        session.out.result("the server runs, and starts at every boot")?;
    }
    if !session.settings.root {
        session.out.hint(
            "run `loginctl enable-linger`, or the server ends when you log out and waits for you after a boot; where that is refused, root can do it with your name",
        );
    }
    Ok(ExitStatus::Success)
}

/// systemd's own words only name the commands that tell the reason.
fn does_not_start(systemd: Systemd) -> CliError {
    let scope: String = systemd.scope().iter().flat_map(|word| [word, " "]).collect();
    CliError::Unavailable {
        message: "the unit is installed, but the server does not start; systemd goes on trying".to_owned(),
        hint: Some(format!("`journalctl {scope}-u dozen -t dozen -n 5` tells the reason")),
    }
}

fn files(settings: &ServerSettings, system: bool) -> Result<Files, CliError> {
    let (units, own) = if system {
        (PathBuf::from("/etc/systemd/system"), PathBuf::from("/etc/dozen"))
    } else {
        let config = settings.config_home.as_ref().ok_or(SettingsError::NoHome)?;
        (config.join("systemd/user"), config.join("dozen"))
    };
    Ok(Files { unit: units.join(UNIT), variables: own.join("environment") })
}

/// Makes a file's content this, or the file gone; false when it was so already.
fn set(path: &Path, text: Option<&str>, mode: u32) -> Result<bool, CliError> {
    let present = std::fs::read(path).ok();
    if present.as_deref() == text.map(str::as_bytes) {
        return Ok(false);
    }
    let done = match text {
        Some(text) => write(path, text, mode),
        None => std::fs::remove_file(path),
    };
    done.map_err(|source| CliError::File { action: "written", path: path.to_owned(), source })?;
    Ok(true)
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)?;
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    draft.write_all(text.as_bytes())?;
    draft.as_file().set_permissions(Permissions::from_mode(mode))?;
    draft.as_file().sync_all()?;
    draft.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_the_same_unit_again_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("systemd/user/dozen.service");
        assert!(!set(&path, None, 0o600).unwrap());
        assert!(set(&path, Some("[Unit]\n"), 0o600).unwrap());
        assert!(!set(&path, Some("[Unit]\n"), 0o600).unwrap());
        assert!(set(&path, Some("[Unit]\n# new\n"), 0o644).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert!(set(&path, None, 0o600).unwrap());
        assert!(!path.exists());
    }
}
