//! Whether an instance is in rotation: whether requests go to it while others are there.
//!
//! ```text
//! takes no connection                        -> out at once
//! closes new ones without an answer, 3 times
//!   with no answer in between                -> out
//! fails its liveness probe                   -> out until it passes
//! ```
//!
//! What is out gets no request as long as another instance is in, so a stage never has none because
//! of this. It is in again with its first answer, or when [`prober`](crate::prober) finds that it
//! takes connections; each time it is put out again without an answer in between, that takes twice
//! as long. All threads share it, and an instance that does well writes nothing here.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    time::Duration,
};

/// Connections closed without an answer that put an instance out. One can be the request's fault.
const MOST_LOST: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why an instance is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It takes no connection.
    Refused,
    /// It closes connections without an answer.
    Lost,
    /// It fails its probe.
    Probe,
}

impl Trouble {
    /// All of them in their order, with their names.
    pub(crate) const ALL: [(Self, &str); 3] =
        [(Self::Refused, "refused"), (Self::Lost, "lost"), (Self::Probe, "probe")];
}

/// How one instance stands.
#[derive(Debug, Default)]
pub(crate) struct Rotation {
    is_ejected: AtomicBool,
    is_unwell: AtomicBool,
    /// Whether there is anything for an answer to clear.
    is_noted: AtomicBool,
    /// Connections closed without an answer since the last answer.
    lost: AtomicU32,
    /// How often it was put out since the last answer.
    ejections: AtomicU32,
}

impl Rotation {
    /// Whether it gets requests while others are there.
    pub(crate) fn is_in(&self) -> bool {
        !self.is_ejected() && !self.is_unwell()
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.is_ejected.load(SeqCst)
    }

    /// Whether it fails its probe.
    pub(crate) fn is_unwell(&self) -> bool {
        self.is_unwell.load(SeqCst)
    }

    /// Notes an answer: it does its work.
    pub(crate) fn note_answer(&self) {
        if self.is_noted.load(SeqCst) {
            self.is_noted.store(false, SeqCst);
            self.lost.store(0, SeqCst);
            self.ejections.store(0, SeqCst);
            self.is_ejected.store(false, SeqCst);
        }
    }

    /// Notes that a request got no answer. True when that puts it out.
    pub(crate) fn note(&self, trouble: Trouble) -> bool {
        if trouble == Trouble::Lost && self.lost.fetch_add(1, SeqCst) + 1 < MOST_LOST {
            self.is_noted.store(true, SeqCst);
            return false;
        }
        self.lost.store(0, SeqCst);
        let is_new = !self.is_ejected.swap(true, SeqCst);
        if is_new {
            self.ejections.fetch_add(1, SeqCst);
        }
        self.is_noted.store(true, SeqCst);
        is_new
    }

    /// Takes it in again for a trial: true when it was out until now.
    pub(crate) fn readmit(&self) -> bool {
        self.is_ejected.swap(false, SeqCst)
    }

    /// Notes what its probe said; true when that is news.
    pub(crate) fn set_unwell(&self, is_unwell: bool) -> bool {
        self.is_unwell.swap(is_unwell, SeqCst) != is_unwell
    }

    /// How long it stays out at first.
    pub(crate) fn pause(&self) -> Duration {
        let doublings = self.ejections.load(SeqCst).saturating_sub(1).min(10);
        (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_ejects_at_once_and_lost_answers_only_in_a_row() {
        let rotation = Rotation::default();
        assert!(rotation.is_in() && rotation.note(Trouble::Refused));
        assert!(!rotation.is_in() && !rotation.note(Trouble::Refused), "it is no news");
        rotation.note_answer();
        for _ in 0..10 {
            assert!(!rotation.note(Trouble::Lost) && !rotation.note(Trouble::Lost));
            rotation.note_answer();
        }
        assert!(!rotation.note(Trouble::Lost) && !rotation.note(Trouble::Lost) && rotation.is_in());
        assert!(rotation.note(Trouble::Lost) && !rotation.is_in());
    }

    #[test]
    fn the_pause_doubles_until_an_answer_and_has_an_end() {
        let rotation = Rotation::default();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            rotation.note(Trouble::Refused);
            pauses.push(rotation.pause().as_millis());
            assert!(rotation.readmit() && !rotation.readmit());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        rotation.note_answer();
        rotation.note(Trouble::Refused);
        assert_eq!(rotation.pause(), FIRST_PAUSE);
    }

    #[test]
    fn an_answer_is_no_cure_for_who_fails_the_probe() {
        let rotation = Rotation::default();
        assert!(rotation.set_unwell(true) && !rotation.set_unwell(true));
        rotation.note_answer();
        assert!(!rotation.is_in());
        assert!(rotation.set_unwell(false) && rotation.is_in());
    }
}
