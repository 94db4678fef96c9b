use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use dozen_run::{
    ExitReason, RunError,
    one_off::{Attach, Frame},
    wait_ready,
};
use dozen_sandbox::spec::{Restart, StopPolicy};

use crate::stand::{PATIENCE, Stand, get, id, wait};

#[test]
fn an_instance_starts_serves_and_stops() {
    let stand = Stand::new();
    let web = id("web-1");
    let (spec, probe) = stand.web(&web, &[]);

    stand.supervisor.start(&web, &spec).unwrap();
    wait_ready(&probe, &web, &stand.supervisor, &mut |_| {}).unwrap();
    assert!(get(probe.address, "/env").unwrap().contains(&format!("PORT={}", probe.address.port())));

    assert_eq!(stand.supervisor.stop(&web, None).unwrap(), ExitReason::Signal(15));
    assert_eq!(get(probe.address, "/"), None);
    let state = stand.supervisor.status(&web).unwrap();
    assert_eq!((state.word(), state.exit()), ("exited", Some(ExitReason::Signal(15))));
    assert_eq!(stand.supervisor.list().unwrap(), std::slice::from_ref(&web));
    stand.supervisor.remove(&web).unwrap();
    assert_eq!(stand.supervisor.list().unwrap(), []);
    assert!(matches!(stand.supervisor.status(&web), Err(RunError::NoSuchLaunch { .. })));
}

#[test]
fn an_app_that_ignores_the_stop_signal_is_killed_after_its_grace_period() {
    let stand = Stand::new();
    let deaf = id("deaf");
    let script = "trap '' TERM; echo deaf; while :; do sleep 1; done";
    stand.start(&deaf, &stand.spec(&deaf, &["sh", "-c", script]));
    stand.wait_output(&deaf, "deaf");

    let began = Instant::now();
    let reason = stand.supervisor.stop(&deaf, Some(Duration::from_millis(400))).unwrap();

    assert_eq!(reason, ExitReason::Signal(9));
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
}

#[test]
fn an_app_may_finish_its_work_in_its_grace_period() {
    let stand = Stand::new();
    let polite = id("polite");
    let script = "trap 'sleep 0.2; echo bye; exit 0' TERM; echo ready; while :; do sleep 0.02; done";
    stand.start(&polite, &stand.spec(&polite, &["sh", "-c", script]));
    stand.wait_output(&polite, "ready");

    assert_eq!(stand.supervisor.stop(&polite, None).unwrap(), ExitReason::Status(0));

    stand.wait_output(&polite, "bye");
    assert_eq!(
        stand.supervisor.stop(&polite, None).unwrap(),
        ExitReason::Status(0),
        "a second stop says the same"
    );
}

#[test]
fn every_process_behind_a_shell_gets_the_stop_signal() {
    let stand = Stand::new();
    let shell = id("shell");
    let mut spec = stand.spec(
        &shell,
        &[
            "sh",
            "-c",
            "sh -c 'trap \"echo child done; exit 0\" TERM; echo child; while :; do sleep 0.02; done'; :",
        ],
    );
    spec.stop = StopPolicy { all: true, ..spec.stop };
    stand.start(&shell, &spec);
    stand.wait_output(&shell, "child");

    stand.supervisor.stop(&shell, None).unwrap();

    stand.wait_output(&shell, "child done");
}

#[test]
fn a_running_instance_cannot_be_removed_nor_started_twice() {
    let stand = Stand::new();
    let web = id("web-1");
    let (spec, _) = stand.web(&web, &[]);
    let before = stand.start(&web, &spec);

    assert!(matches!(stand.supervisor.remove(&web), Err(RunError::StillRuns { .. })));
    assert!(matches!(stand.supervisor.start(&web, &spec), Err(RunError::Exists { .. })));

    assert_eq!(stand.supervisor.status(&web).unwrap(), before);
}

#[test]
fn several_may_remove_an_instance_at_once() {
    let stand = Stand::new();
    for round in 0..10 {
        let short = id(&format!("short-{round}"));
        stand.supervisor.start(&short, &stand.spec(&short, &["run-probe", "serve"])).unwrap();
        stand.supervisor.kill(&short).unwrap();
        let begin = std::sync::Barrier::new(4);
        let remove = || {
            begin.wait();
            stand.supervisor.remove(&short)
        };
        std::thread::scope(|scope| {
            let removals: Vec<_> = (0..4).map(|_| scope.spawn(remove)).collect();
            for removal in removals {
                removal.join().unwrap().unwrap();
            }
        });
        assert!(!stand.supervisor.folder(&short).exists());
    }
}

#[test]
fn a_crashed_app_is_started_again() {
    let stand = Stand::new();
    let web = id("web-1");
    let (spec, probe) = stand.web(&web, &[]);
    stand.supervisor.start(&web, &spec).unwrap();
    wait_ready(&probe, &web, &stand.supervisor, &mut |_| {}).unwrap();

    get(probe.address, "/crash");

    wait(|| get(probe.address, "/").is_some(), || "it did not come back".into());
    wait(|| stand.supervisor.status(&web).unwrap().reported.restarts == 1, || "no restart".into());
    assert_eq!(stand.supervisor.status(&web).unwrap().last_exit(), Some(ExitReason::Status(7)));
}

#[test]
fn every_change_is_told_in_order() {
    let stand = Stand::new();
    let short = id("short");
    let mut spec = stand.spec(&short, &["run-probe", "exit", "3"]);
    spec.restart = Restart::Never;
    let events = stand.supervisor.subscribe();
    stand.supervisor.start(&short, &spec).unwrap();

    let mut words = Vec::new();
    while words.last() != Some(&"crashed") {
        let event = events.recv_timeout(PATIENCE).unwrap();
        assert_eq!(event.id, short);
        words.push(event.state.word());
    }

    words.dedup();
    // Short phases may be told as one, but none comes back after a later one.
    let order = ["starting", "up", "crashed"];
    let places: Vec<_> =
        words.iter().map(|word| order.iter().position(|other| other == word).unwrap()).collect();
    assert!(places.is_sorted(), "{words:?}");
    assert_eq!(stand.supervisor.wait_exit(&short, PATIENCE), Some(ExitReason::Status(3)));
}

#[test]
fn the_memory_of_everything_inside_is_counted() {
    let stand = Stand::new();
    let web = id("web-1");
    let (spec, probe) = stand.web(&web, &[]);
    stand.supervisor.start(&web, &spec).unwrap();
    wait_ready(&probe, &web, &stand.supervisor, &mut |_| {}).unwrap();

    let memory = stand.supervisor.memory(&web).unwrap();

    assert_eq!(memory.processes, 2, "init and the app: {memory:?}");
    assert!(memory.bytes > 64 << 10, "{memory:?}");
}

#[test]
fn a_one_off_process_is_attached_to_and_gives_its_exit_status() {
    let stand = Stand::new();
    let run = id("run-1");
    let mut spec = stand.spec(&run, &["sh", "-c", "read word; echo got $word; echo trouble >&2; exit 42"]);
    spec.restart = Restart::Never;
    spec.attach = Some(Attach { terminal: None });
    stand.supervisor.start(&run, &spec).unwrap();

    let mut stream = stand.supervisor.attach(&run, None).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    Frame::Input(b"hello\n".to_vec()).encode_into(&mut bytes);
    stream.write_all(&bytes).unwrap();
    let (mut output, mut errors, mut exit, mut unread) = (Vec::new(), Vec::new(), None, Vec::new());
    while exit.is_none() {
        let mut some = [0; 1024];
        let count = stream.read(&mut some).unwrap();
        assert!(count > 0, "hung up without an exit frame");
        unread.extend_from_slice(&some[..count]);
        while let Some((frame, length)) = Frame::decode(&unread).unwrap() {
            unread.drain(..length);
            match frame {
                Frame::Output(data) => output.extend(data),
                Frame::ErrorOutput(data) => errors.extend(data),
                frame => exit = dozen_run::one_off::exit_of(&frame),
            }
        }
    }

    assert_eq!((output.as_slice(), errors.as_slice()), (&b"got hello\n"[..], &b"trouble\n"[..]));
    assert_eq!(exit, Some(ExitReason::Status(42)));
    assert_eq!(stand.supervisor.wait_exit(&run, PATIENCE), Some(ExitReason::Status(42)));
}

#[test]
fn nobody_attaches_to_an_instance_that_is_no_one_off_process() {
    let stand = Stand::new();
    let web = id("web-1");
    let (spec, _) = stand.web(&web, &[]);
    stand.start(&web, &spec);
    assert!(matches!(stand.supervisor.attach(&web, None), Err(RunError::NotAttachable { .. })));
}
