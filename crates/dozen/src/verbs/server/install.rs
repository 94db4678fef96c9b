//! `dozen server install`: hands the server to systemd.
//!
//! Writing the same unit again changes nothing. Where systemd is not the init it says what to use
//! instead; a unit file that nobody reads would only look like success.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::unit::unit;
use crate::{
    cli_error::{CliError, ExitStatus},
    session::Session,
    settings::ServerSettings,
};

/// The unit's name.
const UNIT: &str = "dozen.service";

/// Writes, enables and starts the unit, or prints it.
pub(super) fn install(
    settings: &ServerSettings,
    print: bool,
    session: &Session,
) -> Result<ExitStatus, CliError> {
    let system = session.settings.root;
    let text = unit(settings, session.settings.log.as_deref(), system);
    if print {
        session.out.bytes(text.as_bytes())?;
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
    let folder = folder(settings, system)?;
    let path = folder.join(UNIT);
    let changed = write(&path, &text)?;
    let scope: &[&str] = if system { &[] } else { &["--user"] };
    if changed {
        systemctl(scope, &["daemon-reload"])?;
    }
    systemctl(scope, &["enable", "--now", UNIT])?;
    session.out.result(format_args!(
        "{} {}",
        path.display(),
        if changed { "is installed" } else { "is as it was" }
    ))?;
    if changed {
        let user = if system { "" } else { " --user" };
        session.out.hint(&format!(
            "a server that ran before goes on with its old settings until `systemctl{user} restart dozen`"
        ));
    }
    if !system {
        session.out.hint("run `loginctl enable-linger`, or the server ends when you log out");
    }
    Ok(ExitStatus::Success)
}

fn folder(settings: &ServerSettings, system: bool) -> Result<PathBuf, CliError> {
    if system {
        return Ok(PathBuf::from("/etc/systemd/system"));
    }
    let config = settings.config_home.as_ref().ok_or(crate::settings::SettingsError::NoHome)?;
    Ok(config.join("systemd/user"))
}

/// Writes the unit whole or not at all; false when it stood there already.
fn write(path: &Path, text: &str) -> Result<bool, CliError> {
    if std::fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(false);
    }
    let written = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder)?;
        let mut draft = tempfile::NamedTempFile::new_in(folder)?;
        draft.write_all(text.as_bytes())?;
        // It may name proxies and indexes with their passwords.
        draft.as_file().sync_all()?;
        draft.persist(path)?;
        Ok(())
    };
    written().map_err(|source| CliError::File { action: "written", path: path.to_owned(), source })?;
    Ok(true)
}

fn systemctl(scope: &[&str], args: &[&str]) -> Result<(), CliError> {
    let answer = Command::new("systemctl").args(scope).args(args).stdin(Stdio::null()).output();
    let said = match answer {
        Ok(answer) if answer.status.success() => return Ok(()),
        Ok(answer) => {
            String::from_utf8_lossy(&answer.stderr).trim().lines().next().unwrap_or_default().to_owned()
        }
        Err(error) => error.to_string(),
    };
    let message = format!("`systemctl {}` refused: {said}", [scope, args].concat().join(" "));
    Err(CliError::Unavailable { message, hint: None })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn writing_the_same_unit_again_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("systemd/user/dozen.service");
        assert!(write(&path, "[Unit]\n").unwrap());
        assert!(!write(&path, "[Unit]\n").unwrap());
        assert!(write(&path, "[Unit]\n# new\n").unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
