//! What follows the end of an app.

use std::time::Duration;

use dozen_sandbox::{
    client,
    protocol::Request,
    spec::Restart,
    state::{ExitStatus, Phase},
};

use crate::{
    host::{Host, User, users, wait_for},
    small_disk::SmallDisk,
};

#[test]
fn a_crashed_app_is_started_again_at_once_and_then_after_a_growing_pause() {
    for user in users() {
        let host = Host::new(user);
        let mut spec = host.python("import time; print(time.time(), flush=True); raise SystemExit(3)");
        spec.restart = Restart::Always;
        let kept = host.start(&spec);
        let state = kept.until("a pause of two seconds", |state| {
            state.incarnation == 3 && matches!(state.phase, Phase::Backoff { .. })
        });
        assert_eq!(state.last_exit.unwrap().status, ExitStatus::Code(3));
        assert_eq!((state.restarts, state.failures), (2, 3));
        let times: Vec<f64> = host.log_text().lines().map(|line| line.parse().unwrap()).collect();
        assert!(times[1] - times[0] < 0.9, "{times:?}");
        assert!(times[2] - times[1] > 0.9, "{times:?}");
        let Phase::Backoff { until } = state.phase else { unreachable!() };
        let pause = Duration::from_nanos(until - state.last_exit.unwrap().at);
        assert!((Duration::from_secs(2)..Duration::from_secs(3)).contains(&pause), "{pause:?}");

        let stopped = client::request(&host.instance(), &Request::Stop { grace_millis: None }).unwrap();
        assert_eq!(stopped.phase, Phase::Exited);
        assert_eq!(kept.until_over().incarnation, 3);
    }
}

#[test]
fn a_launch_that_fails_is_tried_again_with_a_pause() {
    let host = Host::new(users()[0]);
    let mut spec = host.spec(&["no-such-program"]);
    spec.restart = Restart::Always;
    let kept = host.start(&spec);
    let is_paused = |incarnation| {
        move |state: &dozen_sandbox::state::InstanceState| {
            state.incarnation == incarnation && matches!(state.phase, Phase::Backoff { .. })
        }
    };
    let state = kept.until("a second attempt", is_paused(2));
    assert!(state.launch_error.unwrap().contains("`no-such-program`"));
}

#[test]
fn a_shim_whose_directory_is_gone_starts_nothing_more_and_ends() {
    let ended = Host::new(users()[0]);
    let mut spec = ended.python("raise SystemExit(3)");
    spec.restart = Restart::Always;
    let kept = ended.start(&spec);
    kept.until("a pause", |state| state.incarnation == 2 && matches!(state.phase, Phase::Backoff { .. }));
    std::fs::remove_dir_all(ended.instance()).unwrap();
    kept.until_dead();

    let running = Host::new(users()[0]);
    let mut spec = running.python("import time; time.sleep(60)");
    spec.restart = Restart::Always;
    let kept = running.start(&spec);
    let main = kept.until_running().main.unwrap();
    std::fs::rename(running.instance(), running.path("elsewhere")).unwrap();
    assert!(main.exists(), "the app has no part in it");
    let pid = rustix::process::Pid::from_raw(main.pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    kept.until_dead();
}

#[test]
fn each_incarnation_has_fresh_walls() {
    let host = Host::new(users()[0]);
    let program = "import os\nprint(os.listdir('/tmp'))\nopen('/tmp/left', 'w')\nraise SystemExit(1)";
    let mut spec = host.python(program);
    spec.restart = Restart::Always;
    let kept = host.start(&spec);
    kept.until("a second life", |state| {
        state.incarnation == 2 && matches!(state.phase, Phase::Backoff { .. })
    });
    assert_eq!(host.log_text(), "[]\n[]\n");
}

#[test]
fn what_an_app_leaves_running_ends_with_it() {
    for user in users() {
        let host = Host::new(user);
        let program = "import os, time\nfor _ in range(5):\n if os.fork() == 0:\n  os.setsid()\n  time.sleep(600)\n\
             print('left', flush=True)\nos._exit(5)";
        let (state, output) = host.run(&host.python(program));
        assert_eq!((state.last_exit.unwrap().status, output.as_str()), (ExitStatus::Code(5), "left\n"));
    }
}

#[test]
fn orphans_inside_are_reaped() {
    let host = Host::new(users()[0]);
    let program = "import os, time\nfor _ in range(20):\n if os.fork() == 0:\n  if os.fork() == 0: os._exit(0)\n  os._exit(0)\n\
         for _ in range(20): os.wait()\n\
         deadline = time.time() + 30\n\
         while len([p for p in os.listdir('/proc') if p.isdigit()]) > 2 and time.time() < deadline: time.sleep(0.01)\n\
         print(sorted(p for p in os.listdir('/proc') if p.isdigit()))";
    assert_eq!(host.output_of(&host.python(program)), "['1', '2']\n");
}

#[test]
fn nothing_is_started_that_a_full_disk_cannot_remember() {
    if !SmallDisk::can_be_made() {
        return;
    }
    let host = Host::new(User::Root);
    let disk = SmallDisk::under(&host, "instance", "256k");
    let program = "import os, signal, sys, time\nsignal.signal(10, lambda *_: sys.exit(3))\n\
         os.write(1, b'up\\n')\ntime.sleep(60)";
    let mut spec = host.python(program);
    spec.restart = Restart::Always;
    let kept = host.start(&spec);
    kept.until_running();
    wait_for("the app", || host.log_text().contains("up").then_some(()));
    // Room for the next exit record, but for no next state.
    disk.fill_but(1);

    client::request(&host.instance(), &Request::Signal { number: 10, all: false }).unwrap();
    let state = wait_for("a launch that fails", || {
        let state = client::request(&host.instance(), &Request::Status {}).unwrap();
        assert!(state.incarnation == 1 || state.init.is_none(), "started unseen: {state:?}");
        state.launch_error.is_some().then_some(state)
    });
    assert!(state.launch_error.unwrap().contains("could not write the state"));
    assert_eq!(host.log_text(), "up\n");

    kept.kill_shim();
    disk.make_room();
    let kept = host.adopt(&spec);
    let state = kept.until("the next life", |state| state.incarnation == 2 && state.phase == Phase::Running);
    assert_eq!(state.last_exit.unwrap().status, ExitStatus::Code(3));
    // Before the disk goes, and with it the way to the shim: it would be started again for ever.
    client::request(&host.instance(), &Request::Kill {}).unwrap();
    kept.until_over();
}

#[test]
fn a_full_disk_is_tried_once_a_second_and_told_once() {
    if !SmallDisk::can_be_made() {
        return;
    }
    let host = Host::new(User::Root);
    let disk = SmallDisk::under(&host, "instance", "256k");
    let program = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\n\
         while True: print('busy', flush=True); time.sleep(0.001)";
    let kept = host.start(&host.python(program));
    kept.until_running();
    wait_for("the app", || host.log_text().contains("busy").then_some(()));
    disk.fill();
    let (stream, _) = client::converse(&host.instance(), &Request::Subscribe {}).unwrap();
    client::request(&host.instance(), &Request::Stop { grace_millis: Some(1500) }).unwrap();
    kept.until_dead();
    let mut told = String::new();
    std::io::Read::read_to_string(&mut &stream, &mut told).unwrap();
    assert!(told.lines().count() <= 10, "{} states were told", told.lines().count());
    assert!(told.contains("exited"), "{told}");
}
