//! Running one command of a task: shown, run in the repository, and its failure named.

use std::{
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// Why a task stopped, in words for the person who started it.
#[derive(Debug)]
pub(crate) struct TaskError(String);

impl TaskError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for TaskError {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// The folder of the repository.
pub(crate) fn repository() -> PathBuf {
    // Set by cargo at run time, so a moved checkout still works.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let manifest = manifest.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    manifest.parent().map_or(manifest.clone(), Path::to_owned)
}

/// Where a run leaves nothing out: a test that cannot run there fails, and what is missing is
/// installed.
pub(crate) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// Whether we may install packages and become another user.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// `cargo`, the one that started us.
pub(crate) fn cargo<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), words)
}

/// A command that runs in the repository.
pub(crate) fn command<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    words: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(program);
    command.args(words).current_dir(repository());
    command
}

/// Shows the command, runs it, and tells how long it took.
pub(crate) fn run(command: &mut Command) -> Result<(), TaskError> {
    let shown = shown(command);
    println!("\n$ {shown}");
    let started = Instant::now();
    let status =
        command.status().map_err(|error| TaskError::new(format!("`{shown}` did not start: {error}")))?;
    println!("  ({:.1} s)", started.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { Err(TaskError::new(format!("`{shown}` ended with {status}"))) }
}

/// Runs the command and gives what it wrote to stdout.
pub(crate) fn output(command: &mut Command) -> Result<String, TaskError> {
    let shown = shown(command);
    let output =
        command.output().map_err(|error| TaskError::new(format!("`{shown}` did not start: {error}")))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(TaskError::new(format!("`{shown}` ended with {}\n{why}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The file that `program` is in one of the folders of `path`, if any.
pub(crate) fn find(program: &str, path: &str) -> Option<PathBuf> {
    path.split(':').map(|folder| Path::new(folder).join(program)).find(|file| file.is_file())
}

/// Our own `PATH`.
pub(crate) fn own_path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
