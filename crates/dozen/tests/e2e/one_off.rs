//! One-off processes joined to the caller: much in both directions, and signals that must arrive.

use std::{
    fs::File,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::fd::AsFd,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    process::{Pid, Signal, kill_process},
};

use crate::{
    host::{TestHost, wait_for},
    project::Project,
};

fn shop() -> (TestHost, Project) {
    let mut host = TestHost::start();
    host.set_env("DOZEN_APP", "shop");
    let project = Project::small("shop");
    host.up(&project);
    (host, project)
}

/// Starts a command in the app and gives it no end.
fn run(host: &TestHost, words: &[&str]) -> Child {
    let mut command = host.command(["run", "--"].iter().chain(words).copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("dozen")
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("a signal");
}

/// Its status and what it wrote to stderr, once it has ended.
fn end_of(mut child: Child) -> (i32, String) {
    let status = wait_for("its end", Duration::from_secs(30), || child.try_wait().expect("its state"));
    let mut said = String::new();
    child.stderr.take().expect("its stderr").read_to_string(&mut said).expect("text");
    (status.code().unwrap_or(-1), said)
}

#[test]
fn a_process_that_answers_while_it_reads_gets_all_and_gives_all() {
    let (host, _project) = shop();
    let (given, taken) = (host.home().join("given"), host.home().join("taken"));
    let bytes: Vec<u8> = (0..20_u32 << 18).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&given, &bytes).expect("20 MiB");
    let mut command = host.command(["run", "--", "cat"]);
    command.stdin(File::open(&given).expect("the file")).stdout(File::create(&taken).expect("a file"));
    let mut child = command.spawn().expect("dozen");
    let status = wait_for("its end", Duration::from_secs(60), || child.try_wait().expect("its state"));
    assert!(status.success(), "{status}");
    assert!(std::fs::read(&taken).expect("the file") == bytes, "it came back otherwise");
}

#[test]
fn a_signal_ends_a_caller_whose_process_takes_no_input() {
    let (host, _project) = shop();
    let mut child = run(&host, &["sh", "-c", "echo ready; exec sleep 600"]);
    let mut lines = BufReader::new(child.stdout.take().expect("its stdout")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    let mut stdin = child.stdin.take().expect("its stdin");
    let flags = fcntl_getfl(stdin.as_fd()).expect("its flags");
    fcntl_setfl(stdin.as_fd(), flags | OFlags::NONBLOCK).expect("not blocking");
    let mut moved = Instant::now();
    wait_for("a standstill", Duration::from_secs(30), || {
        match stdin.write(&[0; 65536]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => {
                other.expect("written");
                moved = Instant::now();
            }
        }
        (moved.elapsed() > Duration::from_millis(500)).then_some(())
    });
    send(&child, Signal::TERM);
    let (status, said) = end_of(child);
    assert_eq!(status, 143, "{said}");
    assert!(said.contains("`dozen ps stop`"), "{said}");
}

#[test]
fn a_caller_who_insists_is_let_go() {
    let (host, _project) = shop();
    let mut child = run(&host, &["sh", "-c", "trap '' INT; echo ready; while :; do sleep 1; done"]);
    let mut lines = BufReader::new(child.stdout.take().expect("its stdout")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    let mut again = 0;
    wait_for("its end", Duration::from_secs(30), || {
        // Signals of one kind that come too fast are one.
        send(&child, Signal::INT);
        again += 1;
        child.try_wait().expect("its state")
    });
    assert!(again >= 3, "the first one was the process's");
    let (status, said) = end_of(child);
    assert_eq!(status, 130, "{said}");
}
