//! Git as the calling user runs it: questions about the current repository.
//!
//! Git itself is called, never reimplemented. A question that has no answer (no repository, no such
//! key, no Git) is `None`; what a verb asks Git to change is an error with Git's own words.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use dozen_model::hint::Hint;

/// Why Git did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    /// It is not there.
    #[error("`git` cannot be started")]
    Missing {
        /// Why.
        source: io::Error,
    },
    /// It refused.
    #[error("`git {command}` refused: {said}")]
    Refused {
        /// The sub-command.
        command: String,
        /// What it said.
        said: String,
    },
}

impl Hint for GitError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("install Git".to_owned()),
            Self::Refused { said, .. } => owner_hint(said),
        }
    }
}

/// Git does not look into a repository of another user unless it was told that it may.
fn owner_hint(said: &str) -> Option<String> {
    let (_, folder) = said.split_once(DUBIOUS)?;
    let folder = shell_word(folder.trim_matches('\''));
    Some(format!("if you trust it, run `git config --global --add safe.directory {folder}`"))
}

/// Git's words for a repository that belongs to another user, before its folder.
const DUBIOUS: &str = "detected dubious ownership in repository at ";

/// Refuses, in Git's words, a folder in a repository of another user: it would pass for a folder in
/// none.
pub(crate) fn check_owner(folder: &Path) -> Result<(), GitError> {
    match run(folder, &["rev-parse", "--git-dir"]) {
        Err(GitError::Refused { command, said }) if said.contains(DUBIOUS) => {
            Err(GitError::Refused { command, said })
        }
        _ => Ok(()),
    }
}

/// A Git command in a folder, ready for its arguments.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new("git");
    // Its words are looked at.
    command.arg("-C").arg(folder).env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// Runs a Git command and gives its output, without the newline at its end.
pub(crate) fn run(folder: &Path, args: &[&str]) -> Result<String, GitError> {
    let answer = command(folder).args(args).output().map_err(|source| GitError::Missing { source })?;
    if answer.status.success() {
        return Ok(String::from_utf8_lossy(&answer.stdout).trim_end().to_owned());
    }
    let said = String::from_utf8_lossy(&answer.stderr).trim().lines().next().unwrap_or_default().to_owned();
    let command = args.first().copied().unwrap_or_default().to_owned();
    Err(GitError::Refused { command, said: said.trim_start_matches("fatal: ").to_owned() })
}

/// Whether Git can be started at all.
pub(crate) fn is_there() -> bool {
    !matches!(run(Path::new("."), &["version"]), Err(GitError::Missing { .. }))
}

/// A key of the repository's configuration.
pub(crate) fn config(folder: &Path, key: &str) -> Option<String> {
    run(folder, &["config", "--get", key]).ok().filter(|value| !value.is_empty())
}

/// The top folder of the repository that a folder belongs to.
pub(crate) fn top_of(folder: &Path) -> Option<PathBuf> {
    run(folder, &["rev-parse", "--show-toplevel"]).ok().map(PathBuf::from)
}

/// The folder's place in its repository; `None` when it is the top of it, or in none.
pub(crate) fn folder_in_repository(path: &Path) -> Option<String> {
    let top = std::fs::canonicalize(top_of(path)?).ok()?;
    let below = std::fs::canonicalize(path).ok()?.strip_prefix(top).ok()?.to_str()?.to_owned();
    Some(below).filter(|below| !below.is_empty())
}

/// The words of a push that deploys the current branch: a remote takes `main` and `master`.
pub(crate) fn push_words(folder: &Path, remote: &str) -> String {
    match run(folder, &["symbolic-ref", "--short", "-q", "HEAD"]) {
        Ok(branch) if branch == "main" || branch == "master" => format!("git push {remote} {branch}"),
        _ => format!("git push {remote} HEAD:main"),
    }
}

/// `text` as one word for a shell.
pub(crate) fn shell_word(text: &str) -> String {
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-' | b':' | b'@' | b'+');
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_for_a_shell_comes_out_of_it_unchanged() {
        for text in ["/usr/bin/dozen", "/My Files/do'zen", "$HOME `x` \"", ""] {
            let script = format!("printf %s {}", shell_word(text));
            let answer = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(answer.stdout).unwrap(), text);
        }
    }

    #[test]
    fn a_folder_without_a_repository_has_no_remote() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(config(folder.path(), "remote.dozen.url"), None);
        assert_eq!(top_of(folder.path()), None);
    }
}
