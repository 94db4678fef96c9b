//! The terminal picture of the README: a real `dozen up examples/blango` in an empty home.
//!
//! What is written there is what stays on a terminal: the log lines of a step, which a terminal
//! shows below the step and takes away at its end, are left out. It is made when someone asks for
//! it, not by `check`: its times are those of one machine and one day.

use std::{fs, path::Path, process::Command};

use crate::task::{TaskError, cargo, repository, run};

/// What stands before the picture in the README, and behind it.
const BEGIN: &str = "```text\n$ dozen up examples/blango\n";
const END: &str = "```\n";

/// Runs the command, with a release build or the given binary, and puts what it told into the README.
pub(crate) fn write(binary: Option<&str>) -> Result<(), TaskError> {
    let binary = match binary {
        Some(binary) => fs::canonicalize(binary)?,
        None => {
            run(&mut cargo(["build", "--release", "-p", "dozen"]))?;
            repository().join("target/release/dozen")
        }
    };
    let home = std::env::temp_dir().join(format!("dozen-picture-{}", std::process::id()));
    let told = up(&binary, &home);
    let stopped = dozen(&binary, &home, &["server", "stop", "--all"]).output();
    let _ = fs::remove_dir_all(&home);
    stopped?;
    let readme = repository().join("README.md");
    let text = fs::read_to_string(&readme)?;
    let missing = || TaskError::new("README.md has no picture to replace");
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    fs::write(&readme, format!("{before}{BEGIN}{}{END}{after}", told?))?;
    println!("wrote the picture in README.md");
    Ok(())
}

fn up(binary: &Path, home: &Path) -> Result<String, TaskError> {
    let output = dozen(binary, home, &["up", "examples/blango"]).output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(TaskError::new(format!("`dozen up` ended with {}\n{told}", output.status)));
    }
    // The address is the result, on stdout; a terminal shows it behind `... is up`.
    let address = String::from_utf8_lossy(&output.stdout);
    let mut picture = String::new();
    for line in told.lines().filter(|line| !line.starts_with("      ") && !line.starts_with("  …")) {
        picture.push_str(line);
        picture.push('\n');
        if line.ends_with(" is up") {
            picture.push_str(&address);
        }
    }
    Ok(picture)
}

/// The binary in a home of its own; the router listens where it does by default.
fn dozen(binary: &Path, home: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(words).current_dir(repository()).env("DOZEN_HOME", home).env("LC_ALL", "C.UTF-8");
    for name in ["DOZEN_RUN", "DOZEN_LISTEN", "DOZEN_SERVER", "DOZEN_APP", "DOZEN_STAGE", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command
}
