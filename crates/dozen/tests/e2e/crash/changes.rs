//! Control is killed between any two effects of every change that is not a deploy.
//!
//! Each test takes its places from a list of its own; [`every_place_is_one_at_which_control_is_killed`]
//! compares them with the server's. After the next start either all of a change is there or nothing of
//! it: the store, `ps`, the router's table and the machine say the same ([`settled`]).

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use dozen_control::barrier::{self, Place};
use dozen_model::route_table::{EndpointAddress, RouteTable, Target};

use super::{
    deploys::HeldHost,
    load::Load,
    processes::{instances, is_alive, keepers, nothing_is_left_over, pid_of},
};
use crate::{
    client,
    host::{Ran, TestHost, wait_for},
    project::Project,
};

const MORE: &[Place] =
    &[Place::WishRecorded, Place::MissingRecorded, Place::MissingStarted, Place::MissingServing];
const FEWER: &[Place] = &[
    Place::WishRecorded,
    Place::SurplusMarked,
    Place::SurplusUnrouted,
    Place::ProcessEnded,
    Place::EndRecorded,
];
const RESTARTED: &[Place] = &[
    Place::RestartRecorded,
    Place::SuccessorRecorded,
    Place::SuccessorStarted,
    Place::SuccessorSwapped,
    Place::SuccessorServing,
    Place::ProcessEnded,
    Place::EndRecorded,
];
const SERVICES: &[Place] = &[Place::ServiceRecorded, Place::ServiceFolder, Place::DatabaseMade];
const DOMAINS: &[Place] = &[Place::DomainRecorded];
const TRAFFIC: &[Place] = &[Place::TrafficRecorded];
const ONE_OFFS: &[Place] = &[Place::OneOffRecorded, Place::OneOffStarted];
const ENDED_ONE_OFFS: &[Place] = &[Place::ProcessEnded, Place::EndRecorded];
const QUEUE: &[Place] = &[Place::UploadKept, Place::ChangeQueued];
const FAILED: &[Place] = &[Place::ChangeUndone];

#[test]
fn every_place_is_one_at_which_control_is_killed() {
    let lists = [MORE, FEWER, RESTARTED, SERVICES, DOMAINS, TRAFFIC, ONE_OFFS, ENDED_ONE_OFFS, QUEUE, FAILED];
    let killed_at: BTreeSet<&str> = lists.concat().into_iter().map(Place::name).collect();
    let places: BTreeSet<&str> = Place::ALL.iter().map(|place| place.name()).collect();
    assert_eq!(killed_at, places);
    assert_eq!(places.len(), Place::ALL.len(), "each name once");
}

/// A held host on which one instance of `shop` serves.
fn served() -> HeldHost {
    let held = HeldHost::start();
    held.host.up(&Project::small("shop"));
    held
}

/// Addresses of an app's instances in the router's table.
fn routed(host: &TestHost, app: &str) -> BTreeSet<String> {
    let text = fs::read(host.state().join("router/table/table.json")).expect("the router's table");
    let table: RouteTable = serde_json::from_slice(&text).expect("a table");
    let of_app = table.stages.into_iter().filter(|stage| stage.app.as_str() == app);
    let endpoints = of_app.flat_map(|stage| match stage.target {
        Target::Endpoints(endpoints) => endpoints,
        Target::Static(_) => Vec::new(),
    });
    endpoints
        .map(|endpoint| match endpoint.address {
            EndpointAddress::Tcp(address) => address.to_string(),
        })
        .collect()
}

/// Waits until `count` instances of `web` are wanted, up and routed to, and nothing else is there.
#[track_caller]
fn settled(host: &TestHost, count: usize) {
    let names: Vec<String> = (1..=count).map(|number| format!("web.{number}")).collect();
    wait_for(&format!("{names:?} and nothing else"), Duration::from_secs(30), || {
        let all = instances(host, "shop");
        let up = all.iter().all(|row| row["state"] == "up");
        let found: Vec<String> =
            all.iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect();
        let endpoints: BTreeSet<String> =
            all.iter().filter_map(|row| Some(row["endpoint"].as_str()?.to_owned())).collect();
        (up && found == names && endpoints == routed(host, "shop")).then_some(())
    });
    nothing_is_left_over(host, &["shop"]);
}

fn current(host: &TestHost) -> String {
    format!("v{}", host.ps("shop")["release"])
}

#[test]
fn scaling_is_carried_out_wherever_control_was_killed() {
    let mut held = served();
    let load = Load::on(&held.host, "shop");
    for place in MORE {
        held.killed_at(&["ps", "scale", "-a", "shop", "web=2"], place.name());
        assert_eq!(held.host.ps("shop")["formation"]["web"], 2, "{place:?}");
        settled(&held.host, 2);
        held.host.dozen(["ps", "scale", "-a", "shop", "web=1"]).succeeds();
    }
    for place in FEWER {
        held.host.dozen(["ps", "scale", "-a", "shop", "web=2"]).succeeds();
        held.killed_at(&["ps", "scale", "-a", "shop", "web=1"], place.name());
        assert_eq!(held.host.ps("shop")["formation"]["web"], 1, "{place:?}");
        settled(&held.host, 1);
    }
    load.stop();
}

#[test]
fn a_stopped_app_is_down_and_a_started_one_up_wherever_control_was_killed() {
    let mut held = served();
    for (down, up) in FEWER.iter().zip(MORE.iter().cycle()) {
        held.killed_at(&["down", "-a", "shop"], down.name());
        assert_eq!(held.host.ps("shop")["stopped"], true, "{down:?}");
        settled(&held.host, 0);
        assert_eq!(held.host.get("shop", "/").status, 503, "{down:?}");

        held.killed_at(&["ps", "start", "-a", "shop"], up.name());
        assert_eq!(held.host.ps("shop")["stopped"], false, "{up:?}");
        assert_eq!(held.host.get("shop", "/").status, 200, "{up:?}: a request waits for the instance");
        settled(&held.host, 1);
    }
}

#[test]
fn what_is_wished_behind_a_change_outlives_a_kill() {
    let mut held = served();
    let project = Project::small("shop");
    project.write("note", "second").commit("second");
    let deploy = held.deploy_up_to(&project, "build.begun");
    let wishes: [&[&str]; 2] = [&["ps", "scale", "-a", "shop", "web=2"], &["down", "-a", "shop"]];
    let waiting = wishes.map(|words| held.host.command(words.iter().copied()).spawn().expect("the binary"));
    wait_for("both wishes", Duration::from_secs(30), || {
        let status = held.host.ps("shop");
        (status["stopped"] == true && status["formation"]["web"] == 2).then_some(())
    });
    held.kill_and_start_again();
    waiting.into_iter().for_each(|mut child| assert!(!child.wait().expect("its end").success()));
    Ran::from(deploy.wait_with_output().expect("its end")).succeeds();
    assert_eq!(current(&held.host), "v2");
    assert_eq!(held.host.ps("shop")["stopped"], true, "it was stopped after the deploy was asked for");
    settled(&held.host, 0);
    held.host.up(&project);
    settled(&held.host, 2);
}

#[test]
fn a_restart_replaces_all_it_was_asked_for_wherever_control_was_killed() {
    let mut held = served();
    held.host.dozen(["ps", "scale", "-a", "shop", "web=2"]).succeeds();
    let load = Load::on(&held.host, "shop");
    for place in RESTARTED {
        let before = ["web.1", "web.2"].map(|name| pid_of(&held.host, "shop", name));
        held.killed_at(&["ps", "restart", "-a", "shop"], place.name());
        for pid in before {
            wait_for(&format!("{place:?}: the old ones to end"), Duration::from_secs(30), || {
                (!is_alive(pid)).then_some(())
            });
        }
        settled(&held.host, 2);
    }
    let before = ["web.1", "web.2"].map(|name| pid_of(&held.host, "shop", name));
    held.host.kill_control();
    held.host.start_server();
    settled(&held.host, 2);
    assert_eq!(["web.1", "web.2"].map(|name| pid_of(&held.host, "shop", name)), before, "it is over");
    load.stop();
}

#[test]
fn a_service_is_there_with_its_data_or_not_at_all_wherever_control_was_killed() {
    let mut held = served();
    for (number, place) in SERVICES.iter().enumerate() {
        let name = format!("db{number}");
        held.killed_at(&["services", "create", "sqlite", &name, "-a", "shop"], place.name());
        let listed = held.host.dozen(["services", "-a", "shop", "--json"]).succeeds().json();
        let row = listed.as_array().expect("services").iter().find(|row| row["name"] == name.as_str());
        let folder = row.expect("its row was there")["detail"].as_str().expect("its folder").to_owned();
        let mut files: Vec<_> = fs::read_dir(&folder).expect("its folder").flatten().collect();
        assert_eq!(files.len(), 1, "{place:?}: {files:?}");
        let file = files.remove(0);
        assert_eq!(file.file_name().to_string_lossy(), format!("{name}.sqlite3"));
        assert!(file.metadata().expect("its size").len() > 0);
        held.host.dozen(["services", "attach", &name, "-a", "shop"]).succeeds();
    }
    held.killed_at(
        &["services", "create", "volume", "files", "--path", "/data/files", "-a", "shop"],
        Place::ServiceRecorded.name(),
    );
    held.host.dozen(["services", "attach", "files", "-a", "shop"]).succeeds();
    held.host.dozen(["run", "-a", "shop", "--", "touch", "/data/files/x"]).succeeds();
    settled(&held.host, 1);
}

#[test]
fn the_router_knows_the_domains_that_the_store_has_wherever_control_was_killed() {
    let mut held = served();
    let load = Load::on(&held.host, "shop");
    let status = |held: &HeldHost| client::get(held.host.port(), "shop.example.org", "/").status;
    for place in DOMAINS {
        held.killed_at(&["domains", "add", "shop.example.org", "-a", "shop"], place.name());
        assert_eq!(status(&held), 200, "{place:?}");
        held.killed_at(&["domains", "remove", "shop.example.org", "-a", "shop"], place.name());
        assert_eq!(status(&held), 404, "{place:?}");
    }
    settled(&held.host, 1);
    load.stop();
}

#[test]
fn the_router_treats_visitors_as_the_store_says_wherever_control_was_killed() {
    let mut held = served();
    let status = |held: &HeldHost| held.host.get("shop", "/").status;
    for place in TRAFFIC {
        held.killed_at(&["maintenance", "on", "-a", "shop"], place.name());
        assert_eq!(status(&held), 503, "{place:?}");
        held.killed_at(&["maintenance", "off", "-a", "shop"], place.name());
        assert_eq!(status(&held), 200, "{place:?}");
        held.killed_at(&["pause", "--limit", "5m", "-a", "shop"], place.name());
        let mut waiting = client::Held::at(held.host.port(), "shop.localhost");
        waiting.is_held_for(Duration::from_millis(200));
        assert!(held.host.ps("shop")["traffic"]["paused_for_ms"].as_u64() > Some(200_000), "{place:?}");
        held.killed_at(&["resume", "-a", "shop"], place.name());
        assert!(waiting.finish().starts_with("HTTP/1.1 200"), "{place:?}");
    }
    settled(&held.host, 1);
}

#[test]
fn a_one_off_process_runs_with_a_row_or_not_at_all_wherever_control_was_killed() {
    let mut held = served();
    for place in ONE_OFFS {
        held.killed_at(&["run", "-a", "shop", "--detach", "--", "sleep", "60"], place.name());
        let rows: Vec<_> =
            instances(&held.host, "shop").into_iter().filter(|row| row["name"] != "web.1").collect();
        assert_eq!(rows.len(), usize::from(*place == Place::OneOffStarted), "{place:?}: {rows:?}");
        nothing_is_left_over(&held.host, &["shop"]);
        for row in rows {
            let name = row["name"].as_str().expect("a name");
            held.host.dozen(["ps", "stop", name, "-a", "shop"]).succeeds();
        }
    }
    for place in ENDED_ONE_OFFS {
        held.host.dozen(["run", "-a", "shop", "--detach", "--", "sleep", "60"]).succeeds();
        let rows = instances(&held.host, "shop");
        let name = rows.iter().find(|row| row["name"] != "web.1").expect("its row")["name"].clone();
        held.killed_at(&["ps", "stop", name.as_str().expect("a name"), "-a", "shop"], place.name());
        settled(&held.host, 1);
    }
}

#[test]
fn a_one_off_process_that_ends_before_its_start_was_noted_is_gone() {
    let held = served();
    let run = held.host.command(["run", "-a", "shop", "--detach", "--", "true"]);
    let run = held.run_up_to(run, Place::OneOffStarted.name());
    wait_until_ended(&held.host, "run.1");
    held.open();
    Ran::from(run.wait_with_output().expect("its end")).succeeds();
    settled(&held.host, 1);
}

#[test]
fn a_one_off_process_that_its_caller_cannot_attach_to_is_ended() {
    let held = served();
    let launches =
        || keepers(&held.host).into_iter().map(|keeper| keeper.launch).collect::<BTreeSet<String>>();
    let before = launches();
    let run = held.host.command(["run", "-a", "shop", "--", "sleep", "600"]);
    let run = held.run_up_to(run, Place::OneOffStarted.name());
    let launch = launches().difference(&before).next().expect("the one-off process").clone();
    // Whoever is attached first is the only one.
    let socket = held.host.state().join("run/i").join(launch).join("shim.sock");
    let mut shim = UnixStream::connect(socket).expect("its shim");
    shim.write_all(b"{\"do\":\"attach\"}\n").expect("a request");
    shim.read_exact(&mut [0]).expect("an answer");
    held.open();
    let failed = Ran::from(run.wait_with_output().expect("its end"));
    assert!(failed.status != 0 && failed.stderr.contains("error: "), "{failed:#?}");
    settled(&held.host, 1);
}

#[test]
fn the_folder_of_a_shim_that_outlives_its_process_goes_with_the_shim() {
    let held = served();
    held.host.dozen(["ps", "scale", "-a", "shop", "web=2"]).succeeds();
    let scale = held.host.command(["ps", "scale", "-a", "shop", "web=1"]);
    let scale = held.run_up_to(scale, Place::ProcessEnded.name());
    let folder = wait_for("the folder without a shim", Duration::from_secs(30), || {
        let kept: Vec<String> = keepers(&held.host).into_iter().map(|keeper| keeper.launch).collect();
        let all = fs::read_dir(held.host.state().join("run/i")).expect("the instances").flatten();
        let mut all = all.filter(|entry| !kept.contains(&entry.file_name().to_string_lossy().into_owned()));
        all.next().map(|entry| entry.path())
    });
    // Who holds this lock is the shim: now it is we who do not end.
    // A process that ends has no command line any more a little before it lets go of its locks.
    let lock = fs::File::options().write(true).open(folder.join("lock")).expect("the shim's lock");
    wait_for("the lock", Duration::from_secs(30), || {
        rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).ok()
    });
    held.open();
    wait_for("the first attempt to remove it to be given up", Duration::from_secs(30), || {
        let log = fs::read_to_string(held.host.home().join("server.log")).expect("the server's log");
        log.contains("outlives its process").then_some(())
    });
    drop(lock);
    settled(&held.host, 1);
    Ran::from(scale.wait_with_output().expect("its end")).succeeds();
}

#[test]
fn an_instance_that_cannot_be_started_leaves_nothing_and_keeps_no_other_from_serving() {
    let held = served();
    let scale = held.host.command(["ps", "scale", "-a", "shop", "web=3"]);
    let scale = held.run_up_to(scale, Place::MissingStarted.name());
    let (instances_folder, away) = (held.host.state().join("run/i"), held.host.state().join("run/away"));
    fs::rename(&instances_folder, &away).expect("the folder of the instances");
    fs::write(&instances_folder, "").expect("no folder");
    held.open();
    wait_for("the third instance to be given up", Duration::from_secs(30), || {
        let rows = instances(&held.host, "shop");
        (rows.len() == 2 && rows.iter().all(|row| row["state"] != "starting")).then_some(())
    });
    fs::remove_file(&instances_folder).expect("no folder");
    fs::rename(&away, &instances_folder).expect("the folder of the instances");

    let failed = Ran::from(scale.wait_with_output().expect("its end"));
    assert!(failed.status != 0 && failed.stderr.contains("run/i"), "{failed:#?}");
    let names: Vec<_> = instances(&held.host, "shop").iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, ["web.1", "web.2"]);
    assert_eq!(routed(&held.host, "shop").len(), 2);
    nothing_is_left_over(&held.host, &["shop"]);
    held.host.dozen(["ps", "scale", "-a", "shop", "web=3"]).succeeds();
    settled(&held.host, 3);
}

#[track_caller]
fn wait_until_ended(host: &TestHost, name: &str) {
    wait_for("its end to be noted", Duration::from_secs(30), || {
        let log = host.dozen(["logs", "-a", "shop", "-n", "50"]).succeeds().stdout;
        log.contains(&format!("{name} ended: ")).then_some(())
    });
}

#[test]
fn a_config_change_is_carried_out_at_whichever_step_control_was_killed() {
    let mut held = served();
    let project = Project::small("shop");
    project
        .write("Procfile", "web: /usr/bin/python3 server.py\nrelease: echo migrated\n")
        .commit("with a release phase");
    held.host.up(&project);
    let load = Load::on(&held.host, "shop");
    // It has no source of its own.
    let barriers = barrier::names().into_iter().filter(|name| !name.starts_with("source."));
    for (number, barrier) in barriers.enumerate() {
        let changed =
            held.killed_at(&["config", "set", "-a", "shop", &format!("ANSWER=salut{number}")], &barrier);
        assert_eq!(changed.status, 0, "{barrier}: {changed:#?}");
        let release = format!("v{}", number + 3);
        let body = held.host.get("shop", "/").body;
        assert!(body.starts_with(&format!("salut{number} {release} ")), "{barrier}: {body}");
        assert_eq!(current(&held.host), release, "{barrier}");
        settled(&held.host, 1);
    }
    load.stop();
}

#[test]
fn attaching_detaching_and_rolling_back_are_carried_out_wherever_control_was_killed() {
    let mut held = served();
    held.host.dozen(["services", "create", "sqlite", "db", "-a", "shop"]).succeeds();
    let load = Load::on(&held.host, "shop");
    let attached = |held: &HeldHost| {
        let listed = held.host.dozen(["services", "-a", "shop", "--json"]).succeeds().json();
        listed[0]["attached"].as_array().expect("config vars").len()
    };
    let mut release = 1;
    for barrier in ["change.queued", "build.done", "assemble.begun", "assemble.done", "route.committed"] {
        let changes: [(&[&str], usize); 3] = [
            (&["services", "attach", "db", "-a", "shop"], 1),
            (&["services", "detach", "db", "-a", "shop"], 0),
            (&["rollback", "-a", "shop", &format!("v{}", release + 1)], 1),
        ];
        for (words, count) in changes {
            let changed = held.killed_at(words, barrier);
            // Who was not told of a number cannot ask for it again.
            assert_eq!(changed.status == 0, barrier != "change.queued", "{words:?} {barrier}: {changed:#?}");
            release += 1;
            wait_for(&format!("v{release}, {words:?} {barrier}"), Duration::from_secs(30), || {
                (current(&held.host) == format!("v{release}")).then_some(())
            });
            assert_eq!(attached(&held), count, "{words:?} {barrier}");
        }
        held.host.dozen(["services", "detach", "db", "-a", "shop"]).succeeds();
        release += 1;
        settled(&held.host, 1);
    }
    load.stop();
}

#[test]
fn a_deploy_is_in_the_queue_or_leaves_nothing_wherever_control_was_killed() {
    let mut held = served();
    let project = Project::small("shop");
    let load = Load::on(&held.host, "shop");
    for place in QUEUE {
        project.write("note", place.name()).commit(place.name());
        let cut_off = held.deploy_killed_at(&project, place.name());
        assert!(cut_off.fails_with(3).stderr.contains("whether the change was taken"), "{place:?}");
        let release = if *place == Place::UploadKept { "v1" } else { "v2" };
        wait_for(&format!("{place:?}: {release}"), Duration::from_secs(30), || {
            (current(&held.host) == release).then_some(())
        });
        settled(&held.host, 1);
    }
    load.stop();
}

#[test]
fn who_was_not_told_of_a_number_is_told_where_to_look() {
    let mut held = served();
    let set = ["config", "set", "-a", "shop", "ANSWER=salut"];
    let cut_off = held.killed_at(&set, Place::ChangeQueued.name()).fails_with(3);
    let says = "error: the connection to the server broke, and nobody has said whether the change was taken";
    assert!(cut_off.stderr.contains(says), "{cut_off:#?}");
    let named: Vec<&str> =
        cut_off.stderr.split('`').filter_map(|words| words.strip_prefix("dozen ")).collect();
    assert_eq!(named, ["builds -a shop", "ps -a shop"], "{cut_off:#?}");
    let [builds, ps] = [named[0], named[1]].map(|words| held.host.dozen(words.split(' ')).succeeds().stdout);
    assert!(builds.contains("config") && ps.contains("web.1"), "{builds}{ps}");
    settled(&held.host, 1);
}

#[test]
fn a_failed_deploy_is_undone_also_when_control_is_killed_meanwhile() {
    let mut held = served();
    let project = Project::small("shop");
    project.write("server.py", "raise SystemExit(5)\n").commit("broken");
    let load = Load::on(&held.host, "shop");
    for place in FAILED {
        let failed: Ran = held.deploy_killed_at(&project, place.name()).fails_with(1);
        assert!(failed.stderr.contains("exit status 5"), "{failed:#?}");
        assert_eq!(current(&held.host), "v1");
        settled(&held.host, 1);
    }
    load.stop();
}
