//! `dozen certs trust`: makes this machine believe the authority of local names, or says how.
//!
//! The store of a system is one thing and that of a browser another: Chromium and Firefox on Linux
//! ask neither the system nor each other. What was not done is said with the commands that do it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use dozen_control::api::wire::{LocalAuthority, paths};

use crate::{
    cli_error::{CliError, ExitStatus},
    client::ControlClient,
    session::Session,
};

/// Where Debian and its kin keep what the owner of a machine adds.
const SYSTEM_FOLDER: &str = "/usr/local/share/ca-certificates";
/// What makes a store of it.
const SYSTEM_PROGRAM: &str = "/usr/sbin/update-ca-certificates";

#[derive(Debug, clap::Args)]
pub(super) struct TrustArgs {
    /// Print its certificate and change nothing
    #[arg(long, conflicts_with = "remove")]
    print: bool,

    /// Trust it no longer
    #[arg(long)]
    remove: bool,

    /// Write it to this file instead of the system's store
    #[arg(long, value_name = "FILE", conflicts_with = "print")]
    file: Option<PathBuf>,
}

pub(super) async fn trust(
    args: &TrustArgs,
    control: &mut ControlClient,
    session: &Session,
) -> Result<ExitStatus, CliError> {
    if args.remove {
        return remove(args, session);
    }
    let authority: LocalAuthority = control.get(paths::LOCAL_AUTHORITY).await?;
    if args.print {
        session.out.bytes(authority.certificate.as_bytes())?;
        return Ok(ExitStatus::Success);
    }
    let (file, is_system) = place(args, session)?;
    write(&file, &authority.certificate)?;
    if is_system {
        update(&[])?;
        session.out.result(format_args!(
            "this system trusts `{}` for {}",
            file.display(),
            names(&authority)
        ))?;
    } else {
        session.out.result(format_args!("wrote {}", file.display()))?;
        say_system(&file, session);
    }
    say_browsers(&file, session);
    Ok(ExitStatus::Success)
}

fn names(authority: &LocalAuthority) -> String {
    match authority.domain.as_str() {
        "localhost" => "localhost and what is below it".to_owned(),
        domain => format!("{domain}, localhost and what is below them"),
    }
}

fn remove(args: &TrustArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let (file, is_system) = place(args, session)?;
    let is_there = file.exists();
    if is_there {
        let gone = std::fs::remove_file(&file);
        gone.map_err(|source| CliError::File { action: "removed", path: file.clone(), source })?;
    }
    if is_system {
        update(&["--fresh"])?;
    }
    let done = if is_there { "removed" } else { "there was no" };
    session.out.result(format_args!("{done} {}", file.display()))?;
    session.out.note(format_args!(
        "where it was imported into a browser, take it out there: \
         certutil -d sql:$HOME/.pki/nssdb -D -n {} for Chromium, Settings > Certificates in Firefox",
        nickname(&file)
    ));
    Ok(ExitStatus::Success)
}

/// The file of the certificate, and whether the system's store is made from it.
fn place(args: &TrustArgs, session: &Session) -> Result<(PathBuf, bool), CliError> {
    if let Some(file) = &args.file {
        return Ok((file.clone(), false));
    }
    let name = format!("dozen-{}.crt", session.settings.server_id());
    let is_system =
        session.settings.root && Path::new(SYSTEM_FOLDER).is_dir() && Path::new(SYSTEM_PROGRAM).is_file();
    if is_system {
        return Ok((Path::new(SYSTEM_FOLDER).join(name), true));
    }
    Ok((session.settings.data.clone()?.join("dozen-certs").join(name), false))
}

/// Writes the certificate beside its place and moves it there: a program never reads half of it.
fn write(file: &Path, certificate: &str) -> Result<(), CliError> {
    let failed = |source| CliError::File { action: "written", path: file.to_owned(), source };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut fresh = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    std::io::Write::write_all(&mut fresh, certificate.as_bytes()).map_err(failed)?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fresh.as_file().set_permissions(readable).map_err(failed)?;
    fresh.persist(file).map_err(|error| failed(error.error))?;
    Ok(())
}

fn update(words: &[&str]) -> Result<(), CliError> {
    let failed = |source| CliError::System { what: "`update-ca-certificates` could not be run", source };
    let ran = Command::new(SYSTEM_PROGRAM).args(words).output().map_err(failed)?;
    if ran.status.success() {
        return Ok(());
    }
    Err(CliError::Unavailable {
        message: format!(
            "`update-ca-certificates` ended with {}: {}",
            ran.status,
            String::from_utf8_lossy(&ran.stderr).trim()
        ),
        hint: None,
    })
}

fn say_system(file: &Path, session: &Session) {
    let shown = file.display();
    session.out.note(format_args!("curl: curl --cacert {shown} URL"));
    session.out.note(format_args!(
        "Debian, as root: install -m 644 {shown} {SYSTEM_FOLDER}/ && update-ca-certificates"
    ));
    session.out.note(format_args!(
        "Fedora, as root: install -m 644 {shown} /etc/pki/ca-trust/source/anchors/ && update-ca-trust"
    ));
}

fn say_browsers(file: &Path, session: &Session) {
    let (shown, nickname) = (file.display(), nickname(file));
    session.out.note(format_args!(
        "Chromium: certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n {nickname} -i {shown} (Debian: libnss3-tools)"
    ));
    session.out.note(format_args!(
        "Firefox: Settings > Privacy & Security > View Certificates > Authorities > Import {shown}"
    ));
}

fn nickname(file: &Path) -> String {
    file.file_stem().map_or_else(|| "dozen".to_owned(), |name| name.to_string_lossy().into_owned())
}
