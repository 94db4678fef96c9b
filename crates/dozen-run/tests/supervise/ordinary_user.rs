//! Everything here once more, without root.

use std::{env, process::Command};

/// Nobody's usual number, so no file of the host is theirs.
const SOMEBODY: &str = "61234";

#[test]
fn an_ordinary_user_can_do_all_of_this() {
    if !rustix::process::geteuid().is_root() {
        // Then the other tests are run by one already.
        return;
    }
    let as_somebody = ["--reuid", SOMEBODY, "--regid", SOMEBODY, "--clear-groups", "--no-new-privs"];
    let output = Command::new("setpriv")
        .args(as_somebody)
        .arg(env::current_exe().unwrap())
        .args(["--skip", "ordinary_user", "--test-threads", "4"])
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("test result: ok"), "{said}");
}
