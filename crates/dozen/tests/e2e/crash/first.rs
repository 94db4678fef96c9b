//! What is asked of an app while its first deploy is under way.

use std::process::Stdio;

use super::{deploys::HeldHost, processes::nothing_is_left_over};
use crate::{host::Ran, project::Project};

#[test]
fn config_that_comes_after_the_first_release_was_assembled_makes_the_second_one() {
    let mut held = HeldHost::start();
    let project = Project::small("shop");
    let deploy = held.deploy_up_to(&project, "start.begun");
    let mut set = held.host.command(["config", "set", "-a", "shop", "ANSWER=salut"]);
    let set = set.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
    crate::host::wait_for("the change to queue", std::time::Duration::from_secs(30), || {
        let builds = held.host.dozen(["builds", "-a", "shop", "--json"]).succeeds().json();
        (builds.as_array()?.len() == 2).then_some(())
    });

    held.host.kill_control();
    held.open();
    held.host.start_server();

    Ran::from(deploy.wait_with_output().expect("its end")).succeeds();
    // Its number may not have reached it when control was killed, and then it cannot ask on. The
    // change is in the store all the same.
    set.wait_with_output().expect("its end");
    crate::host::wait_for("the second release", std::time::Duration::from_secs(30), || {
        held.host.get("shop", "/").body.starts_with("salut v2 ").then_some(())
    });
    nothing_is_left_over(&held.host, &["shop"]);
}
