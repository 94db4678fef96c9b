//! `cargo xtask bench instructions`: how many instructions a request takes in the router, and where.
//!
//! Callgrind counts the same number again and again where a clock does not, so a change of one in a
//! hundred shows. It counts our own process alone: what the kernel does for it is not in the figure,
//! and is most of the time (`of it user` in the tables of [`super::bench()`] says how much).

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    options::Options,
    peers::Contender,
    rounds::Running,
    stage::Stage,
    tls::{Load, h2load_exactly},
};
use crate::{
    requirements::{Tool, provide},
    task::{TaskError, output},
};

const VALGRIND: Tool = Tool { name: "valgrind", package: "valgrind", needed_for: "counting instructions" };
/// Before the count: connections to the app, tables and buffers are there then.
const WARM_UP: u32 = 500;
const REQUESTS: u32 = 5000;
/// So many functions are named.
const NAMED: usize = 16;

const LOADS: &[(&str, Load)] = &[
    ("1 KiB, 16 kept connections", Load { scheme: "http", connections: 16, streams: 1 }),
    ("1 KiB over TLS, 16 kept connections", Load { scheme: "https", connections: 16, streams: 1 }),
    ("1 KiB over HTTP/2, 16 streams", Load { scheme: "https", connections: 1, streams: 16 }),
];

/// Counts, and prints a table for each load.
pub(crate) fn bench(words: &[&str]) -> Result<(), TaskError> {
    let mut options = Options::parse(words)?;
    options.peers.clear();
    provide(&[VALGRIND], options.install)?;
    let stage = Stage::set(options)?;
    for contender in &stage.contenders {
        for (title, load) in LOADS {
            let counts = count(&stage, contender, load)?;
            println!("\n{}: {title}: {} instructions a request", contender.name, counts.total / REQUESTS);
            for (part, share) in &counts.parts {
                println!("  {share:5.1} %  {part}");
            }
            for function in &counts.functions {
                println!("    {function}");
            }
        }
    }
    Ok(())
}

struct Counts {
    total: u32,
    /// Crates and libraries with their shares, the largest first.
    parts: Vec<(String, f64)>,
    /// Lines of the functions that take most.
    functions: Vec<String>,
}

fn count(stage: &Stage, contender: &Contender, load: &Load) -> Result<Counts, TaskError> {
    let wrapped_in = stage.certificates().join(format!("counted-{}", contender.name));
    let counts = stage.certificates().join("callgrind.out");
    let watched = Contender::ours(
        &contender.name,
        &wrapped(&contender.program, &wrapped_in, &counts)?,
        contender.version.clone(),
    );
    let running = Running::start(&watched, &stage.site(&watched)?)?;
    let drive = |requests| h2load_exactly(&running, load, requests);
    let dump = || {
        let mut control = Command::new("callgrind_control");
        output(control.args(["--dump=asked", &running.server.pid().to_string()])).map(drop)
    };
    drive(WARM_UP)?;
    dump()?;
    drive(REQUESTS)?;
    dump()?;
    // Each dump begins anew, and is numbered.
    let measured = PathBuf::from(format!("{}.2", counts.display()));
    let told =
        output(Command::new("callgrind_annotate").args(["--threshold=100", "--auto=no"]).arg(&measured))?;
    drop(running);
    for number in 1..=3 {
        let _ = fs::remove_file(format!("{}.{number}", counts.display()));
    }
    read(&told).ok_or_else(|| TaskError::new(format!("callgrind_annotate said something else:\n{told}")))
}

/// A program that runs `program` under Callgrind.
fn wrapped(program: &Path, at: &Path, counts: &Path) -> Result<PathBuf, TaskError> {
    let (program, counts) = (program.display(), counts.display());
    let valgrind = format!("valgrind --tool=callgrind --callgrind-out-file='{counts}'");
    fs::write(at, format!("#!/bin/sh\nexec {valgrind} '{program}' \"$@\"\n"))?;
    fs::set_permissions(at, fs::Permissions::from_mode(0o755))?;
    Ok(at.to_owned())
}

/// Lines such as `1,234 (12.3%)  ???:crate::function [/path/of/object]`.
fn read(told: &str) -> Option<Counts> {
    let mut total = None;
    let (mut parts, mut functions) = (BTreeMap::<String, f64>::new(), Vec::new());
    for line in told.lines() {
        let Some((count, rest)) = line.trim_start().split_once(" (") else { continue };
        let Ok(count) = count.replace(',', "").parse::<f64>() else { continue };
        let (_, name) = rest.split_once(')')?;
        if name.contains("PROGRAM TOTALS") {
            total = Some(count);
            continue;
        }
        let total = total?;
        // What was running when the count began anew is shown with all that it called.
        if count > total / 2.0 {
            continue;
        }
        let (function, object) = name.rsplit_once(" [").unwrap_or((name, "?"));
        let function = function.split_once(':').map_or(function, |(_, function)| function).trim();
        *parts.entry(part(function, object)).or_default() += count * 100.0 / total;
        if functions.len() < NAMED {
            functions.push(format!("{:5.1} %  {}", count * 100.0 / total, shortened(function)));
        }
    }
    let mut parts: Vec<(String, f64)> = parts.into_iter().filter(|(_, share)| *share >= 1.0).collect();
    parts.sort_by(|one, other| other.1.total_cmp(&one.1));
    // A few thousand requests take far less than that.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of instructions")]
    Some(Counts { total: total? as u32, parts, functions })
}

/// The crate of a Rust function, else the library.
fn part(function: &str, object: &str) -> String {
    let plain = function.trim_start_matches(|c: char| !c.is_ascii_alphabetic() && c != '_');
    if object.contains("router-probe")
        && let Some((first, _)) = plain.split_once("::")
    {
        return first.trim_start_matches("impl ").to_owned();
    }
    if object.contains("router-probe") {
        return "C of aws-lc, and what was given no name".to_owned();
    }
    let library = object.trim_end_matches(']').rsplit('/').next().unwrap_or(object);
    format!("{library} (memory, allocation, calls of the kernel)")
}

fn shortened(function: &str) -> String {
    function.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_by_crate_and_library() {
        let told = "Ir\n\
            1,000 (100.0%)  PROGRAM TOTALS\n\
            Ir  file:function\n\
            1,000 (100.0%)  ???:start_thread [/lib/libc.so.6]\n\
            500 (50.00%)  ???:dozen_router::http1::head [/t/router-probe]\n\
            400 (40.00%)  ???:<tokio::net::TcpStream as Read>::poll_read [/t/router-probe]\n\
            100 (10.00%)  ./string/memcpy.S:__memcpy_avx [/lib/libc.so.6]\n";
        let counts = read(told).unwrap();
        assert_eq!(counts.total, 1000);
        assert_eq!(counts.parts[0], ("dozen_router".to_owned(), 50.0));
        assert_eq!(counts.parts[1], ("tokio".to_owned(), 40.0));
        assert!(counts.parts[2].0.starts_with("libc.so.6"));
        assert_eq!(counts.functions.len(), 3);
        assert!(read("nothing").is_none());
    }
}
