//! One life of the app: begin it, take it over from a dead shim, and draw the conclusion of its end.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    process::{WaitId, WaitIdOptions, waitid},
};

use super::{
    backoff::{HEALTHY_LIFE, pause_after},
    keep::Shim,
};
use crate::{
    exit_record::ExitRecord,
    init::{self, Cradle, orders, orders::Order},
    instance_dir::ROOT,
    process_identity::ProcessIdentity,
    spec::Restart,
    state::{Exit, ExitStatus, Phase, unix_nanos},
    streams::{self, KeptEnds},
    sys::fork::{self, Forked},
    walls,
};

/// How long an init that does not accept is asked again.
const ACCEPT_WAIT: Duration = Duration::from_secs(3);

/// The current life.
pub(super) struct Run {
    /// Means init; an adopting shim may have to wait for it.
    pub(super) init: Option<OwnedFd>,
    /// Where init hears orders.
    pub(super) orders: Option<OwnedFd>,
    /// Copies of the ends that init keeps.
    pub(super) kept: KeptEnds,
    /// Init and everything inside is gone.
    pub(super) has_ended: bool,
    /// The kept ends were received: what is not in `kept` has ended.
    pub(super) is_taken_over: bool,
    /// When everything inside was ordered to be killed.
    pub(super) kill_ordered: Option<Instant>,
}

impl Run {
    fn new(init: Option<OwnedFd>, orders: Option<OwnedFd>) -> Self {
        let kept = KeptEnds::default();
        Self { init, orders, kept, has_ended: false, is_taken_over: false, kill_ordered: None }
    }

    /// Sends an order; an init that is gone needs none.
    pub(super) fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            let _ = order.send(orders);
        }
    }
}

impl Shim {
    /// Goes on where the state says: nothing yet, a life that may go on, a pause, or the end.
    ///
    /// An error means that nobody can know whether init lives: then it is left alone.
    pub(super) fn resume(&mut self, boot_id: &str) -> io::Result<()> {
        let is_same_boot = self.state.boot_id == boot_id;
        self.state.boot_id = boot_id.to_owned();
        if !matches!(self.state.phase, Phase::Starting | Phase::Running | Phase::Stopping) {
            return Ok(());
        }
        let mut run = Run::new(None, None);
        if is_same_boot {
            run.init = self.state.init.map(ProcessIdentity::open).transpose()?.flatten();
            run.orders = match self.connect_to_init() {
                // Who only ends it can kill it without asking.
                Err(_) if self.spec.is_none() && run.init.is_some() => None,
                other => other?,
            };
            run.order(Order::TakeOver);
        }
        // Between the end of its socket and its own, everything inside is killed: that is waited for.
        run.has_ended = run.orders.is_none() && run.init.is_none();
        self.run = Some(run);
        if self.state.phase == Phase::Stopping {
            self.send_stop_signal();
        }
        Ok(())
    }

    /// An init that builds the walls, or is frozen, accepts nobody for a while: that is not its end.
    fn connect_to_init(&self) -> io::Result<Option<OwnedFd>> {
        let deadline = Instant::now() + ACCEPT_WAIT;
        loop {
            match self.dir.connect_init() {
                Err(busy) if busy.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                answer => return answer,
            }
        }
    }

    /// Begins the next life. Whatever goes wrong is the end of that life, with the reason.
    pub(super) fn begin_incarnation(&mut self) {
        self.state.restarts += u32::from(self.state.incarnation > 0);
        self.state.incarnation += 1;
        self.state.phase = Phase::Starting;
        self.state.started_at = unix_nanos();
        (self.state.init, self.state.main) = (None, None);
        self.log.begin_incarnation(self.state.incarnation);
        match self.launch() {
            Ok(run) => self.run = Some(run),
            Err(reason) => {
                let exit = Exit { status: ExitStatus::LaunchFailed, at: unix_nanos() };
                let launch_error = Some(format!("could not prepare the launch: {reason}"));
                self.conclude(ExitRecord { exit, launch_error });
            }
        }
    }

    fn launch(&mut self) -> io::Result<Run> {
        self.dir.make_root()?;
        let exit_record = self.dir.create_exit_record(self.state.incarnation)?;
        let listener = self.dir.bind_init_socket()?;
        let walls = self.spec.as_ref().map(|spec| &spec.walls).ok_or(io::ErrorKind::NotFound)?;
        let namespaces = walls::namespaces(walls, self.keeper);
        let (app, kept, pipe_bytes) = streams::open(self.state.upkeep.attach)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, shim) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let lifeline = self.lifeline.as_ref().map(OwnedFd::try_clone).transpose()?;
        self.state.pipe_bytes = pipe_bytes;
        // From here on an adopting shim looks for this incarnation's init: unless that is in the file,
        // it must not be born, or a next shim would start another one beside it.
        self.write_and_tell().map_err(|reason| {
            io::Error::new(reason.kind(), format!("could not write the state: {reason}"))
        })?;
        let creator = rustix::process::geteuid().as_raw();
        let cradle = Cradle { shim, listener, exit_record, creator, lifeline, app, kept };
        match fork::fork_init(namespaces)? {
            Forked::Child => self.become_init(cradle),
            Forked::Parent(pid, pidfd) => {
                drop(cradle);
                self.state.init = ProcessIdentity::of(pid).ok();
                // An adopting shim knows init's end by it, not by its socket alone.
                self.save();
                let run = Run::new(Some(pidfd), Some(ours));
                run.order(Order::TakeOver);
                Ok(run)
            }
        }
    }

    fn become_init(&mut self, cradle: Cradle) -> ! {
        // This copy of the shim has no more use for it: init wipes the config once the app has it.
        let Some(mut spec) = self.spec.take() else { fork::exit_now(70) };
        spec.attach = self.state.upkeep.attach;
        let (keeper, mount_point) = (self.keeper, self.dir.path().join(ROOT));
        // A panic must not unwind into the shim's loop: there would be two shims.
        let life = catch_unwind(AssertUnwindSafe(|| init::run(cradle, spec, keeper, &mount_point)));
        fork::exit_now(if life.is_ok() { 0 } else { 70 })
    }

    /// Init sends the kept ends, or is gone.
    pub(super) fn hear_init(&mut self) {
        let Some(run) = &mut self.run else { return };
        let Some(socket) = &run.orders else { return };
        match orders::receive_takeover(socket) {
            Ok(Some(takeover)) => {
                run.kept = takeover.kept;
                run.is_taken_over = true;
                self.state.init = identity_of(&takeover.init).or(self.state.init);
                self.state.main = identity_of(&takeover.main).or(self.state.main);
                run.init = Some(takeover.init);
                if let Some(spec) = &self.spec {
                    self.state.walls = walls::standing(&spec.walls, self.keeper);
                }
                let size = self.state.upkeep.attach.and_then(|attach| attach.terminal);
                if let (Some(terminal), Some(size)) = (&run.kept.terminal, size) {
                    // It may have changed while init made the terminal; the same size is no change.
                    let _ = walls::set_size(terminal, size);
                }
                if self.state.phase == Phase::Starting {
                    self.state.phase = Phase::Running;
                }
            }
            Err(nothing) if nothing.kind() == io::ErrorKind::WouldBlock => {}
            Ok(None) | Err(_) => {
                run.orders = None;
                // With a descriptor of init, its end is seen there, after its last word.
                run.has_ended |= run.init.is_none();
            }
        }
    }

    /// Everything inside is gone and its output is in the log: take the exit record and decide.
    pub(super) fn conclude_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        if let Some(init) = &run.init {
            // Init is our child only if we forked it; anybody else's is not ours to reap.
            let _ = waitid(WaitId::PidFd(init.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
        let unwritten = ExitRecord {
            exit: Exit { status: unwritten_status(&run), at: unix_nanos() },
            launch_error: None,
        };
        self.log.end_life();
        self.conclude(self.dir.read_exit_record(self.state.incarnation).unwrap_or(unwritten));
    }

    fn conclude(&mut self, record: ExitRecord) {
        let life = Duration::from_nanos(record.exit.at.saturating_sub(self.state.started_at));
        (self.state.init, self.state.main) = (None, None);
        self.state.last_exit = Some(record.exit);
        self.state.launch_error = record.launch_error;
        self.tell_exit();
        let is_last = self.spec.as_ref().is_none_or(|spec| spec.restart == Restart::Never);
        if self.state.stop.is_some() || is_last || self.state.upkeep.attach.is_some() {
            self.state.phase = Phase::Exited;
        } else {
            if life >= HEALTHY_LIFE {
                self.state.failures = 0;
            }
            let pause = pause_after(self.state.failures);
            self.state.failures = self.state.failures.saturating_add(1);
            let until = unix_nanos().saturating_add(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX));
            self.state.phase = Phase::Backoff { until };
        }
        self.save();
        // An end must be in the file before its record goes.
        if self.is_saved()
            && let Some(before) = self.state.incarnation.checked_sub(1)
        {
            self.dir.remove_exit_record(before);
        }
    }
}

/// An end that init could not write: we killed it, or somebody else did.
fn unwritten_status(run: &Run) -> ExitStatus {
    if run.kill_ordered.is_some() { ExitStatus::Signal(libc::SIGKILL) } else { ExitStatus::Unknown }
}

/// Which process a descriptor means, as seen from here.
fn identity_of(pidfd: &OwnedFd) -> Option<ProcessIdentity> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    // −1: it is gone.
    ProcessIdentity::of(pid.trim().parse().ok()?).ok()
}
