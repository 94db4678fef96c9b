//! The shim's loop: wait, handle what happened, save, tell.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixListener,
    },
    process::ExitCode,
    time::{Duration, Instant},
};

use super::{
    arguments::Mode,
    attached::Attachment,
    client::{Client, Purpose},
    incarnation::Run,
    log_writer::LogWriter,
    stopping::Due,
};
use crate::{
    boot_id,
    instance_dir::InstanceDir,
    process_identity::ProcessIdentity,
    protocol::Reply,
    spec::LaunchSpec,
    state::{Dropped, InstanceState, Phase, Upkeep, unix_nanos},
    sys::{
        poll_set::{Place, PollSet},
        signals,
    },
    walls::Keeper,
};

pub(super) const MAX_CLIENTS: usize = 16;
/// How often counters alone are worth a new state file, and how soon a failed attempt another one.
const STATE_PAUSE: Duration = Duration::from_secs(1);
/// How long the last answers may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);

/// The keeper of one instance.
pub(super) struct Shim {
    pub(super) dir: InstanceDir,
    _lock: File,
    /// What is launched; a shim that only ends an instance has none.
    pub(super) spec: Option<LaunchSpec>,
    pub(super) keeper: Keeper,
    pub(super) state: InstanceState,
    /// What is in the file.
    saved: Option<InstanceState>,
    /// What subscribers heard last.
    told: Option<InstanceState>,
    /// When writing it down was last tried.
    tried_at: Instant,
    listener: UnixListener,
    /// Readable when SIGTERM has come.
    pub(super) end_requests: OwnedFd,
    pub(super) lifeline: Option<OwnedFd>,
    pub(super) clients: Vec<Client>,
    pub(super) log: LogWriter,
    dropped_before: Dropped,
    pub(super) attachment: Attachment,
    pub(super) run: Option<Run>,
    /// When it is started again.
    pub(super) backoff_due: Due,
    /// When everything inside is killed.
    pub(super) kill_due: Due,
    /// Bytes were taken in this turn, so more are likely in a moment.
    pub(super) is_streaming: bool,
}

/// What is ready, by place in the set.
struct Places {
    listener: Place,
    end_requests: Place,
    lifeline: Option<Place>,
    init: Option<Place>,
    orders: Option<Place>,
    clients: [Option<Place>; MAX_CLIENTS],
}

impl Shim {
    /// Takes over the directory; in it, everything is ready for [`Shim::keep`].
    pub(super) fn new(
        dir: InstanceDir,
        lock: File,
        spec: Option<LaunchSpec>,
        mode: Mode,
        lifeline: Option<OwnedFd>,
    ) -> Result<Self, String> {
        let keeper = Keeper::current();
        check_user(keeper, spec.as_ref())?;
        let boot_id = boot_id().map_err(|reason| format!("could not read the boot id: {reason}"))?;
        let shim = ProcessIdentity::of(std::process::id()).map_err(|reason| reason.to_string())?;
        let found = dir.read_state().map_err(|bad| format!("could not read the state: {bad}"))?;
        let state = match (found, mode, &spec) {
            (Some(found), Mode::Start, _) if !found.has_ended() && found.boot_id == boot_id => {
                return Err("the directory has an instance that has not ended".into());
            }
            (_, Mode::Start, Some(spec)) => new_state(spec, shim, boot_id.clone()),
            // Whoever asks may not know that somebody attached to it, and to what size.
            (Some(found), _, Some(spec)) => {
                let upkeep = Upkeep { attach: found.upkeep.attach, ..Upkeep::of(spec) };
                InstanceState { shim, upkeep, ..found }
            }
            (Some(found), _, None) => InstanceState { shim, ..found },
            // It may have been removed while we were on our way.
            (None, ..) => return Err("there is no instance to go on with".into()),
        };
        let log = LogWriter::new(state.upkeep.log.clone(), state.unannounced);
        let listener =
            dir.bind_shim_socket().map_err(|reason| format!("could not bind the socket: {reason}"))?;
        let end_requests =
            signals::requests_to_end().map_err(|reason| format!("could not watch for SIGTERM: {reason}"))?;
        let attachment = match mode {
            Mode::Start => Attachment::expected(state.upkeep.attach),
            Mode::Adopt => Attachment::lost(state.upkeep.attach),
            Mode::End { .. } => Attachment::expected(None),
        };
        let dropped_before = state.dropped;
        let mut kept = Self {
            dir,
            _lock: lock,
            spec,
            keeper,
            state,
            saved: None,
            told: None,
            tried_at: Instant::now(),
            listener,
            end_requests,
            lifeline,
            clients: Vec::new(),
            log,
            dropped_before,
            attachment,
            run: None,
            backoff_due: Due::default(),
            kill_due: Due::default(),
            is_streaming: false,
        };
        kept.resume(&boot_id).map_err(|reason| format!("could not reach init: {reason}"))?;
        if let Mode::End { grace } = mode {
            kept.begin_stop(grace.unwrap_or(kept.state.upkeep.stop.grace));
        }
        let written = kept.write_and_tell();
        if mode == Mode::Start {
            written.map_err(|reason| format!("could not write the state: {reason}"))?;
        }
        Ok(kept)
    }

    /// Keeps the instance until it is over.
    pub(super) fn keep(mut self) -> ExitCode {
        loop {
            self.act_on_time();
            self.take_output();
            self.save();
            if self.is_over() {
                break;
            }
            self.coalesce();
            self.wait_and_handle();
        }
        self.say_farewell();
        ExitCode::SUCCESS
    }

    fn is_over(&self) -> bool {
        self.state.has_ended() && self.run.is_none() && !self.attachment.is_awaited()
    }

    /// Writes the state down if it has changed, and tells those who asked for it. What could not be
    /// written is tried again once a second.
    ///
    /// A full disk under the directory must not stop an instance that runs: an adopting shim finds an
    /// older state, and beside it the exit record, and comes to the same end. A *beginning* must be in
    /// the file, see [`Shim::write_and_tell`].
    pub(super) fn save(&mut self) {
        self.count();
        if self.is_saved() {
            return;
        }
        let is_news = self.told.as_ref().is_none_or(|told| {
            let InstanceState { dropped, unannounced, .. } = *told;
            *told != InstanceState { dropped, unannounced, ..self.state.clone() }
        });
        if is_news || self.tried_at.elapsed() >= STATE_PAUSE {
            // The next attempt comes by itself.
            let _ = self.write_and_tell();
        }
    }

    /// Writes the state down now, and says whether it is in the file.
    pub(super) fn write_and_tell(&mut self) -> io::Result<()> {
        self.count();
        self.tried_at = Instant::now();
        let written = self.dir.write_state(&self.state);
        if written.is_ok() {
            self.saved = Some(self.state.clone());
        }
        if self.told.as_ref() != Some(&self.state) {
            self.told = Some(self.state.clone());
            let reply = Reply::State(Box::new(self.state.clone()));
            let subscribers =
                self.clients.iter_mut().filter(|client| client.purpose == Purpose::Subscription);
            subscribers.for_each(|client| client.reply(&reply));
        }
        written
    }

    /// Whether the file says what is.
    pub(super) fn is_saved(&self) -> bool {
        self.saved.as_ref() == Some(&self.state)
    }

    /// When the state is to be written again, if it has to be.
    pub(super) fn next_attempt(&self) -> Option<Duration> {
        (!self.is_saved()).then(|| STATE_PAUSE.saturating_sub(self.tried_at.elapsed()))
    }

    fn count(&mut self) {
        self.state.dropped = self.dropped_before.plus(self.log.dropped());
        self.state.unannounced = self.log.unannounced();
        self.state.log_trouble = self.log.trouble().map(str::to_owned);
    }

    fn wait_and_handle(&mut self) {
        let mut set = PollSet::new();
        let places = self.places(&mut set);
        // Only a programming error or a lack of kernel memory can make this fail; the loop goes on.
        let _ = set.wait(self.time_to_next());
        let is_ready = |place: Option<Place>| place.is_some_and(|place| set.is_ready(place));
        let (caller, lifeline) = (set.is_ready(places.listener), is_ready(places.lifeline));
        let (init, orders) = (is_ready(places.init), is_ready(places.orders));
        let clients = places.clients.map(is_ready);
        let end_requested = set.is_ready(places.end_requests);
        let hung_up = places.clients.map(|place| place.is_some_and(|place| set.has_hung_up(place)));
        if end_requested {
            self.hear_shutdown();
        }
        if lifeline {
            self.lose_lifeline();
        }
        if orders {
            self.hear_init();
        }
        if init && let Some(run) = &mut self.run {
            run.has_ended = true;
        }
        self.serve_clients(&clients, &hung_up);
        if caller {
            self.accept();
        }
    }

    fn places<'fd>(&'fd self, set: &mut PollSet<'fd>) -> Places {
        let mut places = Places {
            listener: set.add(self.listener.as_fd(), true, false),
            end_requests: set.add(self.end_requests.as_fd(), true, false),
            lifeline: self.lifeline.as_ref().map(|fd| set.add(fd.as_fd(), true, false)),
            init: None,
            orders: None,
            clients: [None; MAX_CLIENTS],
        };
        if let Some(run) = &self.run {
            let alive = !run.has_ended;
            places.init = run.init.as_ref().filter(|_| alive).map(|fd| set.add(fd.as_fd(), true, false));
            places.orders = run.orders.as_ref().map(|fd| set.add(fd.as_fd(), true, false));
            self.add_streams(run, set);
        }
        let can_input = self.attachment.takes_input();
        for (client, place) in self.clients.iter().zip(&mut places.clients) {
            let reads = client.purpose != Purpose::Attached || can_input;
            // With neither, its hangup is still seen.
            *place = Some(set.add(client.as_fd(), reads, client.wants_to_send()));
        }
        places
    }

    fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        if let Ok(Some(mut client)) = Client::accept(stream) {
            if self.clients.len() < MAX_CLIENTS {
                self.clients.push(client);
            } else {
                client.refuse("too many connections");
            }
        }
    }

    /// A busy app writes line by line; waking up for each costs more than the line. Two
    /// milliseconds gather hundreds of them, a quarter of that where the pipe is small.
    fn coalesce(&mut self) {
        if std::mem::take(&mut self.is_streaming) && !self.attachment.is_attached() {
            let small = self.state.pipe_bytes <= 64 << 10;
            std::thread::sleep(Duration::from_micros(if small { 500 } else { 2000 }));
        }
    }

    fn say_farewell(&mut self) {
        let deadline = Instant::now() + FAREWELL;
        while self.clients.iter().any(Client::wants_to_send) && Instant::now() < deadline {
            let mut set = PollSet::new();
            for client in self.clients.iter().filter(|client| client.wants_to_send()) {
                set.add(client.as_fd(), false, true);
            }
            let _ = set.wait(Some(deadline.saturating_duration_since(Instant::now())));
            self.clients.iter_mut().for_each(Client::send);
            self.clients.retain(|client| !client.is_over());
        }
    }
}

fn check_user(keeper: Keeper, spec: Option<&LaunchSpec>) -> Result<(), String> {
    let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let user = spec.map(|spec| (spec.walls.user.uid, spec.walls.user.gid));
    if keeper == Keeper::OrdinaryUser && user.is_some_and(|user| user != me) {
        return Err("an ordinary user can only run an app as itself".into());
    }
    Ok(())
}

fn new_state(spec: &LaunchSpec, shim: ProcessIdentity, boot_id: String) -> InstanceState {
    InstanceState {
        boot_id,
        instance: spec.instance.clone(),
        shim,
        init: None,
        main: None,
        incarnation: 0,
        phase: Phase::Backoff { until: unix_nanos() },
        restarts: 0,
        failures: 0,
        started_at: 0,
        last_exit: None,
        launch_error: None,
        stop: None,
        walls: Vec::new(),
        pipe_bytes: 0,
        dropped: Dropped::default(),
        log_trouble: None,
        unannounced: Dropped::default(),
        upkeep: Upkeep::of(spec),
    }
}
