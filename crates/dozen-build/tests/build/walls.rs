//! The runner: lines, ends, the clock, the cancel flag.

use std::{
    collections::BTreeMap,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use dozen_build::{
    BuildError,
    step::{AppMount, BuildUser, StepEnd, StepRunner, StepWatch, WalledStep},
};

use crate::bench::{Bench, is_root, tree};

pub(crate) fn step(app: AppMount, script: &str) -> WalledStep {
    WalledStep {
        name: "probe".into(),
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        app,
        binds: Vec::new(),
        network: false,
        timeout: Duration::from_secs(60),
        build_user: is_root().then_some(BuildUser { uid: 61_234, gid: 61_234 }),
    }
}

fn run(bench: &Bench, step: &WalledStep) -> (Result<StepEnd, BuildError>, Vec<String>) {
    let mut lines = Vec::new();
    let mut line = |bytes: &[u8]| lines.push(String::from_utf8_lossy(bytes).into_owned());
    let mut watch = StepWatch { line: &mut line, cancel: &bench.cancel };
    let end = bench.runner().run(step, &mut watch);
    (end, lines)
}

#[test]
fn lines_and_the_end_of_a_step_are_reported() {
    let bench = Bench::new();
    let folder = tree(&[]);
    let app = AppMount::Writable(folder.path().to_owned());
    let (end, lines) = run(&bench, &step(app.clone(), "pwd; echo two >&2; printf three; exit 7"));
    assert_eq!(
        (end.unwrap(), lines),
        (StepEnd::Exited(7), ["/app", "two", "three"].map(str::to_owned).to_vec())
    );
    let (end, _) = run(&bench, &step(app.clone(), "kill -9 $$"));
    assert_eq!(end.unwrap(), StepEnd::Signalled(9));
    let (_, lines) =
        run(&bench, &step(app, "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"));
    assert_eq!((lines.len(), lines.last().map(String::as_str)), (20_000, Some("line 19999")));
}

#[test]
fn a_step_that_takes_too_long_or_is_cancelled_is_killed_with_all_it_started() {
    let bench = Bench::new();
    let folder = tree(&[]);
    let mut slow = step(AppMount::Writable(folder.path().to_owned()), "sleep 600 & sleep 600");
    slow.timeout = Duration::from_millis(300);
    let began = Instant::now();
    assert!(matches!(run(&bench, &slow).0.unwrap(), StepEnd::TimedOut(_)));
    slow.timeout = Duration::from_secs(600);
    bench.cancel.store(true, Ordering::Relaxed);
    assert_eq!(run(&bench, &slow).0.unwrap(), StepEnd::Cancelled);
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_program_that_is_not_there_is_an_error_of_the_walls() {
    let bench = Bench::new();
    let folder = tree(&[]);
    let mut missing = step(AppMount::Writable(folder.path().to_owned()), "");
    missing.argv = vec!["/no/such/program".into()];
    assert!(matches!(run(&bench, &missing).0.unwrap_err(), BuildError::Walls { .. }));
}
