//! Patience: what has to succeed is tried again until it does, or until the server ends.
//!
//! For work behind a point of no return, and for what may be wrong about a process that lives:
//! there an error is no answer, neither "failed" nor "dead". The facts that such work follows from
//! are in the store, so what one server does not get done the next one goes on with.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use crate::{control::Control, error::ControlError};

/// The first pause; each one is twice as long as the one before …
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often a pause looks whether the server ends.
const BEAT: Duration = Duration::from_millis(50);

impl Control {
    /// Tries until it is done; `None` when the server ends before that. `what` is said in the
    /// server's log when it could not be done, once for each reason.
    pub(crate) fn until_done<T>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> Result<T, ControlError>,
    ) -> Option<T> {
        let mut pause = FIRST_PAUSE;
        let mut told = String::new();
        loop {
            let error = match attempt() {
                Ok(done) => return Some(done),
                Err(error) => error.body().message,
            };
            if error != told {
                tracing::error!("could not {what}, and tries again: {error}");
                told = error;
            }
            if !self.rest(pause) {
                return None;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Sleeps; false when the server ends, at once.
    pub(crate) fn rest(&self, pause: Duration) -> bool {
        let mut left = pause;
        while !left.is_zero() && !self.is_ending() {
            let beat = left.min(BEAT);
            std::thread::sleep(beat);
            left -= beat;
        }
        !self.is_ending()
    }
}

/// Does work of which somebody waits for the end: a fault of ours in it is an error like others,
/// and ends neither the thread nor what else the thread is for.
///
/// What it was stands in the server's log, where the panic has written it.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T, ControlError>) -> Result<T, ControlError> {
    // What it had in its hands is in the store, or is made anew from there; no lock is poisoned.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(ControlError::Panicked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand::Stand;

    #[test]
    fn what_cannot_be_done_is_tried_again_until_it_can() {
        let stand = Stand::new();
        let mut left = 3;
        let done = stand.control.until_done("count", || {
            left -= 1;
            if left == 0 { Ok("counted") } else { Err(ControlError::NoProcesses) }
        });
        assert_eq!(done, Some("counted"));
    }

    #[test]
    fn the_end_of_the_server_is_the_end_of_patience() {
        let stand = Stand::new();
        stand.control.end();
        assert_eq!(stand.control.until_done("wait", || Err::<(), _>(ControlError::NoProcesses)), None);
    }
}
