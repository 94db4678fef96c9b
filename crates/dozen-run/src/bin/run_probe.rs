//! The binary that the tests of this crate run on both sides of the walls.
//!
//! As `run-probe shim …` it is the shim and init, as the `dozen` binary is in production. With
//! other words it is an app that behaves as a test needs:
//!
//! - `serve`: listens on `PORT`; options `--port N`, `--status N`, `--delay MS` before it
//!   listens, `--mute` never answers. `GET /crash` ends it with status 7, `GET /env` answers
//!   with its environment.
//! - `lines COUNT PAUSE_MS`: prints numbered lines, then stays.
//! - `exit STATUS`: ends at once.
#![allow(missing_docs, reason = "it has no words for others")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    reason = "the product's rules; this is an app of the tests"
)]

use std::{
    env,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{ExitCode, exit},
    thread::{park, sleep},
    time::Duration,
};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("shim") => return dozen_sandbox::shim_main(env::args_os().skip(2)),
        Some("serve") => serve(&words[1..]),
        Some("lines") => lines(number(&words[1]), number(&words[2])),
        Some("exit") => exit(number(&words[1]) as i32),
        _ => exit(64),
    }
    ExitCode::SUCCESS
}

fn number(word: &str) -> u64 {
    word.parse().unwrap()
}

fn serve(options: &[String]) {
    let value = |name: &str| {
        let at = options.iter().position(|option| option == name)?;
        Some(number(&options[at + 1]))
    };
    sleep(Duration::from_millis(value("--delay").unwrap_or(0)));
    let port = value("--port").unwrap_or_else(|| number(&env::var("PORT").unwrap()));
    let listener = TcpListener::bind(("127.0.0.1", port as u16)).unwrap();
    println!("listening on {port}");
    let mute = options.iter().any(|option| option == "--mute");
    let status = value("--status").unwrap_or(200);
    let mut kept = Vec::new();
    for stream in listener.incoming().flatten() {
        if mute {
            kept.push(stream);
        } else {
            answer(stream, status);
        }
    }
}

fn answer(mut stream: TcpStream, status: u64) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut some = [0; 1024];
        match stream.read(&mut some) {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&some[..count]),
        }
    }
    if request.starts_with(b"GET /crash ") {
        println!("crashing");
        exit(7);
    }
    let mut body = String::new();
    if request.starts_with(b"GET /env ") {
        for (name, value) in env::vars() {
            body.push_str(&format!("{name}={value}\n"));
        }
    }
    let length = body.len();
    let _ =
        stream.write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes());
}

fn lines(count: u64, pause: u64) {
    for number in 0..count {
        println!("line {number}");
        if pause > 0 {
            sleep(Duration::from_millis(pause));
        }
    }
    println!("all printed");
    loop {
        park();
    }
}
