//! A time limit that is moved far more often than it is reached.
//!
//! The timer is only touched when a deadline comes before the one it is set to, or when it fires:
//! between requests that come quickly nobody touches it.

use std::{future::Future as _, pin::Pin, task::Context};

use tokio::time::{Instant, Sleep, sleep_until};

/// One timer for all the limits of a connection, one after another.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watchdog {
    /// Whether `deadline` has passed; if not, the task is woken by then at the latest.
    pub(crate) fn is_overdue(&mut self, cx: &mut Context<'_>, deadline: Instant) -> bool {
        loop {
            match &mut self.timer {
                // Armed, by this very task, and early enough.
                Some(timer) if !timer.is_elapsed() && timer.deadline() <= deadline => return false,
                Some(timer) => {
                    if Instant::now() >= deadline {
                        return true;
                    }
                    timer.as_mut().reset(deadline);
                    if timer.as_mut().poll(cx).is_pending() {
                        return false;
                    }
                }
                None => {
                    let mut timer = Box::pin(sleep_until(deadline));
                    let is_armed = timer.as_mut().poll(cx).is_pending();
                    self.timer = Some(timer);
                    if is_armed {
                        return false;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll, time::Duration};

    use super::*;

    #[test]
    fn a_deadline_that_moves_is_the_one_that_counts() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let start = Instant::now();
            let mut watchdog = Watchdog::default();
            let mut looks = 0;
            poll_fn(|cx| {
                looks += 1;
                // Far away at first, near at the second look, later at the third.
                let limit = [60_000, 10, 40][looks.min(3) - 1];
                if looks == 1 {
                    cx.waker().wake_by_ref();
                }
                let deadline = start + Duration::from_millis(limit);
                if watchdog.is_overdue(cx, deadline) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            assert!(start.elapsed() >= Duration::from_millis(40));
            assert!(looks >= 3, "{looks} looks");
        });
    }
}
