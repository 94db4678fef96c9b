//! `dozen doctor`: what of this machine is as dozen needs it, with or without a server.
//!
//! The checks here need no server; a server that answers adds its own (walls, limits, listeners).

use std::{
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    process::{Command, Stdio},
};

use dozen_control::api::wire::{DoctorCheck, DoctorState, paths};
use dozen_model::printable::printable;

use crate::{
    cli_error::{CliError, ExitStatus},
    client::ClientError,
    output::Tint,
    session::Session,
    settings::{ServerAddress, Settings},
};

/// The longest path that fits into the address of a unix socket.
const LONGEST_SOCKET: usize = 107;

/// Check this machine and the server
#[derive(Debug, clap::Args)]
#[command(after_help = "The exit status is 1 when something is broken.

Examples:
  dozen doctor
  dozen doctor --json")]
pub(crate) struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) async fn doctor(args: DoctorArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let mut checks =
        vec![git(), folder("state folder", &session.settings.home), socket_path(&session.settings)];
    if let ServerAddress::Ssh(_) = session.settings.server {
        checks.push(program("ssh", "-V", "install an ssh client"));
    }
    match server_checks(session).await {
        Ok(theirs) => {
            checks.push(check("server", DoctorState::Ok, "answers", None));
            checks.extend(theirs);
        }
        Err(CliError::Client(error @ ClientError::NotRunning { .. })) => {
            let hint = dozen_model::hint::Hint::hint(&error);
            checks.push(check("server", DoctorState::Degraded, &error.to_string(), hint.as_deref()));
        }
        Err(error) => {
            let hint = dozen_model::hint::Hint::hint(&error);
            checks.push(check("server", DoctorState::Broken, &error.chain(), hint.as_deref()));
        }
    }
    if args.json {
        session.out.json(&checks)?;
    } else {
        show(&checks, session)?;
    }
    let broken = checks.iter().any(|check| check.state == DoctorState::Broken);
    Ok(if broken { ExitStatus::Unsatisfied } else { ExitStatus::Success })
}

async fn server_checks(session: &Session) -> Result<Vec<DoctorCheck>, CliError> {
    Ok(session.control().await?.get(paths::DOCTOR).await?)
}

fn show(checks: &[DoctorCheck], session: &Session) -> Result<(), CliError> {
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    for check in checks {
        let (word, tint) = match check.state {
            DoctorState::Ok => ("ok    ", Tint::Green),
            DoctorState::Degraded => ("less  ", Tint::Yellow),
            DoctorState::Broken => ("broken", Tint::Red),
        };
        let name = printable(&check.name, false);
        session.out.result(format_args!(
            "{} {name:<width$}  {}",
            session.out.tint(tint, word),
            printable(&check.finding, false)
        ))?;
        if let Some(hint) = &check.hint {
            session.out.result(format_args!("       {:<width$}  {}", "", printable(hint, false)))?;
        }
    }
    Ok(())
}

fn check(name: &str, state: DoctorState, finding: &str, hint: Option<&str>) -> DoctorCheck {
    DoctorCheck { name: name.to_owned(), state, finding: finding.to_owned(), hint: hint.map(str::to_owned) }
}

fn git() -> DoctorCheck {
    program("git", "--version", "install Git: sources come from it")
}

/// Whether a program is there, by what it says of itself.
fn program(name: &str, question: &str, hint: &str) -> DoctorCheck {
    let answer = Command::new(name).arg(question).stdin(Stdio::null()).output();
    match answer {
        Ok(answer) if answer.status.success() => {
            let said = [answer.stdout, answer.stderr].concat();
            let said = String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned();
            check(name, DoctorState::Ok, &said, None)
        }
        Ok(answer) => check(name, DoctorState::Broken, &format!("ended with {}", answer.status), Some(hint)),
        Err(error) => check(name, DoctorState::Broken, &error.to_string(), Some(hint)),
    }
}

/// Whether a folder of ours is this user's, and for nobody else to write.
fn folder(name: &str, path: &Path) -> DoctorCheck {
    let shown = path.display();
    let about = match std::fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return check(name, DoctorState::Ok, &format!("{shown} is made when it is needed"), None);
        }
        Err(error) => return check(name, DoctorState::Broken, &format!("{shown}: {error}"), None),
    };
    if about.uid() != rustix::process::geteuid().as_raw() {
        let finding = format!("{shown} belongs to another user");
        return check(name, DoctorState::Degraded, &finding, Some("only its owner can run a server on it"));
    }
    if about.mode() & 0o022 != 0 {
        let hint = format!("run `chmod go-w {shown}`");
        return check(name, DoctorState::Broken, &format!("others may write to {shown}"), Some(&hint));
    }
    check(name, DoctorState::Ok, &shown.to_string(), None)
}

/// Whether the socket's path fits: the kernel takes 107 bytes.
fn socket_path(settings: &Settings) -> DoctorCheck {
    let socket = settings.run.join("control.sock");
    let length = socket.as_os_str().as_bytes().len();
    if length > LONGEST_SOCKET {
        let finding = format!(
            "{} has {length} bytes, and a socket's path has at most {LONGEST_SOCKET}",
            socket.display()
        );
        return check(
            "run-time folder",
            DoctorState::Broken,
            &finding,
            Some("set `DOZEN_RUN` to a shorter path"),
        );
    }
    folder("run-time folder", &settings.run)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_that_others_may_write_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(super::folder("f", folder.path()).state, DoctorState::Ok);
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(super::folder("f", folder.path()).state, DoctorState::Broken);
        assert_eq!(super::folder("f", &folder.path().join("none")).state, DoctorState::Ok);
    }
}
