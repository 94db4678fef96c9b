//! The style rules that a tool can hold: size, names, words, and what may not be in the repository.
//!
//! Each rule is a function from one file to findings, in [`rules`]. Limits on functions are
//! clippy's (`clippy.toml`), so is who may read the environment and print.
//!
//! Start reading at [`check`].

mod rules;
#[cfg(test)]
mod tests;

use std::{fmt, fs};

use crate::task::{TaskError, command, output, repository};

/// One file that git knows, or would take.
pub(crate) struct SourceFile<'a> {
    /// From the root of the repository.
    path: &'a str,
    text: &'a str,
}

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Breach {
    path: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.rule)
    }
}

impl SourceFile<'_> {
    fn breach(&self, line: usize, rule: impl Into<String>) -> Breach {
        Breach { path: self.path.to_owned(), line, rule: rule.into() }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the file is nothing but tests.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/") || self.path.contains("/benches/")
    }

    /// Its lines with their numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// The line on which its inline tests begin.
    fn inline_tests(&self) -> Option<usize> {
        let mut before = "";
        for (number, line) in self.lines() {
            if before == "#[cfg(test)]" && line.starts_with("mod ") && line.ends_with('{') {
                return Some(number - 1);
            }
            before = line;
        }
        None
    }
}

/// Checks every file of the repository.
pub(crate) fn check() -> Result<(), TaskError> {
    println!("\n$ style rules");
    let names =
        output(&mut command("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
    let mut breaches = Vec::new();
    for path in names.split_terminator('\0') {
        // Gone from the work tree, or not text: no rule is about it.
        let Ok(text) = fs::read_to_string(repository().join(path)) else { continue };
        breaches.extend(rules::all(&SourceFile { path, text: &text }));
    }
    if breaches.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = breaches.iter().map(Breach::to_string).collect();
    Err(TaskError::new(format!("{} places break a rule\n{}", breaches.len(), shown.join("\n"))))
}
