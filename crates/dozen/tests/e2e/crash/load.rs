//! A background loop of requests that never retries: each one that fails is kept.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::{client, host::TestHost};

/// The loop. Dropping it without [`Load::stop`] lets it end by itself.
pub(crate) struct Load {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<Served>,
}

/// What the loop saw.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub(crate) answered: usize,
    pub(crate) failed: Vec<String>,
}

impl Load {
    /// Asks for `/` of an app until it is stopped, each time on a connection of its own.
    pub(crate) fn on(host: &TestHost, app: &str) -> Self {
        let ending = Arc::new(AtomicBool::new(false));
        let (told, port, app) = (Arc::clone(&ending), host.port(), app.to_owned());
        let thread = std::thread::spawn(move || {
            let request = format!("GET / HTTP/1.1\r\nHost: {app}.localhost\r\nConnection: close\r\n\r\n");
            let mut served = Served::default();
            while !told.load(Ordering::Relaxed) {
                match client::try_request(port, &request) {
                    Ok(answer) if answer.status == 200 => served.answered += 1,
                    Ok(answer) => served.failed.push(format!("{answer:?}")),
                    Err(error) => served.failed.push(error.to_string()),
                }
                // The pace leaves the machine to the server under test.
                std::thread::sleep(Duration::from_millis(3));
            }
            served
        });
        Self { ending, thread }
    }

    /// Ends the loop; every request must have been answered.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.ending.store(true, Ordering::Relaxed);
        let served = self.thread.join().expect("the loop");
        assert!(served.answered > 0 && served.failed.is_empty(), "{served:?}");
    }
}
