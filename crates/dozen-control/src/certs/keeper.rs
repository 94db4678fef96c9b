//! The one who looks after certificates: makes local ones, wishes for those that domains need,
//! and works on what is due, one after the other.
//!
//! A thread of its own: an ACME server may take its time, and no deploy, no route and no request to
//! the API waits for it.
//!
//! Start reading at [`keep_certificates`].

use std::{sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};

use crate::{control::Control, error::ControlError, store::now};

/// The longest sleep: a clock that was set, and a wake that came too early, are noticed after it.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// What wakes the keeper.
#[derive(Debug, Default)]
pub(crate) struct CertificateKeeper {
    is_woken: Mutex<bool>,
    bell: Condvar,
    /// Held while the local authority is looked for or made.
    pub(super) authority: Mutex<()>,
    /// The certificate that is stored and that the router is being given: its try has not ended yet.
    pub(super) unshown: Mutex<Option<i64>>,
}

impl CertificateKeeper {
    /// Something that certificates follow from may have changed.
    pub(crate) fn wake(&self) {
        *self.is_woken.lock() = true;
        self.bell.notify_all();
    }

    /// Sleeps until then, or until it is woken.
    fn sleep(&self, limit: Duration) {
        let mut is_woken = self.is_woken.lock();
        if !*is_woken {
            self.bell.wait_for(&mut is_woken, limit);
        }
        *is_woken = false;
    }
}

/// Starts the keeper, and who gives certificates to a router that was started again.
pub(crate) fn keep_certificates(control: &Arc<Control>) -> Result<(), ControlError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ControlError::io("start the runtime of certificates"))?;
    let keeper = Arc::clone(control);
    std::thread::spawn(move || keeper.look_after_certificates(&runtime));
    let giver = Arc::clone(control);
    std::thread::spawn(move || {
        loop {
            giver.router.wait_for_stale_certificates();
            if giver.give_certificates().is_none() {
                return;
            }
        }
    });
    Ok(())
}

impl Control {
    fn look_after_certificates(&self, runtime: &tokio::runtime::Runtime) {
        // What the router has stored may be older than the store: it was killed between the two.
        let mut is_changed = true;
        while !self.is_ending() {
            let settled = self.keep_local_certificates().and_then(|made| Ok(made | self.wish_for_domains()?));
            match settled {
                Ok(made) => is_changed |= made,
                Err(error) => tracing::error!("could not look after certificates: {}", error.body().message),
            }
            if std::mem::take(&mut is_changed) && self.give_certificates().is_none() {
                return;
            }
            let pause = match self.due_certificate() {
                Ok(Ok(row)) => {
                    self.try_for_certificate(runtime, &row);
                    continue;
                }
                Ok(Err(next)) => next.map_or(LONGEST_SLEEP, |at| {
                    Duration::from_secs(u64::try_from(at - now()).unwrap_or(0).max(1))
                }),
                Err(error) => {
                    tracing::error!("could not look for due certificates: {}", error.body().message);
                    LONGEST_SLEEP
                }
            };
            self.keeper.sleep(pause.min(LONGEST_SLEEP));
        }
    }

    /// Gives the router the set of this moment, however often that takes; `None` at the server's end.
    pub(super) fn give_certificates(&self) -> Option<()> {
        self.until_done("give the router its certificates", || self.publish_certificates())
    }

    /// The same once, for who asked for a change, and the keeper looks at what follows from it.
    pub(super) fn certificates_changed(&self) -> Result<(), ControlError> {
        self.keeper.wake();
        self.publish_certificates()
    }
}
