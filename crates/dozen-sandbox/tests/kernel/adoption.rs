//! kill -9 of the shim: no line lost, none twice, the exit status known.

use std::{
    io::{Read as _, Write as _},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use dozen_sandbox::{
    client::{self, LaunchMode, Observation},
    listeners::listeners_inside,
    protocol::Request,
    spec::Restart,
    state::{ExitStatus, Phase},
};

use crate::host::{Host, User, users, wait_for};

const LINES: usize = 100_000;

fn numbered(pause_every_1000: f64) -> String {
    format!(
        "import sys, time\nfor i in range({LINES}):\n sys.stdout.write('%07d %s\\n' % (i, 'x' * 60))\n \
         if i % 100 == 99: sys.stdout.flush()\n if i % 1000 == 999: time.sleep({pause_every_1000})\n\
         sys.stdout.flush()\nsys.exit(42)"
    )
}

fn assert_each_line_once(host: &Host) {
    let log = host.log_text();
    let mut numbers = log.lines().map(|line| {
        assert_eq!(line.len(), 68, "a torn line: {line:?}");
        line[..7].parse::<usize>().unwrap()
    });
    assert!((0..LINES).all(|number| numbers.next() == Some(number)), "a line is missing or doubled");
    assert_eq!(numbers.next(), None);
}

#[test]
fn a_shim_killed_again_and_again_loses_no_line_and_doubles_none() {
    for user in users() {
        let host = Host::new(user);
        let spec = host.python(&numbered(0.02));
        let mut kept = host.start(&spec);
        // Before this, a killed shim may not have forked init yet, and nobody can know: see below.
        kept.until_running();
        let mut kills = 0;
        let before = Instant::now();
        while !host.state().has_ended() && before.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_micros(1000 + kills * 1777 % 20_000));
            kept.kill_shim();
            kills += 1;
            kept = host.adopt(&spec);
        }
        let state = kept.until_over();
        // A slow machine makes fewer: an app of two seconds is kept from its end only while it is adopted.
        assert!(kills >= 8, "{kills} kills");
        assert_eq!(state.last_exit.unwrap().status, ExitStatus::Code(42));
        assert_eq!((state.incarnation, state.restarts), (1, 0));
        assert_each_line_once(&host);
    }
}

#[test]
fn what_an_app_wrote_and_how_it_ended_is_known_after_everybody_was_dead() {
    for user in users() {
        let host = Host::new(user);
        let spec =
            host.python("import sys, time\ntime.sleep(1)\nprint('x\\n' * 20000, end='')\nsys.exit(42)");
        let kept = host.start(&spec);
        let state = kept.until_running();
        kept.kill_shim();
        let init = state.init.unwrap();
        wait_for("the end of the app", || (!state.main.unwrap().exists()).then_some(()));
        assert!(init.exists(), "init waits with the output");
        let Observation::Orphaned(_) = client::observe(&host.instance()).unwrap() else {
            panic!("not orphaned")
        };
        let state = host.adopt(&spec).until_over();
        assert_eq!(state.last_exit.unwrap().status, ExitStatus::Code(42));
        assert_eq!(host.log(), "x\n".repeat(20_000).into_bytes());
        wait_for("the end of init", || (!init.exists()).then_some(()));
    }
}

#[test]
fn the_end_of_an_app_without_output_is_known_after_everybody_was_dead() {
    let host = Host::new(users()[0]);
    let spec = host.python("import sys, time\ntime.sleep(1)\nsys.exit(7)");
    let kept = host.start(&spec);
    let state = kept.until_running();
    kept.kill_shim();
    wait_for("the end of init", || (!state.init.unwrap().exists()).then_some(()));
    let Observation::Ended(_) = client::observe(&host.instance()).unwrap() else { panic!("not ended") };
    let state = host.adopt(&spec).until_over();
    assert_eq!(state.last_exit.unwrap().status, ExitStatus::Code(7));
    let Observation::Over(_) = client::observe(&host.instance()).unwrap() else { panic!("not over") };
}

#[test]
fn a_phase_whose_init_was_killed_is_not_run_again() {
    let host = Host::new(users()[0]);
    let spec = host.python("import time; time.sleep(60)");
    let kept = host.start(&spec);
    let state = kept.until_running();
    kept.kill_shim();
    let init = rustix::process::Pid::from_raw(state.init.unwrap().pid.cast_signed()).unwrap();
    rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
    wait_for("the end of init", || (!state.init.unwrap().exists()).then_some(()));
    let state = host.adopt(&spec).until_over();
    assert_eq!((state.last_exit.unwrap().status, state.incarnation), (ExitStatus::Unknown, 1));
}

/// Connects to init until it has no room for more; the connections.
fn crowd_init(host: &Host) -> Vec<std::os::fd::OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
    let address = SocketAddrUnix::new(host.instance().join("init.sock")).unwrap();
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let mut connections = Vec::new();
    loop {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        match connect(&socket, &address) {
            Ok(()) => connections.push(socket),
            Err(rustix::io::Errno::AGAIN) => return connections,
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn an_init_that_accepts_nobody_is_not_taken_for_dead() {
    for user in users() {
        let host = Host::new(user);
        let mut spec = host.python("print('up', flush=True)\nimport time; time.sleep(60)");
        spec.restart = Restart::Always;
        let kept = host.start(&spec);
        let before = kept.until_running();
        wait_for("the line", || host.log_text().contains("up\n").then_some(()));
        let init = rustix::process::Pid::from_raw(before.init.unwrap().pid.cast_signed()).unwrap();
        rustix::process::kill_process(init, rustix::process::Signal::STOP).unwrap();
        kept.kill_shim();
        let crowd = crowd_init(&host);

        let Observation::Orphaned(_) = client::observe(&host.instance()).unwrap() else {
            panic!("taken for dead")
        };
        let refused = client::spawn_shim(&host.binary, &host.instance(), &spec, LaunchMode::Adopt);
        assert!(refused.unwrap_err().to_string().contains("could not reach init"));
        rustix::process::kill_process(init, rustix::process::Signal::CONT).unwrap();
        drop(crowd);
        let kept = host.adopt(&spec);

        let after = kept.until_running();
        assert_eq!((after.incarnation, after.init, after.main), (1, before.init, before.main));
        assert_eq!(host.log_text(), "up\n");
    }
}

#[test]
fn an_init_that_is_about_to_die_is_waited_for() {
    let host = Host::new(users()[0]);
    let mut spec = host.python("print('up', flush=True)\nimport time; time.sleep(60)");
    spec.restart = Restart::Always;
    let kept = host.start(&spec);
    let before = kept.until_running();
    kept.kill_shim();
    // What an adopting shim finds between the end of init's socket and that of its processes.
    std::fs::remove_file(host.instance().join("init.sock")).unwrap();

    let kept = host.adopt(&spec);
    let state = kept.until("another shim", |state| state.shim != before.shim);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!((state.incarnation, kept.state().incarnation), (1, 1), "started beside a living one");
    let init = rustix::process::Pid::from_raw(before.init.unwrap().pid.cast_signed()).unwrap();
    rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
    kept.until("the next life", |state| state.incarnation == 2 && state.phase == Phase::Running);
    assert!(!before.main.unwrap().exists());
}

#[test]
fn a_shim_killed_while_it_starts_leaves_an_instance_that_can_be_adopted() {
    for user in users() {
        for round in 0..20 {
            let host = Host::new(user);
            let mut spec = host.python("print('up', flush=True)\nimport time; time.sleep(60)");
            spec.restart = Restart::Always;
            let kept = host.start(&spec);
            std::thread::sleep(Duration::from_micros(round * 400));
            kept.kill_shim();
            let kept = host.adopt(&spec);
            let state = kept.until_running();
            assert!(state.main.unwrap().exists());
            wait_for("the line", || host.log_text().contains("up\n").then_some(()));
        }
    }
}

#[test]
fn an_adopting_shim_goes_on_with_restarts_and_stops() {
    let host = Host::new(users()[0]);
    let mut spec = host.python("import time; time.sleep(60)");
    spec.restart = Restart::Always;
    let kept = host.start(&spec);
    kept.until_running();
    kept.kill_shim();
    let kept = host.adopt(&spec);
    let first = kept.until_running();
    client::request(&host.instance(), &Request::Signal { number: 9, all: false }).unwrap();
    let second =
        kept.until("a new incarnation", |state| state.incarnation == 2 && state.phase == Phase::Running);
    assert_ne!(first.main, second.main);
    assert_eq!(second.last_exit.unwrap().status, ExitStatus::Signal(9));
    client::request(&host.instance(), &Request::Stop { grace_millis: None }).unwrap();
    assert_eq!(kept.until_over().last_exit.unwrap().status, ExitStatus::Signal(15));
}

#[test]
fn a_client_hears_the_end_of_a_killed_shim_although_init_is_a_copy_of_it() {
    let host = Host::new(users()[0]);
    let mut spec = host.python("import time; time.sleep(60)");
    spec.restart = Restart::Always;
    let kept = host.start(&spec);
    kept.until_running();
    let mut stream = client::connect(&host.instance()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"{\"do\":\"subscribe\"}\n").unwrap();
    client::request(&host.instance(), &Request::Signal { number: 9, all: false }).unwrap();
    kept.until("a second init", |state| state.incarnation == 2 && state.phase == Phase::Running);
    kept.kill_shim();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    assert!(!heard.is_empty());
}

#[test]
fn a_second_shim_is_refused_while_the_first_lives() {
    let host = Host::new(users()[0]);
    let spec = host.python("import time; time.sleep(60)");
    let kept = host.start(&spec);
    kept.until_running();
    for mode in [LaunchMode::Start, LaunchMode::Adopt] {
        let refused = client::spawn_shim(&host.binary, &host.instance(), &spec, mode).unwrap_err();
        assert!(refused.to_string().contains("another shim keeps this instance"), "{refused}");
    }
    let Observation::Kept(state) = client::observe(&host.instance()).unwrap() else { panic!("not kept") };
    assert_eq!(state.shim.pid, kept.shim.pid());
}

#[test]
fn an_orphan_that_nobody_wants_can_be_ended() {
    let host = Host::new(users()[0]);
    let kept = host.start(&host.python("print('x' * 1000, flush=True)\nimport time; time.sleep(60)"));
    let state = kept.until_running();
    wait_for("its line", || (!host.log_text().is_empty()).then_some(()));
    kept.kill_shim();
    let end = host.end(Some(Duration::ZERO)).until_over();
    wait_for("the end of init", || (!state.init.unwrap().exists()).then_some(()));
    assert!(!state.main.unwrap().exists());
    assert_eq!(end.last_exit.unwrap().status, ExitStatus::Signal(9));
    assert_eq!(host.log_text(), "x".repeat(1000) + "\n", "its output is not lost");
}

#[test]
fn an_orphan_is_asked_to_end_before_it_is_killed_and_never_started_again() {
    for user in users() {
        let host = Host::new(user);
        let program = "import signal, sys, time\nsignal.signal(10, lambda *_: sys.exit(print('bye') or 6))\n\
             print('ready', flush=True)\ntime.sleep(60)";
        let mut spec = host.python(program);
        (spec.restart, spec.stop.signal) = (Restart::Always, 10);
        let kept = host.start(&spec);
        kept.until_running();
        wait_for("ready", || host.log_text().contains("ready").then_some(()));
        kept.kill_shim();
        let end = host.end(None).until_over();
        assert_eq!((end.last_exit.unwrap().status, end.incarnation), (ExitStatus::Code(6), 1));
        assert_eq!(host.log_text(), "ready\nbye\n");
        // Whoever adopts it now, finds an instance that is over.
        assert_eq!(host.adopt(&spec).until_over().incarnation, 1);
    }
}

#[test]
fn a_frozen_orphan_can_be_killed() {
    let host = Host::new(users()[0]);
    let kept = host.start(&host.python("import time; time.sleep(60)"));
    let init = kept.until_running().init.unwrap();
    let pid = rustix::process::Pid::from_raw(init.pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    kept.kill_shim();
    let _crowd = crowd_init(&host);
    host.end(Some(Duration::ZERO)).until_over();
    wait_for("the end of init", || (!init.exists()).then_some(()));
}

#[test]
fn what_is_not_there_is_not_adopted() {
    let host = Host::new(users()[0]);
    let spec = host.python("print('started')");
    let adopt = || client::spawn_shim(&host.binary, &host.instance(), &spec, LaunchMode::Adopt).unwrap_err();
    assert!(adopt().to_string().contains("no instance to go on with"), "{}", adopt());
    std::fs::remove_dir_all(host.instance()).unwrap();
    adopt();
    assert!(!host.instance().exists(), "the directory was made");
    assert!(host.segments().is_empty());
}

#[test]
fn an_instance_that_was_retired_is_not_adopted_and_a_living_one_is_not_retired() {
    let host = Host::new(users()[0]);
    let mut spec = host.python("import time; time.sleep(60)");
    spec.restart = Restart::Always;
    let kept = host.start(&spec);
    let state = kept.until_running();
    assert!(!client::retire(&host.instance()).unwrap(), "its shim lives");
    kept.kill_shim();
    assert!(!client::retire(&host.instance()).unwrap(), "its app lives");
    let init = rustix::process::Pid::from_raw(state.init.unwrap().pid.cast_signed()).unwrap();
    rustix::process::kill_process(init, rustix::process::Signal::KILL).unwrap();
    wait_for("the end of init", || {
        matches!(client::observe(&host.instance()).unwrap(), Observation::Ended(_)).then_some(())
    });
    assert!(client::retire(&host.instance()).unwrap());
    let refused = client::spawn_shim(&host.binary, &host.instance(), &spec, LaunchMode::Adopt).unwrap_err();
    assert!(refused.to_string().contains("no instance to go on with"), "{refused}");
}

#[test]
fn an_instance_with_a_lifeline_ends_with_whoever_holds_it_even_without_a_shim() {
    for with_shim in [true, false] {
        let host = Host::new(users()[0]);
        let mut spec = host.python("import time; time.sleep(60)");
        spec.lifeline = true;
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let (binary, dir) = (&host.binary, &host.instance());
        let shim = client::spawn_tied_shim(binary, dir, &spec, LaunchMode::Start, read.as_fd()).unwrap();
        let state = wait_for("running", || Some(host.state()).filter(|state| state.phase == Phase::Running));
        if !with_shim {
            rustix::process::pidfd_send_signal(&shim, rustix::process::Signal::KILL).unwrap();
        }
        assert!(state.main.unwrap().exists());
        drop(write);
        wait_for("the end of init", || (!state.init.unwrap().exists()).then_some(()));
        wait_for("the end of the shim", || shim.reap().then_some(()));
    }
}

#[test]
fn the_ports_that_an_instance_listens_on_are_found() {
    for user in users() {
        let host = Host::new(user);
        let program = "import socket, time\ns = socket.create_server(('127.0.0.1', 0))\nprint(s.getsockname()[1], flush=True)\ntime.sleep(60)";
        let kept = host.start(&host.python(program));
        let init = kept.until_running().init.unwrap().pid;
        let port: u16 = wait_for("the port", || host.log_text().trim().parse().ok());
        let found = listeners_inside(init);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [([127, 0, 0, 1], port).into()]);
    }
}

#[test]
#[expect(clippy::disallowed_macros, reason = "says what is left out")]
fn a_shim_of_root_keeps_nothing_in_another_users_directory() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP: an ordinary user can enter no private directory of another");
        return;
    }
    let host = Host::new(User::Root);
    std::os::unix::fs::chown(host.instance(), Some(host.app_user.uid), None).unwrap();
    let before = std::fs::read_dir(host.instance()).unwrap().count();

    for mode in [LaunchMode::Start, LaunchMode::Adopt] {
        let refused = client::spawn_shim(&host.binary, &host.instance(), &host.python("pass"), mode);
        let reason = refused.err().map(|refused| refused.to_string()).unwrap_or_default();
        assert!(reason.contains("its owner is another user"), "{mode:?}: {reason}");
    }
    let ended = client::spawn_ending_shim(&host.binary, &host.instance(), None);
    assert!(ended.is_err_and(|refused| refused.to_string().contains("its owner is another user")));
    assert_eq!(std::fs::read_dir(host.instance()).unwrap().count(), before, "something was made");
}
