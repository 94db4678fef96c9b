use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use dozen_model::hint::Hint;
use dozen_run::{ExitReason, NotReady, Probe, ProbeAnswer, Ready, wait_alive, wait_ready};

use crate::stand::{Stand, id};

/// Starts a web process and waits for `timeout` until it is ready.
fn outcome(
    options: &[&str],
    timeout: Duration,
    adjust: impl FnOnce(&mut Probe),
) -> (Result<Ready, NotReady>, Vec<ProbeAnswer>) {
    let stand = Stand::new();
    let web = id("web-1");
    let (spec, mut probe) = stand.web(&web, options);
    probe.timeout = timeout;
    adjust(&mut probe);
    stand.supervisor.start(&web, &spec).unwrap();
    let mut answers = Vec::new();
    let outcome = wait_ready(&probe, &web, &stand.supervisor, &mut |answer| answers.push(answer));
    answers.dedup();
    (outcome, answers)
}

const LONG: Duration = Duration::from_secs(20);
/// Time enough for a program to start on a busy machine.
const SHORT: Duration = Duration::from_secs(3);

#[test]
fn an_app_is_ready_when_it_answers() {
    let (outcome, answers) = outcome(&["--delay", "1000"], LONG, |_| {});
    let ready = outcome.unwrap();
    assert!(ready.took >= Duration::from_millis(300), "{ready:?}");
    assert_eq!(ready.answer, ProbeAnswer::Answered { status: 200, location: None });
    assert_eq!(answers[0], ProbeAnswer::NotListening { elsewhere: vec![] });
}

#[test]
fn a_page_that_needs_a_login_is_an_answer_but_not_on_a_health_path() {
    outcome(&["--status", "403"], LONG, |_| {}).0.unwrap();
    let (outcome, _) = outcome(&["--status", "403"], SHORT, |probe| probe.health_path = Some("/up".into()));
    assert!(
        matches!(&outcome, Err(NotReady::Unhealthy { status: 403, path, declared: true, .. }) if path == "/up"),
        "{outcome:?}"
    );
}

#[test]
fn an_app_on_another_port_is_found_there() {
    let free = Stand::new().ports.reserve().unwrap();
    let (outcome, _) = outcome(&["--port", &free.to_string()], SHORT, |_| {});
    let not_ready = outcome.unwrap_err();
    let text = not_ready.to_string();
    assert!(text.starts_with(&format!("it listens on 127.0.0.1:{free}, `PORT` is ")), "{text}");
    assert!(not_ready.hint().unwrap().contains("$PORT"));
}

#[test]
fn an_app_that_ends_is_not_waited_for() {
    let stand = Stand::new();
    let short = id("short");
    stand.supervisor.start(&short, &stand.spec(&short, &["run-probe", "exit", "3"])).unwrap();
    let began = Instant::now();
    let probe = crate::stand::probe(stand.ports.reserve().unwrap());
    let outcome = wait_ready(&probe, &short, &stand.supervisor, &mut |_| {});
    assert!(
        matches!(outcome, Err(NotReady::Exited { reason: ExitReason::Status(3), serves: true, .. })),
        "{outcome:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let stand = Stand::new();
    let wrong = id("wrong");
    let _ = stand.supervisor.start(&wrong, &stand.spec(&wrong, &["no-such-program"]));
    let probe = crate::stand::probe(stand.ports.reserve().unwrap());
    let not_ready = wait_ready(&probe, &wrong, &stand.supervisor, &mut |_| {}).unwrap_err();
    let text = not_ready.to_string();
    assert!(text.contains("no-such-program"), "{text}");
    assert!(not_ready.hint().unwrap().contains("Procfile"));
}

#[test]
fn an_app_that_answers_500_is_not_ready() {
    let (outcome, answers) = outcome(&["--status", "500"], SHORT, |_| {});
    assert!(matches!(outcome, Err(NotReady::Unhealthy { status: 500, declared: false, .. })), "{outcome:?}");
    assert!(answers.contains(&ProbeAnswer::Answered { status: 500, location: None }));
}

#[test]
fn an_app_that_refuses_its_own_host_is_not_ready_and_not_waited_for_long() {
    let began = Instant::now();
    let (outcome, _) = outcome(&["--status", "400"], LONG, |_| {});
    let not_ready = outcome.unwrap_err();
    assert_eq!(not_ready, NotReady::HostRefused { host: "shop.localhost:1212".into() });
    assert!(not_ready.hint().unwrap().contains("`ALLOWED_HOSTS`: add `shop.localhost`"));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn an_app_that_accepts_and_says_nothing_is_not_ready() {
    let (outcome, _) = outcome(&["--mute"], SHORT, |_| {});
    assert!(matches!(outcome, Err(NotReady::NoAnswer { .. })), "{outcome:?}");
}

#[test]
fn an_answer_of_another_process_does_not_count() {
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stranger.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in stranger.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let (outcome, _) = outcome(&[], SHORT, |probe| probe.address = address);
    assert_eq!(outcome, Err(NotReady::PortTaken { port: address.port() }));
}

#[test]
fn a_process_without_endpoint_is_ready_when_it_lives() {
    let stand = Stand::new();
    let (worker, short) = (id("worker"), id("short"));
    stand.supervisor.start(&worker, &stand.spec(&worker, &["run-probe", "lines", "1", "0"])).unwrap();
    stand.supervisor.start(&short, &stand.spec(&short, &["run-probe", "exit", "0"])).unwrap();
    assert_eq!(
        wait_alive(&worker, &stand.supervisor, Duration::from_millis(300)).unwrap().answer,
        ProbeAnswer::Alive
    );
    let outcome = wait_alive(&short, &stand.supervisor, LONG);
    assert!(
        matches!(outcome, Err(NotReady::Exited { reason: ExitReason::Status(0), serves: false, .. })),
        "{outcome:?}"
    );
}
