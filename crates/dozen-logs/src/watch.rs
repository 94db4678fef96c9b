//! Waiting for a log folder to change: by inotify, or by looking again where there is none.
//!
//! inotify may be refused (a kernel limit on instances or watches) and says so at once; then the
//! follower polls. It may also miss events; the kernel says so, and everything is looked at.
//!
//! Start reading at [`Watch::wait`].

use std::{
    collections::{HashMap, HashSet},
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};

use crate::{StreamId, files::Folder};

/// How often is looked where inotify does not help.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What a watched folder is to the follower.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Watched {
    /// A folder in which streams appear.
    Stage,
    /// The folder of one stream.
    Stream(StreamId),
}

/// What may have changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Anything may have.
    pub(crate) all: bool,
    pub(crate) folders: HashSet<Watched>,
}

/// Waits for changes in folders.
#[derive(Debug)]
pub(crate) struct Watch {
    /// `None` where we look again instead.
    inotify: Option<OwnedFd>,
    folders: HashMap<i32, Watched>,
}

impl Watch {
    /// Watches nothing yet.
    pub(crate) fn new(poll: bool) -> Self {
        let inotify =
            if poll { None } else { inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok() };
        Self { inotify, folders: HashMap::new() }
    }

    /// Watches one more folder; a second time is no harm.
    pub(crate) fn add(&mut self, folder: &Folder, watched: Watched) {
        let Some(fd) = &self.inotify else { return };
        let events = match watched {
            Watched::Stage => WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE,
            Watched::Stream(_) => WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MODIFY,
        };
        match inotify::add_watch(fd, folder.handle_path(), events | WatchFlags::ONLYDIR) {
            Ok(number) => {
                self.folders.insert(number, watched);
            }
            // Gone again: discovery will see that.
            Err(Errno::NOENT) => {}
            Err(error) => {
                tracing::debug!(%error, "inotify cannot watch more, so logs are polled");
                self.inotify = None;
            }
        }
    }

    /// Waits for a change, at most for `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> io::Result<Changes> {
        let Some(fd) = &self.inotify else {
            std::thread::sleep(limit.min(LOOK_AGAIN));
            return Ok(Changes { all: true, ..Changes::default() });
        };
        let limit = Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 });
        match rustix::event::poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&limit)) {
            Ok(0) | Err(Errno::INTR) => Ok(Changes::default()),
            Ok(_) => drain(fd, &mut self.folders),
            Err(error) => Err(error.into()),
        }
    }
}

fn drain(fd: &OwnedFd, folders: &mut HashMap<i32, Watched>) -> io::Result<Changes> {
    let mut changes = Changes::default();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(fd, &mut buffer);
    loop {
        let event = match events.next() {
            Ok(event) => event,
            Err(Errno::AGAIN) => return Ok(changes),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            changes.all = true;
        }
        if let Some(watched) = folders.get(&event.wd()) {
            changes.folders.insert(watched.clone());
        }
        if event.events().contains(ReadFlags::IGNORED) {
            folders.remove(&event.wd());
        }
    }
}
