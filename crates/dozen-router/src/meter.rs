//! What is counted of the requests of one stage, for [`metrics`](crate::metrics).
//!
//! Each thread counts in cells of its own, on cache lines of their own: an addition is a load and a
//! store, without a lock on the bus, and never waits for another thread. Whoever asks sums them up.
//! A stage that had no request yet has no cells. A meter belongs to a stage's name and survives
//! changes of the table; when the stage leaves the table, its meter goes with its last request.
//!
//! Nothing a client sends makes a new cell: methods, statuses and codes are folded into a few.
//!
//! Start reading at [`StageMeter`].

use std::{
    array::from_fn,
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Method;

use crate::{h_code::HCode, rotation::Trouble};

/// Upper bounds of the latency histogram, and how they are written in seconds. The last bucket, for
/// all that took longer, stands behind them.
pub(crate) const BUCKETS: [(Duration, &str); 15] = [
    (Duration::from_micros(1000), "0.001"),
    (Duration::from_micros(2500), "0.0025"),
    (Duration::from_millis(5), "0.005"),
    (Duration::from_millis(10), "0.01"),
    (Duration::from_millis(25), "0.025"),
    (Duration::from_millis(50), "0.05"),
    (Duration::from_millis(100), "0.1"),
    (Duration::from_millis(250), "0.25"),
    (Duration::from_millis(500), "0.5"),
    (Duration::from_millis(1000), "1"),
    (Duration::from_millis(2500), "2.5"),
    (Duration::from_secs(5), "5"),
    (Duration::from_secs(10), "10"),
    (Duration::from_secs(30), "30"),
    (Duration::from_secs(60), "60"),
];

/// How methods are told apart.
pub(crate) const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];
/// How statuses are told apart.
pub(crate) const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

/// Which of the threads that serve requests this is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thread {
    pub(crate) index: usize,
    /// How many there are.
    pub(crate) of: usize,
}

/// A number that one thread writes and any may read.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds to it. Two threads that did so would lose additions of each other.
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn take_back(&self) {
        self.add(u64::MAX);
    }
}

/// What one thread has counted of a stage.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ThreadMeter {
    begun: Count,
    ended: [[Count; CLASSES.len()]; METHODS.len()],
    codes: [Count; HCode::ALL.len()],
    buckets: [Count; BUCKETS.len() + 1],
    nanos: Count,
    received: Count,
    sent: Count,
    upgraded: Count,
    upgrades_over: Count,
    /// Requests that had to wait.
    pub(crate) held: Count,
    /// Requests that an instance did not take, and that went on to another one.
    pub(crate) not_sent: Count,
    /// Requests that were sent again because their connection had died.
    pub(crate) replayed: Count,
}

/// A request that is over.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) method: &'a Method,
    pub(crate) status: u16,
    pub(crate) code: Option<HCode>,
    /// From the instance's getting it to the end of the answer, if one got it.
    pub(crate) service: Option<Duration>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

impl ThreadMeter {
    /// A request of this stage begins.
    pub(crate) fn begin(&self) {
        self.begun.add(1);
    }

    /// One that had begun goes on as another stage's.
    pub(crate) fn leave(&self) {
        self.begun.take_back();
    }

    /// One became an upgraded connection.
    pub(crate) fn upgrade(&self) {
        self.upgraded.add(1);
    }

    /// One is over.
    pub(crate) fn end(&self, request: &Ended<'_>) {
        self.ended[method_index(request.method)][class_index(request.status)].add(1);
        if let Some(code) = request.code {
            self.codes[code as usize].add(1);
        }
        self.received.add(request.received);
        self.sent.add(request.sent);
        if request.status == 101 {
            // How long somebody stays connected says nothing about the app.
            self.upgrades_over.add(1);
        } else if let Some(took) = request.service {
            let bucket = BUCKETS.iter().position(|(most, _)| took <= *most).unwrap_or(BUCKETS.len());
            self.buckets[bucket].add(1);
            self.nanos.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }
}

fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        _ => 7,
    }
}

fn class_index(status: u16) -> usize {
    match status {
        100..600 => usize::from(status) / 100 - 1,
        _ => 5,
    }
}

/// What is counted of one stage, by all threads.
#[derive(Debug, Default)]
pub(crate) struct StageMeter {
    /// Requests that wait now.
    pub(crate) held_now: AtomicUsize,
    threads: OnceLock<Box<[ThreadMeter]>>,
    /// Instances put out of rotation, in the order of [`Trouble::ALL`]; by any thread, and rare.
    pub(crate) ejections: [AtomicU64; Trouble::ALL.len()],
    /// Liveness probes that passed, and those that failed.
    pub(crate) probes: [AtomicU64; 2],
}

impl StageMeter {
    /// The cells of this thread, which alone writes them.
    pub(crate) fn of(&self, thread: Thread) -> &ThreadMeter {
        let make = || (0..thread.of).map(|_| ThreadMeter::default()).collect();
        &self.threads.get_or_init(make)[thread.index]
    }

    /// All that was counted; `None` before the first request.
    pub(crate) fn sum(&self) -> Option<Sum> {
        let threads: &[ThreadMeter] = self.threads.get()?;
        let all = |count: &dyn Fn(&ThreadMeter) -> &Count| {
            threads.iter().fold(0_u64, |sum, one| sum.wrapping_add(count(one).get()))
        };
        // What ends between two looks must not seem to have ended before it began.
        let ended = from_fn(|method| from_fn(|class| all(&|one| &one.ended[method][class])));
        let upgrades_over = all(&|one| &one.upgrades_over);
        let upgraded = all(&|one| &one.upgraded);
        let begun = all(&|one| &one.begun);
        let open = begun.saturating_sub(ended.as_flattened().iter().sum());
        let upgrades_open = upgraded.saturating_sub(upgrades_over);
        Some(Sum {
            in_flight: open.saturating_sub(upgrades_open),
            ended,
            codes: from_fn(|code| all(&|one| &one.codes[code])),
            buckets: from_fn(|bucket| all(&|one| &one.buckets[bucket])),
            service: Duration::from_nanos(all(&|one| &one.nanos)),
            received: all(&|one| &one.received),
            sent: all(&|one| &one.sent),
            upgraded,
            upgrades_open,
            held: all(&|one| &one.held),
            not_sent: all(&|one| &one.not_sent),
            replayed: all(&|one| &one.replayed),
        })
    }
}

/// What all threads have counted of a stage.
#[derive(Debug)]
pub(crate) struct Sum {
    /// Without upgraded connections.
    pub(crate) in_flight: u64,
    pub(crate) ended: [[u64; CLASSES.len()]; METHODS.len()],
    pub(crate) codes: [u64; HCode::ALL.len()],
    pub(crate) buckets: [u64; BUCKETS.len() + 1],
    pub(crate) service: Duration,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) upgraded: u64,
    pub(crate) upgrades_open: u64,
    pub(crate) held: u64,
    pub(crate) not_sent: u64,
    pub(crate) replayed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: [Thread; 2] = [Thread { index: 0, of: 2 }, Thread { index: 1, of: 2 }];

    fn ended(method: &Method, status: u16, service: Option<Duration>) -> Ended<'_> {
        Ended { method, status, code: None, service, received: 1, sent: 2 }
    }

    #[test]
    fn threads_are_summed_and_a_quiet_stage_has_nothing() {
        let meter = StageMeter::default();
        assert!(meter.sum().is_none());
        for thread in TWO {
            (0..3).for_each(|_| meter.of(thread).begin());
            meter.of(thread).end(&ended(&Method::POST, 404, Some(Duration::from_micros(1001))));
        }
        meter.of(TWO[0]).leave();
        let sum = meter.sum().unwrap();
        assert_eq!((sum.in_flight, sum.ended[2][3], sum.buckets[1]), (3, 2, 2));
        assert_eq!((sum.received, sum.sent, sum.service), (2, 4, Duration::from_micros(2002)));
    }

    #[test]
    fn what_nobody_knows_is_other_and_an_upgrade_is_no_latency() {
        let meter = StageMeter::default();
        let mine = meter.of(TWO[0]);
        let odd = Method::from_bytes(b"X-ANY").unwrap();
        (0..3).for_each(|_| mine.begin());
        mine.end(&ended(&odd, 999, Some(Duration::from_secs(61))));
        mine.upgrade();
        let sum = meter.sum().unwrap();
        assert_eq!((sum.in_flight, sum.upgrades_open), (1, 1));
        assert_eq!((sum.ended[7][5], sum.buckets[BUCKETS.len()]), (1, 1));
        mine.end(&ended(&Method::GET, 101, Some(Duration::from_secs(1))));
        let sum = meter.sum().unwrap();
        assert_eq!((sum.in_flight, sum.upgrades_open, sum.upgraded), (1, 0, 1));
        assert_eq!((sum.ended[0][0], sum.buckets.iter().sum::<u64>()), (1, 1));
    }
}
