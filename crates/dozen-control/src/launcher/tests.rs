//! Launches that somebody ends while they are recorded, started or ended already.

use super::*;
use crate::stand::Stand;

fn worker() -> NewLaunch {
    NewLaunch::of(Purpose::Service, "worker.1".parse().unwrap())
}

#[test]
fn behind_the_end_of_all_nothing_is_recorded_or_started() {
    let stand = Stand::new();
    let (_, release) = stand.serve_release();
    let loaded = stand.control.load(&stand.key, release).unwrap();
    let recorded = stand.control.record_launch(&stand.key, release, worker()).unwrap();

    stand.control.stop_all().unwrap();

    assert_eq!(stand.state_of(&recorded), LaunchState::Ended);
    let refused = stand.control.start_launch(&stand.key, &recorded, &loaded, &Caller::default());
    assert!(matches!(refused, Err(ControlError::Stopping)), "{refused:?}");
    let refused = stand.control.record_launch(&stand.key, release, worker());
    assert!(matches!(refused, Err(ControlError::Stopping)), "{refused:?}");
}

#[test]
fn what_was_ended_before_its_start_is_not_started() {
    let stand = Stand::new();
    let (_, release) = stand.serve_release();
    let loaded = stand.control.load(&stand.key, release).unwrap();
    let recorded = stand.control.record_launch(&stand.key, release, worker()).unwrap();
    stand.control.end_launch(&recorded, None).unwrap();
    let refused = stand.control.start_launch(&stand.key, &recorded, &loaded, &Caller::default());
    assert!(matches!(refused, Err(ControlError::EndedBefore { .. })), "{refused:?}");
}

#[test]
fn a_process_that_was_over_before_its_starter_looked_has_been_started() {
    let stand = Stand::new();
    let (_, release) = stand.serve_release();
    let record = || stand.control.record_launch(&stand.key, release, worker()).unwrap();
    let (over, ended) = (record(), record());
    stand.control.clear_launch(&over, &ExitReason::Status(0).to_string()).unwrap();
    stand.control.end_launch(&ended, None).unwrap();
    assert!(stand.control.refuse_ended_unstarted(&over).is_ok());
    let refused = stand.control.refuse_ended_unstarted(&ended);
    assert!(matches!(refused, Err(ControlError::EndedBefore { .. })), "{refused:?}");
}

#[test]
fn a_port_is_given_back_once() {
    let stand = Stand::new();
    let (_, release) = stand.serve_release();
    let web = NewLaunch::of(Purpose::Service, "web.1".parse().unwrap());
    let launch = stand.control.record_launch(&stand.key, release, web).unwrap();
    let port = launch.port.unwrap();
    let is_given = || {
        let pool = format!("{:?}", stand.control.ports);
        pool.split_once("given").unwrap().1.contains(&port.to_string())
    };
    stand.control.clear_launch(&launch, "gone").unwrap();
    assert!(!is_given());
    // It is somebody else's now.
    stand.control.ports.hold(port);
    stand.control.clear_launch(&launch, "gone").unwrap();
    assert!(is_given());
}
