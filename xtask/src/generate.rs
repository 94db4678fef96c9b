//! Files that are written by the product itself, such as the reference of the command line.
//!
//! They are committed, so that they can be read without building; `check` compares them.

use std::{fs, path::Path};

use crate::{
    suite,
    task::{TaskError, command, output, repository},
};

/// A file and the words that make `dozen` write it to stdout.
struct Generated {
    path: &'static str,
    words: &'static [&'static str],
}

const GENERATED: &[Generated] = &[Generated { path: "docs/reference/cli.md", words: &["reference"] }];

/// Writes all generated files.
pub(crate) fn write() -> Result<(), TaskError> {
    let dozen = suite::build()?.dozen;
    for generated in GENERATED {
        let file = repository().join(generated.path);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&file, generated.content(&dozen)?)?;
        println!("wrote {}", generated.path);
    }
    Ok(())
}

/// Tells which generated files are not as they would be written now.
pub(crate) fn check() -> Result<(), TaskError> {
    let dozen = suite::build()?.dozen;
    let mut stale = Vec::new();
    for generated in GENERATED {
        let committed = fs::read_to_string(repository().join(generated.path)).unwrap_or_default();
        if committed != generated.content(&dozen)? {
            stale.push(generated.path);
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(TaskError::new(format!("not up to date: {}; run `cargo xtask generate`", stale.join(", "))))
}

impl Generated {
    fn content(&self, dozen: &Path) -> Result<String, TaskError> {
        println!("\n$ dozen {}", self.words.join(" "));
        output(&mut command(dozen, self.words))
    }
}
