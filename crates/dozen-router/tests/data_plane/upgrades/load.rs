//! Clients of several kinds that ask without pause, and what each kind has had.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;

use super::Site;

/// One turn of a client; what it keeps from one to the next is its own.
pub(super) type Turn = Box<dyn FnMut() -> Result<(), String> + Send>;

/// A kind of client, and how one is made.
pub(super) type Kind = (&'static str, fn(&Arc<Site>) -> Turn);

/// What clients of one kind have had.
#[derive(Default)]
struct Count {
    served: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

/// Clients that ask without pause.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    counts: Vec<(&'static str, Arc<Count>)>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// So many clients of each kind.
    pub(super) fn start(site: &Arc<Site>, kinds: &[Kind], of_each: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut counts, mut clients) = (Vec::new(), Vec::new());
        for &(name, client) in kinds {
            let count = Arc::<Count>::default();
            counts.push((name, Arc::clone(&count)));
            for _ in 0..of_each {
                let (mut turn, stop, count) = (client(site), Arc::clone(&stop), Arc::clone(&count));
                clients.push(thread::spawn(move || {
                    while !stop.load(SeqCst) {
                        match turn() {
                            Ok(()) => drop(count.served.fetch_add(1, SeqCst)),
                            Err(why) => count.failed.lock().push(why),
                        }
                    }
                }));
            }
        }
        Self { stop, counts, clients }
    }

    /// How many turns each kind has had.
    pub(super) fn served(&self) -> Vec<usize> {
        self.counts.iter().map(|(_, count)| count.served.load(SeqCst)).collect()
    }

    /// How many turns have failed so far.
    pub(super) fn failed(&self) -> usize {
        self.counts.iter().map(|(_, count)| count.failed.lock().len()).sum()
    }

    /// Ends it; what failed, by kind.
    pub(super) fn stop(mut self) -> Vec<String> {
        let panicked = self.end();
        let told = |(name, count): &(&str, Arc<Count>)| {
            let failed = count.failed.lock();
            let of = failed.len() + count.served.load(SeqCst);
            (!failed.is_empty())
                .then(|| format!("{name}: {} of {of} failed, first {:?}", failed.len(), failed[0]))
        };
        let mut failed: Vec<String> = self.counts.iter().filter_map(told).collect();
        failed.extend((panicked > 0).then(|| format!("{panicked} clients panicked")));
        failed
    }

    fn end(&mut self) -> usize {
        self.stop.store(true, SeqCst);
        self.clients.drain(..).filter_map(|client| client.join().err()).count()
    }
}

impl Drop for Load {
    /// Also when the test fails: its clients keep the router alive.
    fn drop(&mut self) {
        self.end();
    }
}
