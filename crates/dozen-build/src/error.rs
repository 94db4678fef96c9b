//! Why a source could not be taken or an image not be built.
//!
//! Paths and names of a repository are hostile text: they are escaped and cut by [`shown`] before
//! they enter a variant. File content is never quoted; the only text of the app that an error
//! carries is the tail of the failing step's log, already redacted.

use std::{io, os::unix::ffi::OsStrExt, path::Path};

use dozen_model::{
    digest::Digest, hint::Hint, manifest::ManifestError, printable::is_harmless, procfile::ProcfileError,
};

use crate::step::StepEnd;

/// Why a source could not be taken or an image not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file or folder of ours could not be used.
    #[error("could not {doing}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// Why not.
        source: io::Error,
    },
    /// The user asked for the build to stop.
    #[error("the build was cancelled")]
    Cancelled,

    /// The path given is not inside a Git repository.
    #[error("`{path}` is not in a Git repository")]
    NotARepository {
        /// The path as given.
        path: String,
    },
    /// The repository belongs to another user, so Git does not look into it.
    #[error("the Git repository `{path}` belongs to another user")]
    ForeignRepository {
        /// Its top folder, as Git names it.
        path: String,
    },
    /// The repository has no commit yet.
    #[error("the repository has no commit yet")]
    NoCommit,
    /// No commit, branch or tag has that name.
    #[error("no commit, branch or tag is called `{reference}`")]
    UnknownReference {
        /// The name as given, escaped.
        reference: String,
        /// A branch or tag with a similar name.
        nearest: Option<String>,
    },
    /// The commit has no such folder.
    #[error("`{folder}` is not a folder of {reference}")]
    NoSuchFolder {
        /// The folder as given, escaped.
        folder: String,
        /// The commit or the working tree.
        reference: String,
    },
    /// The working tree differs from the commit.
    #[error("uncommitted changes: {}{}", names.join(", "), and_more(*more))]
    Uncommitted {
        /// The first five files, escaped.
        names: Vec<String>,
        /// How many further files differ.
        more: usize,
    },
    /// The tree holds a submodule.
    #[error("`{path}` is a submodule, and submodules are not supported yet")]
    Submodule {
        /// Where it is, escaped.
        path: String,
    },
    /// A file is a Git LFS pointer, its content is elsewhere.
    #[error("`{path}` is a Git LFS pointer, and LFS files are not supported yet")]
    LfsPointer {
        /// Where it is, escaped.
        path: String,
    },
    /// `git` itself gave up.
    #[error("`git {verb}` ended with: {reason}")]
    Git {
        /// The sub-command.
        verb: String,
        /// The last line it wrote, escaped.
        reason: String,
    },
    /// An entry of a tree, archive or build result is of a kind that is refused.
    #[error("the entry `{path}` is refused: {rule}")]
    EntryRefused {
        /// Where it is, escaped.
        path: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// A tree or archive is larger than allowed.
    #[error("the {what} is larger than allowed: {limit} at most")]
    TooBig {
        /// `source`, `archive`, `layer` …
        what: &'static str,
        /// The limit with its unit.
        limit: String,
    },
    /// An archive could not be read.
    #[error("the archive is damaged or not of its kind")]
    BadArchive {
        /// Why not.
        source: io::Error,
    },

    /// A file that decides about the build is a symbolic link.
    #[error("`{path}` is a symbolic link, and it is not followed")]
    LinkedFile {
        /// Its name.
        path: String,
    },
    /// A file that decides about the build cannot be used.
    #[error("`{path}` cannot be used: {reason}")]
    BadFile {
        /// Its name.
        path: String,
        /// What is wrong; never content.
        reason: String,
    },
    /// `dozen.toml` or `app.json` is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The Procfile is wrong.
    #[error(transparent)]
    Procfile(#[from] ProcfileError),
    /// No language plan fits the tree.
    #[error("nothing to build was found; looked for {looked_for}")]
    NothingFound {
        /// The names, as one text.
        looked_for: &'static str,
    },
    /// The tree has a Dockerfile and nothing else that says how to run it.
    #[error("a Dockerfile alone is not supported yet")]
    DockerfileOnly,
    /// Several lock files compete.
    #[error("several lock files compete: {}", names.join(", "))]
    CompetingLocks {
        /// Their names.
        names: Vec<String>,
    },
    /// A lock file of a tool that has no plan yet.
    #[error("`{name}` is not supported yet")]
    UnsupportedLock {
        /// Its name.
        name: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// Packages are declared, and the lock that pins them is not there.
    #[error("there is no `{lock}` beside `{file}`")]
    NoLock {
        /// What declares them.
        file: &'static str,
        /// What is missing.
        lock: &'static str,
        /// What makes it.
        command: &'static str,
    },
    /// `[app] lock` names a file that is not there or is no lock.
    #[error("`[app] lock` names `{name}`, which {why}")]
    BadLockSetting {
        /// As written, escaped.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No process type is known.
    #[error("no process type is declared, and none could be found")]
    NoProcesses {
        /// What to add.
        advice: String,
    },
    /// A version file says nothing that is understood.
    #[error("`{file}` asks for {language} `{text}`, which is not understood")]
    BadVersion {
        /// The file or setting.
        file: String,
        /// `Python` or `Node`.
        language: &'static str,
        /// As written, escaped and cut.
        text: String,
    },
    /// No runtime of the wanted version is installed.
    #[error(
        "no {language} {wanted} is installed; found {}{}",
        found_list(found),
        not_installed_because.as_ref().map(|reason| format!("; it could not be installed: {reason}")).unwrap_or_default()
    )]
    NoRuntime {
        /// `Python` or `Node`.
        language: &'static str,
        /// What was wanted and by which file.
        wanted: String,
        /// Versions with paths.
        found: Vec<String>,
        /// Why it could not be had, where that was tried.
        not_installed_because: Option<String>,
    },
    /// A tool that the build needs could not be had.
    #[error("`{tool}` could not be obtained: {reason}")]
    ToolMissing {
        /// Its name and version.
        tool: String,
        /// The last line of the attempt, or what was looked for.
        reason: String,
    },

    /// A step did not end well.
    #[error("{step} {end}")]
    StepFailed {
        /// The step's name.
        step: String,
        /// How it ended.
        end: StepEnd,
        /// Its last lines, redacted.
        tail: Vec<String>,
        /// What the tail suggests.
        advice: Option<String>,
        /// The command that does the same in a checkout, escaped.
        by_hand: Option<String>,
    },
    /// The walls around a step could not be made or kept.
    #[error("the walls around {step} did not hold together: {reason}")]
    Walls {
        /// The step's name.
        step: String,
        /// What the shim said.
        reason: String,
    },
    /// Shared libraries that the image needs are not there.
    #[error("shared libraries are missing: {}", names.join(", "))]
    MissingLibraries {
        /// Each with the file that needs it.
        names: Vec<String>,
        /// System packages that hold them, as far as known.
        packages: Vec<String>,
    },
    /// A layer of the store is not what its name says.
    #[error("the layer {digest} is damaged or gone")]
    DamagedLayer {
        /// Its name.
        digest: Digest,
    },
}

impl BuildError {
    /// An I/O error with what was being done.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// The same for a system call of `rustix`.
    pub(crate) fn os(doing: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let doing = doing.into();
        move |errno| Self::Io { doing, source: errno.into() }
    }

    /// The same, with the command that does in a checkout what the failed step does.
    pub(crate) fn done_by_hand_with(mut self, command: &str) -> Self {
        if let Self::StepFailed { by_hand, .. } = &mut self {
            *by_hand = Some(shown(command.as_bytes()));
        }
        self
    }

    /// The last lines of the step that failed, redacted; empty for other errors.
    pub fn log_tail(&self) -> &[String] {
        if let Self::StepFailed { tail, .. } = self { tail } else { &[] }
    }
}

/// Lock files with a plan; a hint names one of them.
const SUPPORTED_LOCKS: [&str; 4] = ["uv.lock", "Pipfile.lock", "requirements.txt", "package-lock.json"];

impl Hint for BuildError {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NotARepository { .. } => "run `git init`, or give an archive with `--archive`".into(),
            Self::ForeignRepository { path } => {
                format!("if you trust it, run `git config --global --add safe.directory '{path}'`")
            }
            Self::NoCommit => "commit first: `git add -A && git commit`".into(),
            Self::UnknownReference { nearest, .. } => format!("did you mean `{}`?", nearest.as_ref()?),
            Self::Uncommitted { .. } => "commit them, or take them along with `--dirty`".into(),
            Self::Submodule { .. } => "add its files to the repository, or install it as a dependency".into(),
            Self::LfsPointer { .. } => {
                "add the file itself to the repository, or keep it in a backing service".into()
            }
            Self::EntryRefused { .. } => {
                "leave that entry out; `git archive` makes archives without such".into()
            }
            Self::NoSuchFolder { .. } => {
                "write it as it stands in the commit, from the top of the repository: `services/blog`".into()
            }
            Self::BadLockSetting { .. } => {
                "name a lock file of the app's folder, or leave the setting out where there is only one"
                    .into()
            }
            Self::BadVersion { .. } => "write one to three numbers, such as `3.12` or `20.11.1`".into(),
            Self::BadArchive { .. } => {
                "make it again, for example with `git archive -o app.tar.gz HEAD`".into()
            }
            Self::Io { doing, source } => io_hint(doing, source.kind())?.into(),
            Self::LinkedFile { path } => format!("replace the link `{path}` with a file"),
            Self::NothingFound { .. } => "add a Procfile with a line such as `web: ./server`".into(),
            Self::DockerfileOnly => {
                "add a Procfile with the command of each process type, and a lock file".into()
            }
            Self::CompetingLocks { names } => {
                let usable = names.iter().find(|name| SUPPORTED_LOCKS.contains(&name.as_str()));
                format!(
                    "name the one that decides in dozen.toml: `[app]` and below it `lock = \"{}\"`",
                    usable.or(names.first())?
                )
            }
            Self::UnsupportedLock { instead, .. } => (*instead).into(),
            Self::NoLock { lock, command, .. } => format!("run `{command}` and commit {lock}"),
            Self::NoProcesses { advice } => advice.clone(),
            Self::NoRuntime { language, .. } => {
                format!("install that version of {language} on this machine, or ask for one that is there")
            }
            Self::StepFailed { end, tail, advice, by_hand, .. } => {
                return Some(advice.clone().unwrap_or_else(|| step_hint(*end, tail, by_hand.as_deref())));
            }
            Self::MissingLibraries { packages, .. } if !packages.is_empty() => {
                format!("install {}", packages.join(", "))
            }
            Self::Manifest(error) => return error.hint(),
            Self::Procfile(error) => return error.hint(),
            _ => return None,
        };
        Some(text)
    }
}

fn io_hint(doing: &str, kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::StorageFull => {
            Some("make room on the disk of DOZEN_HOME; `dozen doctor` says how much is free")
        }
        io::ErrorKind::NotFound if doing == "start `git`" => {
            Some("install Git, or give an archive with `--archive`")
        }
        _ => None,
    }
}

/// What to do about a step of which only its end is known.
fn step_hint(end: StepEnd, tail: &[String], by_hand: Option<&str>) -> String {
    let again = match by_hand {
        Some(command) => format!("run `{command}` in a fresh checkout of the app to see it there"),
        None => "run it in a fresh checkout of the app to see it there".to_owned(),
    };
    match end {
        StepEnd::TimedOut(_) => format!("raise `timeout` below `[build]` in dozen.toml, or {again}"),
        StepEnd::TooLoud => format!("let it print less; {again}"),
        _ if tail.iter().all(|line| line.is_empty()) => format!("it printed nothing; {again}"),
        _ => format!("the lines above are its own; {again}"),
    }
}

fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" and {more} more") }
}

fn found_list(found: &[String]) -> String {
    if found.is_empty() { "none".to_owned() } else { found.join(", ") }
}

/// A path or name from outside as printable text: control characters escaped, at most 200 characters.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 200;
    let text = String::from_utf8_lossy(bytes);
    let mut printable = String::new();
    for letter in text.chars() {
        if printable.chars().count() >= LONGEST {
            printable.push('…');
            break;
        }
        // A name that looks like another one is not it: joiners are shown here, and so are tabs.
        let hidden = !is_harmless(letter) || matches!(letter, '\t' | '\u{200c}' | '\u{200d}');
        if hidden { printable.extend(letter.escape_default()) } else { printable.push(letter) }
    }
    printable
}

/// [`shown`] for a path.
pub(crate) fn shown_path(path: &Path) -> String {
    shown(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_failed_tells_what_to_do_next() {
        let failed =
            |end, tail: &[&str], advice: Option<&str>, by_hand: Option<&str>| BuildError::StepFailed {
                step: "install".into(),
                end,
                tail: tail.iter().map(|line| (*line).to_owned()).collect(),
                advice: advice.map(str::to_owned),
                by_hand: by_hand.map(str::to_owned),
            };
        let bad = StepEnd::Exited(1);
        for (error, hint) in [
            (
                failed(bad, &["no such package"], None, Some("npm ci")),
                "the lines above are its own; run `npm ci` in a fresh checkout of the app to see it there",
            ),
            (
                failed(bad, &[""], None, None),
                "it printed nothing; run it in a fresh checkout of the app to see it there",
            ),
            (
                failed(StepEnd::TimedOut(std::time::Duration::from_secs(900)), &["slow"], None, None),
                "raise `timeout` below `[build]` in dozen.toml, or run it in a fresh checkout of the app to see it there",
            ),
            (failed(bad, &["full"], Some("make room"), Some("npm ci")), "make room"),
        ] {
            assert_eq!(error.hint().as_deref(), Some(hint));
        }
    }

    #[test]
    fn hostile_names_are_shown_without_control_characters() {
        let text = shown(b"a\x1b[31m\n\xffb\xe2\x80\xaec\xd8\x9c");
        assert!(
            !text.contains('\x1b') && !text.contains('\n') && !text.contains(['\u{202e}', '\u{61c}']),
            "{text}"
        );
        assert!(shown(&[b'x'; 5000]).chars().count() <= 201);
    }
}
