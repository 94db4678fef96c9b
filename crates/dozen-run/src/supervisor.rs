//! The supervisor: starts, watches, stops and re-adopts instances through their shims.
//!
//! ```text
//! start --> running --shim lost--> adopt --> running
//!             |  \--crash--> back-off --> running          (the shim's own doing)
//!             \--stop: signal, grace period, kill--> exited --> remove
//! ```
//!
//! The promise: whatever becomes of the process that holds a [`Supervisor`], the instances go
//! on, and the next one finds each of them by [`Supervisor::list`] and takes it over by
//! [`Supervisor::adopt`]. Nothing here is a parent's privilege: an instance is known by its
//! folder, by the boot it belongs to, and by who answers on its sockets, so it makes no
//! difference who started it.
//!
//! It relies on one folder on a local file system that ends with the boot (`/run`), and on being
//! the only supervisor of it; the lock on the state folder is control's matter. It decides
//! nothing: what runs, how many of it and in which order is control's, too. It blocks the
//! calling thread and uses no async runtime.
//!
//! Start reading at [`Supervisor::start`].

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::{fs::DirBuilderExt, net::UnixStream},
    path::PathBuf,
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

use dozen_sandbox::{
    boot_id,
    client::{LaunchMode, Observation},
    listeners::listeners_inside,
    spec::{LaunchSpec, TerminalSize},
    state,
};
use parking_lot::Mutex;

use crate::{InstanceState, LaunchId, Memory, RunError, exit::ExitReason, memory::memory_inside};

mod board;
mod shim_link;
mod stop;
mod watch;

use board::Board;
pub use board::InstanceEvent;
use shim_link::ShimLink;
use watch::Watcher;

/// Starts, watches, stops and re-adopts instances.
#[derive(Debug)]
pub struct Supervisor {
    binary: PathBuf,
    instances: PathBuf,
    board: Arc<Board>,
    watcher: Watcher,
    /// Held by who removes a folder: another's bar on it would be a new file in what is emptied.
    removing: Mutex<()>,
}

/// How soon, and how often, a shim that does not answer (not yet, or no more) is looked at again.
const SHIM_SILENT: (Duration, u32) = (Duration::from_millis(10), 50);

/// What became of an instance while nobody watched it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adoption {
    /// It is under way, in whatever phase, and is watched from now on.
    Running(Box<InstanceState>),
    /// It ended and will not be started again.
    Exited(ExitReason),
    /// Nothing of it is left, and nobody knows how it ended: it never began, or the machine went
    /// down under it.
    Gone,
}

impl Supervisor {
    /// A supervisor of the instances below `run_dir`, whose shims are `binary` with `shim` as its
    /// first argument.
    ///
    /// Adopts nothing by itself: that needs the launch specs.
    pub fn new(binary: PathBuf, run_dir: PathBuf) -> Result<Self, RunError> {
        let instances = run_dir.join("i");
        let private = fs::DirBuilder::new().recursive(true).mode(0o700).create(&instances);
        private.map_err(|source| RunError::Folder { path: instances.clone(), source })?;
        let board = Arc::new(Board::default());
        let watcher = Watcher::start(Arc::clone(&board)).map_err(|source| RunError::NoListener { source })?;
        Ok(Self { binary, instances, board, watcher, removing: Mutex::new(()) })
    }

    /// The folder of one instance.
    pub fn folder(&self, id: &LaunchId) -> PathBuf {
        self.instances.join(id.as_str())
    }

    /// Starts an instance under a new id and returns once its shim has taken over.
    ///
    /// An error leaves nothing behind that runs.
    pub fn start(&self, id: &LaunchId, spec: &LaunchSpec) -> Result<InstanceState, RunError> {
        let folder = self.folder(id);
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(RunError::Exists { id: id.clone() });
            }
            Err(source) => return Err(RunError::Folder { path: folder, source }),
        }
        self.board.note_restarts(id, 0);
        let started = self.keep(id, spec, LaunchMode::Start);
        if started.is_err() {
            // The shim may be there already and only slow to say so.
            let _ = self.kill(id);
            let _ = self.remove(id);
        }
        started
    }

    /// Takes over an instance that an earlier supervisor started, or whose shim died.
    ///
    /// `spec` is asked only when a new shim is needed.
    pub fn adopt(
        &self,
        id: &LaunchId,
        spec: impl FnOnce() -> Result<LaunchSpec, RunError>,
    ) -> Result<Adoption, RunError> {
        let mut spec = Some(spec);
        let mut silent = 0;
        loop {
            let state = match self.link(id).observe()? {
                // A folder without a state: its shim may be about to write the first one, and what
                // is called gone must not begin afterwards.
                Observation::Absent if silent < SHIM_SILENT.1 && self.folder(id).exists() => {
                    silent += 1;
                    std::thread::sleep(SHIM_SILENT.0);
                    continue;
                }
                Observation::Absent => return Ok(self.gone(id)),
                Observation::Over(last) => self.over(id, *last),
                Observation::Kept(last) => {
                    self.board.note_restarts(id, last.restarts);
                    match self.follow(id) {
                        Ok(state) => state,
                        // A shim that dies in this moment is found dead in the next round.
                        Err(_) if silent < SHIM_SILENT.1 => {
                            silent += 1;
                            std::thread::sleep(SHIM_SILENT.0);
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                }
                Observation::Ended(last) if boot_id().is_ok_and(|now| now != last.boot_id) => {
                    return Ok(self.gone(id));
                }
                // The next shim takes init's pipes over, or the exit record, and goes on from there.
                Observation::Orphaned(last) | Observation::Ended(last) => {
                    self.board.note_restarts(id, last.restarts);
                    let Some(spec) = spec.take() else {
                        return Err(RunError::NoShimStays { id: id.clone() });
                    };
                    match self.keep(id, &spec()?, LaunchMode::Adopt) {
                        Ok(state) => state,
                        // It was stopped and removed, or another shim was faster.
                        Err(_) if self.is_taken(id) => continue,
                        Err(error) => return Err(error),
                    }
                }
            };
            return Ok(match state.exit() {
                Some(reason) => Adoption::Exited(reason),
                None => Adoption::Running(Box::new(state)),
            });
        }
    }

    /// Whether somebody else has seen to an instance: a shim keeps it, or it is over, or removed.
    fn is_taken(&self, id: &LaunchId) -> bool {
        !matches!(self.link(id).observe(), Ok(Observation::Orphaned(_) | Observation::Ended(_)) | Err(_))
    }

    /// The last known state.
    pub fn status(&self, id: &LaunchId) -> Result<InstanceState, RunError> {
        if let Some(known) = self.board.get(id) {
            return Ok(known);
        }
        let (last, shim_lost) = match self.link(id).observe()? {
            Observation::Absent => return Err(RunError::NoSuchLaunch { id: id.clone() }),
            Observation::Kept(last) | Observation::Over(last) => (last, false),
            Observation::Orphaned(last) | Observation::Ended(last) => (last, true),
        };
        Ok(InstanceState { reported: *last, shim_lost })
    }

    /// Every launch that has a folder, in the order of their names.
    pub fn list(&self) -> Result<Vec<LaunchId>, RunError> {
        let unusable = |source| RunError::Folder { path: self.instances.clone(), source };
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.instances).map_err(unusable)? {
            let entry = entry.map_err(unusable)?;
            ids.extend(entry.file_name().to_str().and_then(|name| name.parse::<LaunchId>().ok()));
        }
        ids.sort();
        Ok(ids)
    }

    /// Removes what is left of an instance that ended; refuses while anything of it lives.
    ///
    /// One that is not there is removed already. Several may ask at once: who stops an instance, and
    /// who hears of its end.
    pub fn remove(&self, id: &LaunchId) -> Result<(), RunError> {
        let folder = self.folder(id);
        // Retired first: an adoption that is on its way would start it anew in a folder that goes.
        let is_over = self.is_over(id, Duration::from_secs(2));
        let _alone = self.removing.lock();
        match is_over.and_then(|is_over| Ok(is_over && self.link(id).retire()?)) {
            Ok(false) => return Err(RunError::StillRuns { id: id.clone() }),
            // Somebody else removes it in this moment.
            Err(error) if folder.exists() => return Err(error),
            Ok(true) | Err(_) => {}
        }
        self.watcher.forget(id.clone());
        self.board.forget(id);
        match fs::remove_dir_all(&folder) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(RunError::Folder { path: folder, source })
            }
            _ => Ok(()),
        }
    }

    /// Every change of every instance from now on. A receiver that is dropped is forgotten.
    pub fn subscribe(&self) -> Receiver<InstanceEvent> {
        self.board.subscribe()
    }

    /// Attaches to a one-off process; see [`crate::one_off`].
    pub fn attach(&self, id: &LaunchId, terminal: Option<TerminalSize>) -> Result<UnixStream, RunError> {
        let attached = self.link(id).attach(terminal);
        attached.map_err(|source| RunError::NotAttachable { id: id.clone(), source })
    }

    /// Waits for the next end of an incarnation and says how it ended; `None` if it lives on
    /// after `timeout`.
    ///
    /// "Next" counts from [`Supervisor::start`] or the first [`Supervisor::adopt`], and a crash
    /// that the shim has answered with a restart counts: a launch is judged by its first life.
    pub fn first_exit_within(&self, id: &LaunchId, timeout: Duration) -> Option<ExitReason> {
        let before = self.board.restarts_before(id);
        self.board.wait(id, timeout, |state| state.exit_after(before))
    }

    /// Waits for the end after which nothing is started again; `None` if it has not come in time.
    pub fn wait_exit(&self, id: &LaunchId, timeout: Duration) -> Option<ExitReason> {
        self.board.wait(id, timeout, InstanceState::exit)
    }

    /// The addresses on which processes inside listen for TCP, or `None` where that cannot be seen.
    pub fn listeners(&self, id: &LaunchId) -> Option<Vec<SocketAddr>> {
        let state = self.board.get(id)?.reported;
        let (Some(init), Some(main)) = (state.init, state.main) else {
            // Its program does not run yet, or no more.
            return Some(Vec::new());
        };
        // Who may not see the descriptors of a process would find no sockets, and take that for none.
        fs::read_dir(format!("/proc/{}/fd", main.pid)).ok()?;
        init.exists().then(|| listeners_inside(init.pid).into_iter().collect())
    }

    /// The memory of everything inside, or `None` when nothing runs.
    pub fn memory(&self, id: &LaunchId) -> Option<Memory> {
        let init = self.board.get(id)?.reported.init?;
        init.exists().then(|| memory_inside(init.pid)).flatten()
    }

    fn link(&self, id: &LaunchId) -> ShimLink {
        ShimLink::new(self.folder(id))
    }

    /// Starts a shim and follows it.
    fn keep(&self, id: &LaunchId, spec: &LaunchSpec, mode: LaunchMode) -> Result<InstanceState, RunError> {
        let shim = self.link(id).spawn(&self.binary, spec, mode)?;
        self.watcher.reap(shim);
        self.follow(id)
    }

    /// Subscribes to a shim. One that has ended its work since is known by what it left.
    fn follow(&self, id: &LaunchId) -> Result<InstanceState, RunError> {
        let link = self.link(id);
        match link.subscribe() {
            Ok((stream, first)) => {
                // Posted before the watcher hears more: after that it would overwrite news.
                self.board.post(id, InstanceState::of(first.clone()));
                let watched = self.watcher.watch(id.clone(), stream, first.clone());
                watched.map_err(|source| RunError::NoListener { source })?;
                Ok(InstanceState::of(first))
            }
            Err(error) => match link.observe() {
                Ok(Observation::Over(last)) => Ok(self.over(id, *last)),
                _ => Err(error.into()),
            },
        }
    }

    /// Posts the last state of an instance that is over.
    fn over(&self, id: &LaunchId, last: state::InstanceState) -> InstanceState {
        let state = InstanceState::of(last);
        self.board.post(id, state.clone());
        state
    }

    fn gone(&self, id: &LaunchId) -> Adoption {
        self.board.forget(id);
        Adoption::Gone
    }
}
