//! `cargo xtask test` and `e2e`: the tests of every crate, then the end-to-end suite, on the real
//! binary, as the user who asks and, for root, as an ordinary user too.

use std::path::PathBuf;

use crate::{
    ordinary_user, requirements,
    task::{TaskError, cargo, find, is_ci, is_root, output, own_path, repository, run},
};

/// Where the end-to-end tests find the binary and the example apps.
pub(crate) const BINARY_VAR: &str = "DOZEN_E2E_BINARY";
/// See [`BINARY_VAR`].
pub(crate) const EXAMPLES_VAR: &str = "DOZEN_E2E_EXAMPLES";

/// What the end-to-end suite consists of.
pub(crate) struct EndToEnd {
    /// `dozen` itself.
    pub(crate) dozen: PathBuf,
    /// The tests.
    pub(crate) tests: PathBuf,
}

/// `cargo xtask test [--install] [ROOM]`.
pub(crate) fn test(words: &[&str]) -> Result<(), TaskError> {
    let (options, rooms): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with('-'));
    if let Some(unknown) = options.iter().find(|option| **option != "--install") {
        return Err(TaskError::new(format!("`{unknown}` is no option of `test`")));
    }
    requirements::provide(requirements::FOR_TESTS, options.contains(&"--install"))?;
    match rooms.as_slice() {
        [] => all(),
        [room] => one_room(room),
        _ => Err(TaskError::new("name one room, or none for all")),
    }
}

/// `cargo xtask e2e [NAME]`.
pub(crate) fn end_to_end(name: Option<&str>) -> Result<(), TaskError> {
    let suite = build()?;
    run_end_to_end(&suite, name)
}

/// All parts, also behind one that fails: one run tells everything.
fn all() -> Result<(), TaskError> {
    let mut parts = Parts::default();
    parts.note("the tests of the crates", run_tests(&["--workspace", "--no-fail-fast"], Some("e2e")));
    match build() {
        Ok(suite) => {
            parts.note("the end-to-end tests", run_end_to_end(&suite, None));
            if is_root() {
                let ended = ordinary_user::run_end_to_end(&suite);
                parts.note("the end-to-end tests as an ordinary user", ended);
            }
        }
        Err(reason) => parts.note("building the end-to-end tests", Err(reason)),
    }
    parts.verdict()
}

/// What has failed of something that has several parts.
#[derive(Default)]
struct Parts {
    failed: Vec<String>,
}

impl Parts {
    fn note(&mut self, part: &str, ended: Result<(), TaskError>) {
        if let Err(reason) = ended {
            println!("\nnot well: {part}: {reason}");
            self.failed.push(format!("{part}: {reason}"));
        }
    }

    fn verdict(self) -> Result<(), TaskError> {
        match self.failed.as_slice() {
            [] => Ok(()),
            [only] => Err(TaskError::new(only.clone())),
            several => Err(TaskError::new(format!("{} parts:\n  {}", several.len(), several.join("\n  ")))),
        }
    }
}

fn one_room(room: &str) -> Result<(), TaskError> {
    let package = if matches!(room, "dozen" | "xtask") { room.to_owned() } else { format!("dozen-{room}") };
    if package != "xtask" && !repository().join("crates").join(&package).is_dir() {
        return Err(TaskError::new(format!("there is no crate `{package}`")));
    }
    // nextest refuses a filter for a binary that it did not build.
    run_tests(&["--package", &package], (package == "dozen").then_some("e2e"))
}

/// Runs tests by nextest, or by cargo itself where it is not installed. The test binary
/// `left_out` is left to its own run.
fn run_tests(which: &[&str], left_out: Option<&str>) -> Result<(), TaskError> {
    if find("cargo-nextest", &own_path()).is_none() {
        // Here the end-to-end tests run within the others: cargo cannot leave out one binary.
        return run(cargo(["test", "--locked"]).args(which));
    }
    let mut nextest = cargo(["nextest", "run", "--locked"]);
    nextest.args(["--profile", if is_ci() { "ci" } else { "default" }]).args(which);
    if let Some(binary) = left_out {
        nextest.args(["--filterset", &format!("not binary(={binary})")]);
    }
    run(&mut nextest)
}

/// Builds all tests and the binary: the same selection of crates everywhere, because another one
/// can mean other features of a dependency, and then all is built once more.
pub(crate) fn build() -> Result<EndToEnd, TaskError> {
    println!("\n$ cargo test --workspace --no-run");
    let words =
        ["test", "--workspace", "--locked", "--no-run", "--message-format", "json-render-diagnostics"];
    let messages = output(&mut cargo(words))?;
    let tests = messages.lines().filter(|line| line.contains(r#""name":"e2e""#)).find_map(executable);
    let tests = tests.ok_or_else(|| TaskError::new("cargo named no end-to-end tests"))?;
    // The tests' profile lies in `target/PROFILE/deps`, the binary one folder up.
    let dozen = tests.parent().and_then(|deps| deps.parent()).map(|profile| profile.join("dozen"));
    let dozen = dozen.filter(|dozen| dozen.is_file());
    let dozen = dozen.ok_or_else(|| TaskError::new("cargo built no `dozen` beside its tests"))?;
    Ok(EndToEnd { dozen, tests })
}

/// The executable in one of cargo's JSON messages.
fn executable(message: &str) -> Option<PathBuf> {
    let (_, rest) = message.split_once(r#""executable":""#)?;
    Some(PathBuf::from(rest.split_once('"')?.0))
}

fn run_end_to_end(suite: &EndToEnd, name: Option<&str>) -> Result<(), TaskError> {
    let mut tests = crate::task::command(&suite.tests, name);
    tests.args(ordinary_user::TEST_OPTIONS);
    run(tests.env(BINARY_VAR, &suite.dozen).env(EXAMPLES_VAR, repository().join("examples")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_noted_and_those_that_failed_are_named_together() {
        let mut parts = Parts::default();
        parts.note("one", Ok(()));
        assert_eq!(parts.failed.len(), 0);
        parts.note("two", Err(TaskError::new("ended with exit status: 100")));
        parts.note("three", Ok(()));
        parts.note("four", Err(TaskError::new("was not built")));
        let verdict = parts.verdict().expect_err("two parts failed").to_string();
        assert_eq!(verdict, "2 parts:\n  two: ended with exit status: 100\n  four: was not built");
        assert!(Parts::default().verdict().is_ok());
    }
}
