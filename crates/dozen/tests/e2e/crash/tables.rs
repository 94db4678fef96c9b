//! A route table that cannot be made for a while: what the store says is carried out behind it all
//! the same, and no process is left that nobody ends, routes or counts.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::processes::{is_alive, nothing_is_left_over, pid_of};
use crate::{
    host::{Ran, TestHost, wait_for},
    project::Project,
};

/// Runs one statement in the server's database; what it selects comes back as one number.
#[track_caller]
fn in_the_store(host: &TestHost, statement: &str) -> i64 {
    const PROGRAM: &str = "import sqlite3, sys\n\
        store = sqlite3.connect(sys.argv[1], timeout=10)\n\
        with store: print((store.execute(sys.argv[2]).fetchone() or [0])[0])";
    let database = host.state().join("state.db");
    let output = Command::new("/usr/bin/python3").args(["-c", PROGRAM]).arg(database).arg(statement).output();
    let output = output.expect("python");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

/// Begins a command while no table can be made and mends that when so many launches are in a state.
#[track_caller]
fn without_a_table(host: &TestHost, words: &[&str], state: &str, count: i64) {
    in_the_store(host, "INSERT INTO domains SELECT 'no domain', id, 0 FROM stages");
    let mut command = host.command(words.iter().copied());
    let child: Child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
    wait_for(&format!("{count} to be {state}"), Duration::from_secs(30), || {
        let found = format!("SELECT COUNT(*) FROM launches WHERE state = '{state}'");
        (in_the_store(host, &found) == count).then_some(())
    });
    in_the_store(host, "DELETE FROM domains");
    Ran::from(child.wait_with_output().expect("its end")).succeeds();
}

#[test]
fn instances_are_ended_replaced_and_put_into_service_behind_a_table_that_came_late() {
    let host = TestHost::start();
    host.up(&Project::small("shop"));
    host.dozen(["ps", "scale", "-a", "shop", "web=2"]).succeeds();
    let ended = |pid| {
        wait_for("the old one to end", Duration::from_secs(30), || (!is_alive(pid)).then_some(()));
    };

    let surplus = pid_of(&host, "shop", "web.2");
    without_a_table(&host, &["ps", "scale", "-a", "shop", "web=1"], "draining", 1);
    ended(surplus);

    let replaced = pid_of(&host, "shop", "web.1");
    without_a_table(&host, &["ps", "restart", "-a", "shop"], "draining", 1);
    ended(replaced);

    without_a_table(&host, &["ps", "scale", "-a", "shop", "web=3"], "serving", 2);
    assert_eq!(host.up_instances("shop"), ["web.1", "web.2", "web.3"]);
    nothing_is_left_over(&host, &["shop"]);
}
