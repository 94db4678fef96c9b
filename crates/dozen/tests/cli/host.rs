//! A place to run `dozen` in: folders of its own, no variable of the caller's.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// Folders and the environment of one test.
pub(crate) struct Host {
    folder: TempDir,
}

/// What a run of `dozen` left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// `dozen` with these words, in the test's own folder.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        self.prepared(Command::new(env!("CARGO_BIN_EXE_dozen")), words)
    }

    /// `git` with these words, in the test's own folder.
    pub(crate) fn git(&self, words: &[&str]) -> Ran {
        let name = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"];
        ran(self.prepared(Command::new("git"), &[&name, words].concat()))
    }

    fn prepared(&self, mut command: Command, words: &[&str]) -> Command {
        command.args(words).current_dir(self.folder.path()).stdin(Stdio::null()).env_clear();
        command.env("HOME", self.path("home")).env("PATH", env!("PATH")).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("DOZEN_HOME", self.path("state")).env("DOZEN_RUN", self.path("run"));
        command
    }

    pub(crate) fn dozen(&self, words: &[&str]) -> Ran {
        ran(self.command(words))
    }

    pub(crate) fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

pub(crate) fn ran(mut command: Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().unwrap();
    Ran {
        status: status.code().unwrap_or(-1),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}
