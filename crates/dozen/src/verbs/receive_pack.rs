//! `dozen receive-pack` (hidden): what Git runs on this side of a `git push`.
//!
//! `dozen create` names it as the remote's `receivepack`. It hands over to Git's own
//! `receive-pack` on a bare repository that belongs to the calling user, one for each stage, with
//! a hook that deploys before any ref moves: see [`super::hook`]. Which repository that is
//! follows from the last part of the address alone; nothing else of it is used.

use std::{
    fs::{DirBuilder, OpenOptions, Permissions},
    io::Write,
    os::unix::{
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    cli_error::{CliError, ExitStatus},
    context::Target,
    git::{self, GitError, shell_word},
    session::Session,
};

/// Receive a push and deploy it
#[derive(Debug, clap::Args)]
pub(crate) struct ReceivePackArgs {
    /// Address of the repository, as Git knows it
    repository: String,

    /// Folder of the pushed tree that holds the app
    #[arg(long, value_name = "FOLDER")]
    folder: Option<String>,
}

/// Git's settings for a push: whatever the user's own files say, our hook runs.
const SETTINGS: &[&str] = &[
    // A rewritten branch is deployed like any other; the release keeps what was there before.
    "receive.denyNonFastForwards=false",
    // Clones in CI are shallow.
    "receive.shallowUpdate=true",
    "receive.denyDeletes=true",
];

/// Runs the verb; it does not return when all goes well.
pub(crate) fn receive_pack(args: &ReceivePackArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let Some(target) = Target::of_repository(&args.repository) else {
        return Err(CliError::Unavailable {
            message: "the remote's address does not name an app and a stage".to_owned(),
            hint: Some("make the remote with `dozen create`".to_owned()),
        });
    };
    let repository = session.settings.push_repository(&target)?;
    let script = hook_script(&target, args.folder.as_deref(), session);
    prepare(&repository, &script)?;
    let hooks = repository.join("hooks");
    let mut command = Command::new("git");
    command.arg("-c").arg(format!("core.hooksPath={}", hooks.display()));
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command.arg("receive-pack").arg(&repository);
    Err(GitError::Missing { source: command.exec() }.into())
}

/// Makes the repository when it is not there, and writes the hook anew: this program may have moved.
fn prepare(repository: &Path, script: &str) -> Result<(), CliError> {
    let file_error = |path: &Path| {
        let path = path.to_owned();
        move |source| CliError::File { action: "written", path, source }
    };
    let parent = repository.parent().unwrap_or(repository);
    DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(file_error(parent))?;
    if !repository.join("HEAD").exists() {
        init(repository)?;
    }
    let hooks = repository.join("hooks");
    DirBuilder::new().recursive(true).mode(0o700).create(&hooks).map_err(file_error(&hooks))?;
    let hook = hooks.join("pre-receive");
    write_script(&hook, script).map_err(file_error(&hook))
}

fn init(repository: &Path) -> Result<(), CliError> {
    let mut command = git::command(Path::new("/"));
    command.args(["init", "--quiet", "--bare", "--template=", "--initial-branch=main"]).arg(repository);
    // stdout is Git's conversation with the pushing side.
    let answer = command.stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let answer = answer.map_err(|source| GitError::Missing { source })?;
    if answer.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
    Err(GitError::Refused { command: "init".to_owned(), said }.into())
}

fn hook_script(target: &Target, folder: Option<&str>, session: &Session) -> String {
    let binary = shell_word(&session.settings.binary.to_string_lossy());
    let server = shell_word(&session.settings.server.to_string());
    let folder = folder.map(|folder| format!(" --folder={}", shell_word(folder))).unwrap_or_default();
    format!(
        "#!/bin/sh\nexec {binary} --server {server} hook pre-receive --app {} --stage {}{folder}\n",
        target.app, target.stage
    )
}

/// Writes a script so that a push at the same time runs the old one or the new one, never half.
fn write_script(path: &Path, text: &str) -> std::io::Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    let draft: PathBuf = path.with_extension(format!("{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o700).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(Permissions::from_mode(0o700))?;
    drop(file);
    std::fs::rename(&draft, path)
}
