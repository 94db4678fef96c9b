//! A program for the tests of this crate: a shim, or an export as a Git hook would run it.
//!
//! ```text
//! build-shim-probe shim …                the shim
//! build-shim-probe export COMMIT FILE    the commit of the repository here, as a stream in FILE
//! ```

use std::{env, fs::File, path::Path, process::ExitCode};

use dozen_build::source::{
    SourceLimits,
    export::{GitRequest, UncommittedChanges, export_git},
};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    match &arguments[..] {
        [verb, commit, file] if verb == "export" => export(&commit.to_string_lossy(), Path::new(file)),
        [_, rest @ ..] => dozen_sandbox::shim_main(rest.iter().cloned()),
        [] => ExitCode::FAILURE,
    }
}

fn export(commit: &str, file: &Path) -> ExitCode {
    let request = GitRequest {
        repository: Path::new("."),
        reference: commit,
        subfolder: None,
        changes: UncommittedChanges::Ignore,
        limits: SourceLimits::default(),
    };
    let exported = File::create(file).is_ok_and(|writer| export_git(&request, writer).is_ok());
    if exported { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
