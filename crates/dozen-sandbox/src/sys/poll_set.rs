//! Waiting for many descriptors without allocating: the shim's and init's loops use this.

use std::{
    io,
    marker::PhantomData,
    os::fd::{AsRawFd as _, BorrowedFd},
    time::Duration,
};

use super::checked;

const CAPACITY: usize = 40;

/// Descriptors to wait for, and what became of them.
pub(crate) struct PollSet<'fd> {
    entries: [libc::pollfd; CAPACITY],
    used: usize,
    borrowed: PhantomData<BorrowedFd<'fd>>,
}

/// The place of a descriptor in its set.
#[derive(Clone, Copy)]
pub(crate) struct Place(usize);

impl<'fd> PollSet<'fd> {
    pub(crate) fn new() -> Self {
        let unused = libc::pollfd { fd: -1, events: 0, revents: 0 };
        Self { entries: [unused; CAPACITY], used: 0, borrowed: PhantomData }
    }

    /// Adds a descriptor. With neither reading nor writing, only its hangup is seen.
    pub(crate) fn add(&mut self, fd: BorrowedFd<'fd>, readable: bool, writable: bool) -> Place {
        let events = if readable { libc::POLLIN } else { 0 } | if writable { libc::POLLOUT } else { 0 };
        let place = self.used;
        assert!(place < CAPACITY, "the numbers of connections and pipes are bounded below the capacity");
        self.entries[place] = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
        self.used += 1;
        Place(place)
    }

    /// Waits until one is ready, or for `timeout` (for ever without one).
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let limit = timeout.map(|limit| libc::timespec {
            tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `used` entries of the array are initialised, `limit` is null or points to a value on
        // this stack, and a null mask changes nothing. Descriptors stay open: they are borrowed for 'fd.
        let status = unsafe {
            libc::ppoll(self.entries.as_mut_ptr(), self.used as libc::nfds_t, limit, std::ptr::null())
        };
        match checked(status.into()) {
            Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {
                self.entries[..self.used].iter_mut().for_each(|entry| entry.revents = 0);
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Whether the other end is gone altogether.
    pub(crate) fn has_hung_up(&self, place: Place) -> bool {
        self.entries[place.0].revents & (libc::POLLHUP | libc::POLLERR) != 0
    }

    /// Whether anything happened there: data, space, hangup.
    pub(crate) fn is_ready(&self, place: Place) -> bool {
        self.entries[place.0].revents != 0
    }
}
