//! One-off processes that somebody is attached to.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use dozen_sandbox::{
    client,
    protocol::{Frame, Reply, Request},
    spec::{Attach, LaunchSpec, TerminalSize},
    state::ExitStatus,
};

use crate::host::{Host, users, wait_for};

/// The other end of an attached connection.
struct Conversation {
    stream: UnixStream,
    received: Vec<u8>,
    output: String,
    error: String,
    exit: Option<(ExitStatus, Option<String>)>,
}

impl Conversation {
    fn begin(host: &Host) -> Self {
        Self::begin_with(host, None)
    }

    fn begin_with(host: &Host, terminal: Option<TerminalSize>) -> Self {
        let stream = client::connect(&host.instance()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut line = serde_json::to_vec(&Request::Attach { terminal }).unwrap();
        line.push(b'\n');
        (&stream).write_all(&line).unwrap();
        let (output, error) = (String::new(), String::new());
        let mut it = Self { stream, received: Vec::new(), output, error, exit: None };
        let answer = loop {
            if let Some(end) = it.received.iter().position(|&byte| byte == b'\n') {
                break it.received.drain(..=end).collect::<Vec<u8>>();
            }
            it.read();
        };
        assert!(matches!(serde_json::from_slice(&answer).unwrap(), Reply::State(_)), "{answer:?}");
        it
    }

    fn read(&mut self) {
        let mut buffer = [0; 4096];
        let length = self.stream.read(&mut buffer).unwrap();
        assert!(length > 0, "the shim hung up; so far {:?} {:?}", self.output, self.error);
        self.received.extend(&buffer[..length]);
    }

    fn say(&self, frame: &Frame) {
        let mut bytes = Vec::new();
        frame.encode_into(&mut bytes);
        (&self.stream).write_all(&bytes).unwrap();
    }

    fn hear(&mut self) {
        match Frame::decode(&self.received).unwrap() {
            None => self.read(),
            Some((frame, length)) => {
                self.received.drain(..length);
                match frame {
                    Frame::Output(data) => self.output.push_str(&String::from_utf8(data).unwrap()),
                    Frame::ErrorOutput(data) => self.error.push_str(&String::from_utf8(data).unwrap()),
                    Frame::Exit(status, reason) => self.exit = Some((status, reason)),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn until_said(&mut self, word: &str) {
        while !self.output.contains(word) {
            self.hear();
        }
    }

    fn until_exit(&mut self) -> (ExitStatus, Option<String>) {
        while self.exit.is_none() {
            self.hear();
        }
        self.exit.take().unwrap()
    }
}

fn attached(mut spec: LaunchSpec) -> LaunchSpec {
    spec.attach = Some(Attach { terminal: None });
    spec
}

fn with_terminal(mut spec: LaunchSpec) -> LaunchSpec {
    spec.attach = Some(Attach { terminal: Some(TerminalSize { rows: 24, columns: 80 }) });
    spec
}

#[test]
fn output_error_output_and_status_arrive_separately_and_in_the_log() {
    for user in users() {
        let host = Host::new(user);
        let program = "import sys\nprint('to out')\nprint('to err', file=sys.stderr)\nsys.exit(42)";
        let kept = host.start(&attached(host.python(program)));
        let mut it = Conversation::begin(&host);
        assert_eq!(it.until_exit(), (ExitStatus::Code(42), None));
        assert_eq!((it.output.as_str(), it.error.as_str()), ("to out\n", "to err\n"));
        kept.until_over();
        let log = host.log_text();
        assert!(log.contains("to out\n") && log.contains("to err\n"), "{log}");
    }
}

#[test]
fn input_reaches_the_process_and_ends() {
    for user in users() {
        let host = Host::new(user);
        let kept = host.start(&attached(host.python("import sys\nprint(len(sys.stdin.buffer.read()))")));
        let mut it = Conversation::begin(&host);
        for _ in 0..32 {
            it.say(&Frame::Input(vec![b'x'; 64 << 10]));
        }
        it.say(&Frame::EndOfInput);
        assert_eq!(it.until_exit().0, ExitStatus::Code(0));
        assert_eq!(it.output, format!("{}\n", 2 << 20));
        kept.until_over();
    }
}

#[test]
fn a_large_output_arrives_whole_whatever_the_readers_speed() {
    let host = Host::new(users()[0]);
    let program = "for i in range(200000): print('%09d' % i)";
    let kept = host.start(&attached(host.python(program)));
    let mut it = Conversation::begin(&host);
    std::thread::sleep(Duration::from_millis(300));
    it.until_exit();
    let expected: String = (0..200_000).map(|number| format!("{number:09}\n")).collect();
    assert!(it.output == expected, "{} of {} bytes", it.output.len(), expected.len());
    kept.until_over();
    assert!(host.log_text() == expected);
}

#[test]
fn what_was_said_before_somebody_attached_is_delivered() {
    let host = Host::new(users()[0]);
    let kept = host.start(&attached(host.python("print('early')")));
    wait_for("the end of the process", || {
        let state = kept.state();
        state.main.is_some_and(|main| !main.exists()).then_some(())
    });
    let mut it = Conversation::begin(&host);
    assert_eq!((it.until_exit().0, it.output.as_str()), (ExitStatus::Code(0), "early\n"));
    kept.until_over();
}

#[test]
fn a_launch_error_arrives_with_the_exit() {
    let host = Host::new(users()[0]);
    let kept = host.start(&attached(host.spec(&["no-such-program"])));
    let (status, reason) = Conversation::begin(&host).until_exit();
    assert_eq!(status, ExitStatus::LaunchFailed);
    assert!(reason.unwrap().contains("could not find the program `no-such-program`"));
    kept.until_over();
}

#[test]
fn a_terminal_is_one_with_a_size_that_can_change() {
    for user in users() {
        let host = Host::new(user);
        let program = "import os, signal\n\
             told = []\nsignal.signal(signal.SIGWINCH, lambda *_: told.append(1))\n\
             print([os.isatty(n) for n in range(3)], os.ttyname(0), os.tcgetpgrp(0) == os.getpid(), flush=True)\n\
             print(*os.get_terminal_size(), flush=True)\n\
             print('got', input(), *os.get_terminal_size(), told, flush=True)";
        let kept = host.start(&with_terminal(host.python(program)));
        let mut it = Conversation::begin(&host);
        it.until_said("[True, True, True] /dev/pts/0 True\r\n80 24\r\n");
        it.say(&Frame::Resize(TerminalSize { rows: 50, columns: 132 }));
        it.say(&Frame::Input(b"word\n".to_vec()));
        it.until_said("got word 132 50 [1]");
        assert_eq!(it.until_exit().0, ExitStatus::Code(0), "{user:?}");
        kept.until_over();
        assert!(host.log_text().contains("got word"));
    }
}

#[test]
fn a_process_that_lets_go_of_its_terminal_before_it_ends_is_over_with_its_end() {
    for user in users() {
        let host = Host::new(user);
        // The shim hears of the hangup, says once that it has read all, and reads no more: what comes
        // after that must not keep init waiting for a reader.
        let program = "import os, time\nname = os.ttyname(0)\nprint('closing', flush=True)\n\
             for n in range(3): os.close(n)\n\
             time.sleep(1)\nos.write(os.open(name, os.O_WRONLY | os.O_NOCTTY), b'late')\nos._exit(7)";
        let kept = host.start(&with_terminal(host.python(program)));
        let mut it = Conversation::begin(&host);
        assert_eq!(it.until_exit().0, ExitStatus::Code(7), "{user:?}");
        assert_eq!(it.output, "closing\r\n");
        kept.until_over();
    }
}

#[test]
fn the_interrupt_key_interrupts_on_a_terminal() {
    let host = Host::new(users()[0]);
    let kept =
        host.start(&with_terminal(host.python("print('ready', flush=True)\nimport time; time.sleep(60)")));
    let mut it = Conversation::begin(&host);
    it.until_said("ready");
    it.say(&Frame::Input(vec![3]));
    assert_eq!(it.until_exit().0, ExitStatus::Signal(2));
    kept.until_over();
}

#[test]
fn whoever_hangs_up_ends_the_process() {
    for user in users() {
        for terminal in [false, true] {
            let host = Host::new(user);
            let spec = host.python("print('ready', flush=True)\nimport time; time.sleep(60)");
            let kept = host.start(&if terminal { with_terminal(spec) } else { attached(spec) });
            let mut it = Conversation::begin(&host);
            it.until_said("ready");
            drop(it);
            assert_eq!(
                kept.until_over().last_exit.unwrap().status,
                ExitStatus::Signal(1),
                "{user:?} {terminal}"
            );
        }
    }
}

#[test]
fn whoever_hangs_up_on_a_process_that_reads_nothing_ends_it() {
    let host = Host::new(users()[0]);
    let kept = host.start(&attached(host.python("print('ready', flush=True)\nimport time; time.sleep(60)")));
    let mut it = Conversation::begin(&host);
    it.until_said("ready");
    let mut input = Vec::new();
    Frame::Input(vec![b'x'; 64 << 10]).encode_into(&mut input);
    it.stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    while (&it.stream).write_all(&input).is_ok() {}
    drop(it);
    assert_eq!(kept.until_over().last_exit.unwrap().status, ExitStatus::Signal(1));
}

#[test]
fn whoever_reads_nothing_does_not_hold_up_a_kill() {
    let host = Host::new(users()[0]);
    let kept = host.start(&attached(host.python("while True: print('x' * 1000)")));
    let it = Conversation::begin(&host);
    kept.until_running();
    // Until everything in between is full, nothing stands still.
    let mut before = 0;
    wait_for("a log that stands still", || {
        std::thread::sleep(Duration::from_millis(100));
        let length = host.log().len();
        (std::mem::replace(&mut before, length) == length && length > 0).then_some(())
    });
    let asked = std::time::Instant::now();
    client::request(&host.instance(), &Request::Kill {}).unwrap();
    assert_eq!(kept.until_over().last_exit.unwrap().status, ExitStatus::Signal(9));
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    drop(it);
}

#[test]
fn an_attached_process_whose_shim_died_is_hung_up_by_the_next_one() {
    let host = Host::new(users()[0]);
    let spec = host.python("print('ready', flush=True)\nimport time; time.sleep(60)");
    let kept = host.start(&attached(spec.clone()));
    let mut it = Conversation::begin(&host);
    it.until_said("ready");
    kept.kill_shim();
    // Whoever asks for the adoption does not know of the terminal.
    let state = host.adopt(&spec).until_over();
    assert_eq!(state.last_exit.unwrap().status, ExitStatus::Signal(1));
}

#[test]
fn the_size_that_is_given_with_the_attachment_is_the_terminals() {
    for _ in 0..5 {
        let host = Host::new(users()[0]);
        let program = "import os, time\nend = time.time() + 20\n\
             while tuple(os.get_terminal_size()) != (132, 50) and time.time() < end: time.sleep(0.01)\n\
             print(*os.get_terminal_size(), flush=True)";
        let kept = host.start(&with_terminal(host.python(program)));
        let mut it = Conversation::begin_with(&host, Some(TerminalSize { rows: 50, columns: 132 }));
        it.until_exit();
        assert_eq!(it.output, "132 50\r\n");
        kept.until_over();
    }
}

#[test]
fn a_signal_frame_reaches_the_process() {
    let host = Host::new(users()[0]);
    let kept = host.start(&attached(host.python("print('ready', flush=True)\nimport time; time.sleep(60)")));
    let mut it = Conversation::begin(&host);
    it.until_said("ready");
    it.say(&Frame::Signal(15));
    assert_eq!(it.until_exit().0, ExitStatus::Signal(15));
    kept.until_over();
}

#[test]
fn only_one_may_attach_and_only_where_it_is_foreseen() {
    let host = Host::new(users()[0]);
    let kept = host.start(&attached(host.python("print('ready', flush=True)\nimport time; time.sleep(60)")));
    let _first = Conversation::begin(&host);
    let refused = client::request(&host.instance(), &Request::Attach { terminal: None }).unwrap_err();
    assert!(refused.to_string().contains("somebody is attached already"), "{refused}");
    client::request(&host.instance(), &Request::Kill {}).unwrap();
    kept.until_over();
}

#[test]
fn a_subscriber_hears_each_state_to_the_last() {
    let host = Host::new(users()[0]);
    let kept = host.start(&host.python("import time; time.sleep(1); raise SystemExit(4)"));
    let mut stream = client::connect(&host.instance()).unwrap();
    stream.write_all(b"{\"do\":\"subscribe\"}\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let states: Vec<Reply> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let Some(Reply::State(last)) = states.last() else { panic!("{text}") };
    assert_eq!(last.last_exit.unwrap().status, ExitStatus::Code(4));
    kept.until_over();
}

#[test]
fn what_is_not_a_request_is_refused_and_the_shim_lives_on() {
    let host = Host::new(users()[0]);
    let kept = host.start(&host.python("import time; time.sleep(60)"));
    kept.until_running();
    for bad in [b"nonsense\n".to_vec(), b"{}\n".to_vec(), vec![b'x'; 200 << 10]] {
        let mut stream = client::connect(&host.instance()).unwrap();
        // The shim may stop reading before everything is written.
        let _ = stream.write_all(&bad);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.starts_with("{\"refused\":"), "{answer}");
    }
    client::request(&host.instance(), &Request::Status {}).unwrap();
    client::request(&host.instance(), &Request::Kill {}).unwrap();
    kept.until_over();
}
