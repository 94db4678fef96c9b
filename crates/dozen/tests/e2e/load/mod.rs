//! No request is lost: stock Blango on SQLite is changed while a client that never retries asks it.
//!
//! The short form runs with all other tests. The long one is `cargo xtask soak deploy`; it takes
//! `DOZEN_SOAK_DEPLOYS` (50), and its other changes keep their proportion to that.

mod blango;
mod never_retry;
mod traffic;

use std::time::Duration;

use blango::Blango;

#[test]
fn no_request_is_lost_by_changes_of_any_kind_nor_refused_after_a_crash() {
    let mut blango = Blango::deployed();
    let traffic = blango.traffic();
    let began = traffic.began();
    blango.deploy_other_packages();
    blango.set_config();
    blango.scale();
    blango.kill_control();
    blango.deploy_migration();
    blango.scale();
    blango.restart();
    let log = traffic.stop();
    blango.assert_nothing_lost(&log, began);

    let traffic = blango.traffic();
    let (gone, away) = blango.kill_main_process();
    let log = traffic.stop();
    let own_start = blango.took("restart");
    // Under the same load one start may take twice as long as another.
    assert!(
        away < own_start * 2 + Duration::from_secs(2),
        "away for {away:?}, its own start takes {own_start:?}"
    );
    for one in log.0.iter().filter(|one| !one.is_good()) {
        // What the app had taken when it died: nobody may send a POST twice, and a read that two of
        // its dying processes took is not sent a third time.
        assert_eq!(one.outcome, Ok(502), "nothing is refused: {one:?}");
        assert!(one.sent <= gone + AT_THE_KILL, "what came after the kill is held: {one:?}");
    }
}

/// The kernel takes connections for a listener a little longer than its process lives: its workers
/// have it too, and end after it.
const AT_THE_KILL: Duration = Duration::from_millis(500);

#[test]
#[ignore = "takes many minutes: `cargo xtask soak deploy`"]
fn soak_no_request_is_lost_by_many_changes() {
    let deploys =
        std::env::var("DOZEN_SOAK_DEPLOYS").ok().and_then(|count| count.parse().ok()).unwrap_or(50_u32);
    let mut blango = Blango::deployed();
    let traffic = blango.traffic();
    let began = traffic.began();
    for round in 0..deploys {
        change(&mut blango, round, deploys);
    }
    let log = traffic.stop();
    let seconds = began.elapsed().as_secs();
    eprintln!("{}", blango.told(began));
    eprintln!("{} requests in {seconds} s, {} POSTs acknowledged", log.0.len(), log.acknowledged());
    for (kind, [median, p99, longest]) in log.latencies() {
        eprintln!("{kind}: median {median} ms, p99 {p99} ms, longest {longest} ms");
    }
    blango.assert_nothing_lost(&log, began);
}

/// One deploy, and what else falls due: of 50 rounds 3 have a migration and 3 other packages, 20
/// each set config, scale and restart, 10 kill control.
fn change(blango: &mut Blango, round: u32, rounds: u32) {
    match round * 6 / rounds != (round + 1) * 6 / rounds {
        true if (round * 6 / rounds).is_multiple_of(2) => blango.deploy_migration(),
        true => blango.deploy_other_packages(),
        false => blango.deploy(),
    }
    let two_fifths = round * 2 / 5 != (round + 1) * 2 / 5;
    if two_fifths {
        blango.set_config();
        blango.scale();
        blango.restart();
    }
    match round % 10 {
        3 => blango.kill_control(),
        8 => blango.kill_control_in_a_change(),
        _ => {}
    }
}
