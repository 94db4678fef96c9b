//! How an instance is asked to end, and made to.

use std::time::{Duration, Instant};

use dozen_sandbox::{client, protocol::Request, spec::Restart, state::ExitStatus};

use crate::host::{Host, Kept, PYTHON, users, wait_for};

fn until_said(host: &Host, kept: &Kept, word: &str) {
    kept.until_running();
    wait_for(word, || host.log_text().contains(word).then_some(()));
}

/// An app that is started again whenever it ends, but ends with 9 and a word when it is asked to.
fn polite(host: &Host) -> Kept {
    let program = "import os, signal, sys, time\ndef end(*_):\n os.write(1, b'bye\\n')\n sys.exit(9)\n\
         signal.signal(signal.SIGTERM, end)\nprint('ready', flush=True)\ntime.sleep(60)";
    let mut spec = host.python(program);
    spec.restart = Restart::Always;
    let kept = host.start(&spec);
    until_said(host, &kept, "ready");
    kept
}

#[test]
fn an_app_that_handles_term_ends_in_its_own_way() {
    for user in users() {
        let host = Host::new(user);
        let kept = polite(&host);
        client::request(&host.instance(), &Request::Stop { grace_millis: None }).unwrap();
        assert_eq!(kept.until_over().last_exit.unwrap().status, ExitStatus::Code(9));
        assert_eq!(host.log_text(), "ready\nbye\n");
    }
}

#[test]
fn an_app_that_ignores_term_is_killed_after_the_grace_period_with_all_its_children() {
    for user in users() {
        let host = Host::new(user);
        let program = "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.fork()\n\
             print('ready', flush=True)\nwhile True: time.sleep(60)";
        let kept = host.start(&host.python(program));
        until_said(&host, &kept, "ready\nready\n");
        let before = Instant::now();
        client::request(&host.instance(), &Request::Stop { grace_millis: Some(400) }).unwrap();
        let state = kept.until_over();
        assert!(before.elapsed() >= Duration::from_millis(400), "the grace period was cut short");
        assert_eq!(state.last_exit.unwrap().status, ExitStatus::Signal(9));
    }
}

#[test]
fn an_app_whose_shim_is_asked_to_end_ends_in_its_own_way_and_is_not_started_again() {
    for user in users() {
        let host = Host::new(user);
        let kept = polite(&host);
        let shim = kept.until_running().shim.pid;
        let pid = rustix::process::Pid::from_raw(i32::try_from(shim).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(kept.until_over().last_exit.unwrap().status, ExitStatus::Code(9));
        assert_eq!(host.log_text(), "ready\nbye\n");
    }
}

#[test]
fn kill_ends_everything_without_grace() {
    let host = Host::new(users()[0]);
    let kept =
        host.start(&host.python("import signal, time\nsignal.signal(15, signal.SIG_IGN)\ntime.sleep(60)"));
    kept.until_running();
    client::request(&host.instance(), &Request::Kill {}).unwrap();
    assert_eq!(kept.until_over().last_exit.unwrap().status, ExitStatus::Signal(9));
}

#[test]
fn a_shell_line_is_signalled_as_a_whole_and_its_program_may_finish() {
    for user in users() {
        let host = Host::new(user);
        host.write(
            "release/slow.py",
            "import os, signal, sys, time\ndef end(*_):\n time.sleep(0.3)\n os.write(1, b'finished\\n')\n sys.exit(0)\n\
             signal.signal(signal.SIGTERM, end)\nprint('ready', flush=True)\ntime.sleep(60)",
        );
        let line = format!("{PYTHON} -I -S /app/slow.py; true");
        let mut spec = host.spec(&["/bin/sh", "-c", &line]);
        spec.stop.all = true;
        let kept = host.start(&spec);
        until_said(&host, &kept, "ready");
        client::request(&host.instance(), &Request::Stop { grace_millis: None }).unwrap();
        kept.until_over();
        assert_eq!(host.log_text(), "ready\nfinished\n", "{user:?}");
    }
}

#[test]
fn a_signal_to_the_main_process_reaches_no_other() {
    let host = Host::new(users()[0]);
    let program = "import os, signal, time\nname = b'main'\ndef told(*_): os.write(1, name)\n\
         signal.signal(signal.SIGUSR1, told)\n\
         if os.fork() == 0: name = b'child'\nelse: print('ready', flush=True)\n\
         while True: time.sleep(60)";
    let kept = host.start(&host.python(program));
    until_said(&host, &kept, "ready");
    client::request(&host.instance(), &Request::Signal { number: 10, all: false }).unwrap();
    wait_for("the main process's word", || host.log_text().contains("main").then_some(()));
    assert!(!host.log_text().contains("child"));
    client::request(&host.instance(), &Request::Signal { number: 10, all: true }).unwrap();
    wait_for("the child's word", || host.log_text().contains("child").then_some(()));
}

#[test]
fn a_stop_that_was_begun_is_finished_by_the_shim_that_adopts() {
    let host = Host::new(users()[0]);
    let program = "import os, signal, time\nn = 0\ndef told(*_):\n global n; n += 1; os.write(1, b'told %d\\n' % n)\n\
         signal.signal(15, told)\nprint('ready', flush=True)\nwhile True: time.sleep(60)";
    let mut spec = host.python(program);
    spec.restart = Restart::Always;
    let kept = host.start(&spec);
    until_said(&host, &kept, "ready");
    client::request(&host.instance(), &Request::Stop { grace_millis: Some(1500) }).unwrap();
    wait_for("the signal", || host.log_text().contains("told 1").then_some(()));
    kept.kill_shim();
    let state = host.adopt(&spec).until_over();
    assert_eq!((state.last_exit.unwrap().status, state.incarnation), (ExitStatus::Signal(9), 1));
    assert!(!host.log_text().contains("told 2"), "the signal was sent twice");
}

#[test]
fn a_signal_to_all_changes_nothing_of_how_it_ends() {
    let host = Host::new(users()[0]);
    let program = "import os, signal, sys, time\n\
         if os.fork() == 0:\n signal.signal(10, lambda *_: os.write(1, b'child\\n'))\n os.write(1, b'ready\\n')\n\
         else:\n signal.signal(10, lambda *_: sys.exit(3))\n os.write(1, b'ready\\n')\n\
         while True: time.sleep(60)";
    let kept = host.start(&host.python(program));
    until_said(&host, &kept, "ready\nready\n");
    client::request(&host.instance(), &Request::Signal { number: 10, all: true }).unwrap();
    assert_eq!(kept.until_over().last_exit.unwrap().status, ExitStatus::Code(3));
}
