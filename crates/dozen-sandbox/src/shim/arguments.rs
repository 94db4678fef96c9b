//! The shim's arguments. None of them is a secret: every user can read them.

use std::{ffi::OsString, path::PathBuf, time::Duration};

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Keep the instance of this directory.
    Keep { dir: PathBuf, mode: Mode },
    /// Try the walls and print which stand.
    ProbeWalls,
}

/// What a shim is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A new instance.
    Start,
    /// Go on with one whose shim is dead.
    Adopt,
    /// Bring one whose shim is dead to its end, without its spec: as its stop policy says, or within
    /// another grace period.
    End { grace: Option<Duration> },
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) task: Task,
    pub(super) lifeline: Option<i32>,
}

impl Arguments {
    /// `--dir DIR [--adopt | --end [--grace MILLIS]] [--lifeline FD]`, or `--probe-walls`.
    pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        let (mut dir, mut mode, mut lifeline, mut probe) = (None, Mode::Start, None, false);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| "an argument has no value".to_owned());
            match argument.to_str() {
                Some("--dir") => dir = Some(PathBuf::from(value()?)),
                Some("--adopt") => mode = Mode::Adopt,
                Some("--end") => mode = Mode::End { grace: None },
                Some("--grace") if matches!(mode, Mode::End { .. }) => {
                    mode = Mode::End { grace: Some(millis(&value()?)?) };
                }
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

fn millis(value: &OsString) -> Result<Duration, String> {
    let number = value.to_str().and_then(|digits| digits.parse().ok());
    number.map(Duration::from_millis).ok_or_else(|| "`--grace` is not a number of milliseconds".into())
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
        assert_eq!(parse("--dir /d"), Ok(Arguments { task: keep(Mode::Start), lifeline: None }));
        let adopt = Arguments { task: keep(Mode::Adopt), lifeline: Some(3) };
        assert_eq!(parse("--adopt --lifeline 3 --dir /d"), Ok(adopt));
        let grace = Some(Duration::from_millis(70));
        let end = Arguments { task: keep(Mode::End { grace }), lifeline: None };
        assert_eq!(parse("--dir /d --end --grace 70"), Ok(end));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "--adopt",
            "--dir",
            "--dir /d x",
            "--dir /d --lifeline 1",
            "--dir /d --grace 1",
            "--probe-walls --dir /d",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
