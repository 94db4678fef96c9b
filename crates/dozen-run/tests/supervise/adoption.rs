use std::{fs, os::unix::fs::DirBuilderExt};

use dozen_run::{Adoption, ExitReason, InstanceState, LaunchId, RunError, wait_ready};
use dozen_sandbox::spec::{LaunchSpec, Restart};

use rustix::process::Signal;

use crate::stand::{PATIENCE, Stand, get, id, signal, wait};

/// No new shim should be needed.
fn no_spec() -> Result<LaunchSpec, RunError> {
    panic!("a new shim was asked for")
}

fn adopt(stand: &Stand, id: &LaunchId, spec: &LaunchSpec) -> InstanceState {
    match stand.supervisor.adopt(id, || Ok(spec.clone())).unwrap() {
        Adoption::Running(state) => *state,
        other => panic!("{other:?}"),
    }
}

/// Kills the shim and waits until that is known.
fn kill_shim(stand: &Stand, id: &LaunchId) {
    signal(stand.supervisor.status(id).unwrap().reported.shim, Signal::KILL);
    wait(|| stand.supervisor.status(id).unwrap().shim_lost, || "nobody saw the shim die".into());
}

#[test]
fn a_new_supervisor_takes_over_what_the_old_one_started() {
    let mut stand = Stand::new();
    let web = id("web-1");
    let (spec, probe) = stand.web(&web, &[]);
    stand.supervisor.start(&web, &spec).unwrap();
    wait_ready(&probe, &web, &stand.supervisor, &mut |_| {}).unwrap();
    let before = stand.wait_running(&web);

    stand.replace_supervisor();
    assert_eq!(stand.supervisor.list().unwrap(), std::slice::from_ref(&web));
    let adopted = stand.supervisor.adopt(&web, no_spec).unwrap();

    assert_eq!(adopted, Adoption::Running(Box::new(before)));
    assert_eq!(stand.supervisor.stop(&web, None).unwrap(), ExitReason::Signal(15));
}

#[test]
fn a_dead_shim_is_replaced_and_no_line_is_lost() {
    let stand = Stand::new();
    let talker = id("talker");
    let spec = stand.spec(&talker, &["run-probe", "lines", "3000", "1"]);
    let events = stand.supervisor.subscribe();
    let main = stand.start(&talker, &spec).reported.main;

    for line in ["line 300\n", "line 1000\n", "line 2000\n"] {
        stand.wait_output(&talker, line);
        kill_shim(&stand, &talker);
        let state = adopt(&stand, &talker, &spec);
        assert_eq!((state.shim_lost, state.reported.main), (false, main), "the app went on");
    }

    stand.wait_output(&talker, "all printed");
    let expected: String = (0..3000).map(|number| format!("line {number}\n")).collect();
    assert_eq!(stand.output(&talker), expected + "all printed\n");
    assert_eq!(events.try_iter().filter(|event| event.state.shim_lost).count(), 3);
}

#[test]
fn an_app_that_crashes_while_nobody_watches_is_started_again() {
    let mut stand = Stand::new();
    let web = id("web-1");
    let (spec, probe) = stand.web(&web, &[]);
    stand.supervisor.start(&web, &spec).unwrap();
    wait_ready(&probe, &web, &stand.supervisor, &mut |_| {}).unwrap();

    // Until it is adopted nobody of us listens to the shim.
    stand.replace_supervisor();
    get(probe.address, "/crash");
    wait(|| get(probe.address, "/").is_some(), || "it did not come back".into());

    let state = adopt(&stand, &web, &spec);
    assert_eq!((state.reported.restarts, state.last_exit()), (1, Some(ExitReason::Status(7))));
}

#[test]
fn an_end_that_nobody_saw_is_known_afterwards() {
    let mut stand = Stand::new();
    let phase = id("release-7");
    let mut spec = stand.spec(&phase, &["run-probe", "exit", "3"]);
    spec.restart = Restart::Never;
    stand.supervisor.start(&phase, &spec).unwrap();
    let shim = stand.supervisor.status(&phase).unwrap().reported.shim;
    stand.replace_supervisor();
    wait(|| !is_alive(shim.pid), || "its shim stays".into());

    assert_eq!(stand.supervisor.adopt(&phase, no_spec).unwrap(), Adoption::Exited(ExitReason::Status(3)));
    assert_eq!(stand.supervisor.status(&phase).unwrap().word(), "crashed");
}

#[test]
fn an_end_that_not_even_the_shim_saw_is_known_afterwards() {
    let stand = Stand::new();
    let phase = id("release-8");
    let script = "trap 'exit 5' USR1; echo begun; while :; do sleep 0.02; done";
    let mut spec = stand.spec(&phase, &["sh", "-c", script]);
    spec.restart = Restart::Never;
    let before = stand.start(&phase, &spec).reported;
    stand.wait_output(&phase, "begun");
    kill_shim(&stand, &phase);
    signal(before.main.unwrap(), Signal::USR1);
    wait(|| !is_alive(before.init.unwrap().pid), || "init stays".into());

    let adopted = stand.supervisor.adopt(&phase, || Ok(spec.clone())).unwrap();
    let reason = match adopted {
        Adoption::Exited(reason) => Some(reason),
        Adoption::Running(_) => stand.supervisor.wait_exit(&phase, PATIENCE),
        Adoption::Gone => None,
    };
    assert_eq!(reason, Some(ExitReason::Status(5)));
}

#[test]
fn an_app_that_crashed_without_a_shim_is_started_again_by_the_next_one() {
    let stand = Stand::new();
    let web = id("web-1");
    let (spec, probe) = stand.web(&web, &[]);
    stand.supervisor.start(&web, &spec).unwrap();
    wait_ready(&probe, &web, &stand.supervisor, &mut |_| {}).unwrap();
    kill_shim(&stand, &web);
    get(probe.address, "/crash");
    wait(|| get(probe.address, "/").is_none(), || "it did not crash".into());

    adopt(&stand, &web, &spec);

    wait(|| get(probe.address, "/").is_some(), || format!("{:?}", stand.supervisor.status(&web)));
    assert_eq!(stand.supervisor.status(&web).unwrap().last_exit(), Some(ExitReason::Status(7)));
}

#[test]
fn an_instance_without_a_shim_can_be_stopped() {
    let stand = Stand::new();
    let polite = id("polite");
    let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done";
    let spec = stand.spec(&polite, &["sh", "-c", script]);
    let state = stand.start(&polite, &spec);
    stand.wait_output(&polite, "ready");
    kill_shim(&stand, &polite);

    stand.supervisor.stop(&polite, None).unwrap();

    assert!(!is_alive(state.reported.init.unwrap().pid));
    assert!(stand.supervisor.status(&polite).unwrap().has_ended());
    stand.supervisor.remove(&polite).unwrap();
}

#[test]
fn a_stop_goes_on_when_the_shim_dies_in_the_middle_of_it() {
    let stand = Stand::new();
    let polite = id("polite");
    let script =
        "trap 'echo asked; sleep 3; echo bye; exit 4' TERM; echo ready; while :; do sleep 0.02; done";
    let spec = stand.spec(&polite, &["sh", "-c", script]);
    stand.start(&polite, &spec);
    stand.wait_output(&polite, "ready");

    let reason = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| stand.supervisor.stop(&polite, None));
        stand.wait_output(&polite, "asked");
        kill_shim(&stand, &polite);
        adopt(&stand, &polite, &spec);
        stopping.join().unwrap().unwrap()
    });

    assert_eq!(reason, ExitReason::Status(4));
    assert_eq!(stand.output(&polite), "ready\nasked\nbye\n", "asked once, and nothing lost");
}

#[test]
fn what_never_began_and_what_another_boot_began_is_gone() {
    let stand = Stand::new();
    let never = id("never");
    fs::DirBuilder::new().mode(0o700).create(stand.supervisor.folder(&never)).unwrap();
    assert_eq!(stand.supervisor.list().unwrap(), std::slice::from_ref(&never));
    assert_eq!(stand.supervisor.adopt(&never, no_spec).unwrap(), Adoption::Gone);
    stand.supervisor.remove(&never).unwrap();

    let web = id("web-1");
    let (spec, _) = stand.web(&web, &[]);
    let boot = stand.start(&web, &spec).reported.boot_id;
    kill_shim(&stand, &web);
    let path = stand.run_dir().join("i/web-1/state.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(&boot, "another boot")).unwrap();
    assert_eq!(stand.supervisor.adopt(&web, no_spec).unwrap(), Adoption::Gone);
    fs::write(&path, text).unwrap();
}

/// Whether a process of this number exists and is no zombie.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_kill_is_not_undone_by_an_adoption_at_the_same_time() {
    let stand = Stand::new();
    for round in 0..5 {
        let stubborn = id(&format!("stubborn-{round}"));
        let spec = stand.spec(&stubborn, &["sh", "-c", "echo begun; while :; do sleep 0.02; done"]);
        stand.start(&stubborn, &spec);
        stand.wait_output(&stubborn, "begun\n");
        let events = stand.supervisor.subscribe();
        kill_shim(&stand, &stubborn);

        let reason = std::thread::scope(|scope| {
            scope.spawn(|| stand.supervisor.adopt(&stubborn, || Ok(spec.clone())));
            stand.supervisor.kill(&stubborn).unwrap()
        });

        assert_eq!(reason, ExitReason::Signal(9), "{round}");
        assert!(stand.supervisor.status(&stubborn).unwrap().has_ended());
        stand.supervisor.remove(&stubborn).unwrap();
        assert_eq!(stand.output(&stubborn), "begun\n", "it was started again");
        let undone = events.try_iter().find(|event| event.state.shim_lost && event.state.has_ended());
        assert_eq!(undone, None, "an end asks for no adoption");
    }
}

#[test]
fn what_was_removed_is_gone_for_an_adoption_that_is_late() {
    let stand = Stand::new();
    let web = id("web-1");
    let spec = stand.spec(&web, &["sh", "-c", "echo begun; while :; do sleep 0.02; done"]);
    stand.start(&web, &spec);
    stand.wait_output(&web, "begun\n");
    kill_shim(&stand, &web);
    let removed = || {
        stand.supervisor.kill(&web)?;
        stand.supervisor.remove(&web)?;
        Ok(spec.clone())
    };
    // Its spec takes as long as a kill and a removal by somebody else.
    assert_eq!(stand.supervisor.adopt(&web, removed).unwrap(), Adoption::Gone);
    assert!(!stand.supervisor.folder(&web).exists());
    assert_eq!(stand.output(&web), "begun\n");
}
