//! Every line is in the store once, whoever is killed while the app prints.

use std::{fs, time::Duration};

use super::{
    processes::{instances, keepers, kill, nothing_is_left_over},
    volume,
};
use crate::{
    host::{TestHost, wait_for},
    project::Project,
};

/// Prints 100,000 lines in its first life, the second half of them when it is let, and exits 42.
const PRINTER: &str = r#"
import os, sys, time
noted = "/data/noted/"
if os.path.exists(noted + "begun"):
    time.sleep(0.2)
    sys.exit(42)
open(noted + "begun", "w").close()
for number in range(50000):
    print("line", number)
sys.stdout.flush()
open(noted + "half", "w").close()
while not os.path.exists(noted + "go"):
    time.sleep(0.005)
for number in range(50000, 100000):
    print("line", number)
sys.stdout.flush()
sys.exit(42)
"#;

/// A host whose `worker.1` has printed half of its lines.
fn half_way() -> TestHost {
    let host = TestHost::start();
    let project = Project::small("shop");
    project
        .write("Procfile", "web: /usr/bin/python3 server.py\nworker: /usr/bin/python3 printer.py\n")
        .write("printer.py", PRINTER)
        .write("dozen.toml", "[services.data]\nkind = \"volume\"\npath = \"/data/noted\"\n")
        .commit("printer");
    host.up(&project);
    host.dozen(["ps", "scale", "-a", "shop", "worker=1"]).succeeds();
    wait_for("half of the lines", Duration::from_secs(30), || {
        volume(&host).join("half").exists().then_some(())
    });
    host
}

fn shim_of_worker(host: &TestHost) -> u32 {
    let worker =
        instances(host, "shop").into_iter().find(|row| row["name"] == "worker.1").expect("the worker");
    let main = worker["pid"].as_u64().expect("its pid");
    let status = fs::read_to_string(format!("/proc/{main}/status")).expect("its status");
    let init = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).expect("its parent").to_owned();
    let all = keepers(host);
    let launch = &all.iter().find(|one| one.pid.to_string() == init).expect("its init").launch;
    all.iter().find(|one| !one.is_init && one.launch == *launch).expect("its shim").pid
}

fn let_it_go(host: &TestHost) {
    fs::write(volume(host).join("go"), "").expect("the go");
}

#[track_caller]
fn all_lines_are_there_once(host: &TestHost) {
    let row = wait_for("the worker to have ended", Duration::from_secs(30), || {
        instances(host, "shop").into_iter().find(|row| row["name"] == "worker.1" && row["state"] == "crashed")
    });
    assert_eq!(row["reason"], "exit status 42", "{row}");
    let lines = wait_for("the last line", Duration::from_secs(30), || {
        let ran = host
            .dozen(["logs", "-a", "shop", "--json", "--source", "app", "-n", "100000", "--ps", "worker.1"])
            .succeeds();
        ran.stdout.contains("\"line 99999\"").then_some(ran.stdout)
    });
    each_line_once(&lines);
    nothing_is_left_over(host, &["shop"]);
}

#[track_caller]
fn each_line_once(records: &str) {
    let mut next = 0;
    for line in records.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("a record");
        assert_eq!(record["text"], format!("line {next}"), "after {next} lines");
        next += 1;
    }
    assert_eq!(next, 100_000);
}

#[test]
fn whoever_follows_gets_each_line_once_although_control_dies_in_the_middle() {
    let mut host = half_way();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let words = ["logs", "-f", "-a", "shop", "--json", "--source", "app", "-n", "100000", "--ps", "worker.1"];
    let out = file.reopen().expect("the file");
    let mut follower = host.command(words).stdout(out).spawn().expect("dozen");
    let heard = || fs::read_to_string(file.path()).expect("the lines");
    wait_for("the first half", Duration::from_secs(30), || (heard().lines().count() >= 50_000).then_some(()));
    let_it_go(&host);
    wait_for("some of the second half", Duration::from_secs(30), || {
        (heard().lines().count() > 50_000).then_some(())
    });
    host.kill_control();
    host.start_server();
    wait_for("the last line", Duration::from_secs(30), || heard().contains("\"line 99999\"").then_some(()));
    // What came twice would come by now.
    host.dozen(["ps", "-a", "shop"]).succeeds();
    follower.kill().expect("to end it");
    follower.wait().expect("its end");
    each_line_once(&heard());
}

#[test]
fn no_line_is_lost_when_control_dies_before_the_shim() {
    let mut host = half_way();
    let shim = shim_of_worker(&host);
    host.kill_control();
    kill(shim);
    let_it_go(&host);
    host.start_server();
    all_lines_are_there_once(&host);
}

#[test]
fn no_line_is_lost_when_the_shim_dies_before_control() {
    let mut host = half_way();
    kill(shim_of_worker(&host));
    host.kill_control();
    let_it_go(&host);
    host.start_server();
    all_lines_are_there_once(&host);
}

#[test]
fn no_line_is_lost_when_control_alone_is_away() {
    let mut host = half_way();
    host.kill_control();
    let_it_go(&host);
    let begun = volume(&host).join("begun");
    assert!(begun.exists());
    host.start_server();
    all_lines_are_there_once(&host);
}
