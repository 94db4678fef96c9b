//! Calls `git`, with what a repository's configuration could start switched off.
//!
//! The environment is inherited: inside a hook `GIT_DIR` and the quarantine's variables say where
//! the pushed objects are. Optional locks, prompts, lazy fetches and replaced objects are off, so
//! a call neither changes the repository nor asks anyone.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::error::{BuildError, shown};

/// An empty environment variable, which the value of a setting is taken from.
const NOTHING: &str = "DOZEN_GIT_NOTHING";

/// A repository and the folder in it that calls start from.
#[derive(Debug)]
pub(super) struct Git {
    folder: PathBuf,
}

impl Git {
    pub(super) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// A `git` command, ready but for its arguments.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.folder);
        // A repository's own configuration may name programs; these are the ones that the calls
        // below could start.
        for setting in [
            "core.fsmonitor=false",
            "core.hooksPath=/dev/null",
            "core.quotePath=false",
            // Checks signatures with `gpg.program`.
            "log.showSignature=false",
        ] {
            command.args(["-c", setting]);
        }
        command
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        command
    }

    /// A `git` command that may read files of the working tree. Their attributes can name a filter,
    /// and a filter is a program; so each setting of each filter is made empty, and files are
    /// compared as they are. One that only a filter makes equal to the commit counts as changed,
    /// unless Git's index knows better.
    pub(super) fn unfiltered(&self) -> Result<Command, BuildError> {
        let settings = self.run(&["config", "-z", "--name-only", "--get-regexp", r"^filter\."])?;
        let mut command = self.command();
        command.env(NOTHING, "");
        for name in settings.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            // Unlike `-c`, it takes a name with `=` in it.
            let mut argument = OsString::from("--config-env=");
            argument.push(OsStr::from_bytes(name));
            argument.push(format!("={NOTHING}"));
            command.arg(argument);
        }
        Ok(command)
    }

    /// Runs `git` with `arguments`; its output, whatever its status.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Output, BuildError> {
        self.command().args(arguments).output().map_err(BuildError::io("start `git`"))
    }

    /// Runs `git`; its standard output, or an error when it ended badly.
    pub(super) fn read(&self, arguments: &[&str]) -> Result<Vec<u8>, BuildError> {
        Self::read_from(self.command(), arguments)
    }

    /// The same with a command of [`Git::unfiltered`].
    pub(super) fn read_from(mut command: Command, arguments: &[&str]) -> Result<Vec<u8>, BuildError> {
        let output = command.args(arguments).output().map_err(BuildError::io("start `git`"))?;
        if output.status.success() { Ok(output.stdout) } else { Err(refused(arguments, &output.stderr)) }
    }

    /// One line of text, or `None` when `git` ended badly or wrote nothing.
    pub(super) fn line(&self, arguments: &[&str]) -> Result<Option<String>, BuildError> {
        let output = self.run(arguments)?;
        let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        Ok(Some(text).filter(|text| output.status.success() && !text.is_empty()))
    }
}

/// The error for a call that ended badly.
pub(super) fn refused(arguments: &[&str], stderr: &[u8]) -> BuildError {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
    BuildError::Git {
        verb: (*arguments.first().unwrap_or(&"")).to_owned(),
        reason: shown(last.trim_start_matches("fatal: ").as_bytes()),
    }
}
