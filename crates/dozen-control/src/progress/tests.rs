//! What followers hear, and what is kept.

use super::*;

async fn heard(follower: &mut Follower) -> Vec<Progress> {
    let mut heard = Vec::new();
    while let Some(event) = follower.next().await {
        heard.push(event);
    }
    heard
}

#[tokio::test]
async fn a_late_follower_hears_all_events_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = ProgressLog::kept(&folder.path().join("deploys/1.ndjson"));
    log.warn("first");
    let mut follower = log.follow();
    log.warn("second");
    log.send(failed(&ControlError::Cancelled));
    let events = heard(&mut follower).await;
    assert_eq!(events.len(), 3, "{events:?}");
    assert_eq!(events[0], Progress::Warning { text: "first".into() });
    assert_eq!(heard(&mut log.follow()).await, events);
}

#[tokio::test]
async fn a_follower_that_is_behind_keeps_nobody_and_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = ProgressLog::kept(&folder.path().join("1.ndjson"));
    log.line("0");
    let mut follower = log.follow();
    let lines = 3 * MOST_WAITING;
    (1..lines).for_each(|number| log.line(number.to_string()));
    assert!(log.inner.lock().followers.is_empty(), "it is not waited for");
    let mut events = Vec::new();
    while events.len() < lines {
        events.extend(follower.next().await);
    }
    log.send(failed(&ControlError::Cancelled));
    events.extend(heard(&mut follower).await);
    let numbered = |number: usize| Progress::Log { line: number.to_string() };
    assert_eq!(events.len(), lines + 1);
    assert!(events.iter().take(lines).enumerate().all(|(at, event)| *event == numbered(at)));
}

#[tokio::test]
async fn the_last_event_is_heard_where_the_disk_was_full() {
    let folder = tempfile::tempdir().unwrap();
    let log = ProgressLog::kept(&folder.path().join("no.ndjson"));
    log.inner.lock().file = None;
    log.send(failed(&ControlError::Cancelled));
    assert_eq!(heard(&mut log.follow()).await, [failed(&ControlError::Cancelled)]);
}

#[test]
fn lines_end_at_the_limit_and_other_events_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.ndjson");
    let log = ProgressLog::kept(&path);
    let line = "x".repeat(1 << 20);
    (0..20).for_each(|_| log.line(line.clone()));
    log.send(failed(&ControlError::Cancelled));
    assert!(std::fs::metadata(&path).unwrap().len() < MOST_KEPT + (2 << 20));
    let events = log.so_far();
    assert!(matches!(events.last(), Some(Progress::Finished { .. })));
    let left_out = "(more than 16 MiB of output; the rest is left out)".to_owned();
    assert_eq!(events[events.len() - 2], Progress::Log { line: left_out });
}

#[test]
fn no_more_is_read_than_would_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.ndjson");
    let line = serde_json::to_string(&Progress::Log { line: "x".repeat(1 << 20) }).unwrap() + "\n";
    std::fs::write(&path, line.repeat(24)).unwrap();
    assert_eq!(read(&path).len(), 19);
}

#[test]
fn a_torn_last_line_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.ndjson");
    std::fs::write(&path, "{\"event\":\"warning\",\"text\":\"a\"}\n{\"event\":\"warn").unwrap();
    assert_eq!(read(&path).len(), 1);
}

#[tokio::test]
async fn a_follower_of_work_that_nobody_does_any_more_comes_to_an_end() {
    let log = ProgressLog::heard();
    let mut follower = log.follow();
    log.warn("begun");
    drop(log);
    assert_eq!(heard(&mut follower).await, [Progress::Warning { text: "begun".into() }]);
}

#[tokio::test]
async fn a_follower_that_is_behind_hears_the_end_of_work_that_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let log = ProgressLog::kept(&folder.path().join("1.ndjson"));
    let mut follower = log.follow();
    (0..2 * MOST_WAITING).for_each(|number| log.line(number.to_string()));
    log.send(failed(&ControlError::Cancelled));
    drop(log);
    let events = heard(&mut follower).await;
    assert_eq!(events.len(), 2 * MOST_WAITING + 1);
    assert_eq!(events.last(), Some(&failed(&ControlError::Cancelled)));
}
