//! The shim's arguments. None of them is a secret: every user can read them.

use std::{ffi::OsString, path::PathBuf};

use crate::client::LaunchMode;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Keep the instance of this directory.
    Keep { dir: PathBuf, mode: LaunchMode },
    /// Try the walls and print which stand.
    ProbeWalls,
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) task: Task,
    pub(super) lifeline: Option<i32>,
}

impl Arguments {
    /// `--dir DIR [--adopt] [--lifeline FD]`, or `--probe-walls`.
    pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let (mut dir, mut mode, mut lifeline, mut probe) = (None, LaunchMode::Start, None, false);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| "an argument has no value".to_owned());
            match argument.to_str() {
                Some("--dir") => dir = Some(PathBuf::from(value()?)),
                Some("--adopt") => mode = LaunchMode::Adopt,
                Some("--lifeline") => lifeline = Some(descriptor(&value()?)?),
                Some("--probe-walls") => probe = true,
                _ => return Err("an argument of the shim is unknown".into()),
            }
        }
        match (probe, dir) {
            (true, None) => Ok(Self { task: Task::ProbeWalls, lifeline: None }),
            (false, Some(dir)) => Ok(Self { task: Task::Keep { dir, mode }, lifeline }),
            _ => Err("the shim needs `--dir`".into()),
        }
    }
}

fn descriptor(value: &OsString) -> Result<i32, String> {
    let number = value.to_str().and_then(|digits| digits.parse().ok());
    number.filter(|fd| *fd > 2).ok_or_else(|| "`--lifeline` is not the number of a descriptor".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_arguments_of_a_start_and_of_an_adoption_are_understood() {
        let keep = |mode| Task::Keep { dir: "/d".into(), mode };
        assert_eq!(parse("--dir /d"), Ok(Arguments { task: keep(LaunchMode::Start), lifeline: None }));
        let adopt = Arguments { task: keep(LaunchMode::Adopt), lifeline: Some(3) };
        assert_eq!(parse("--adopt --lifeline 3 --dir /d"), Ok(adopt));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in ["", "--adopt", "--dir", "--dir /d x", "--dir /d --lifeline 1", "--probe-walls --dir /d"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
