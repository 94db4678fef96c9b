//! The shim's loop: wait, handle what happened, save, tell.

use std::{
    fs::File,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixListener,
    },
    process::ExitCode,
    time::{Duration, Instant},
};

use super::{
    attached::Attachment,
    client::{Client, Purpose},
    incarnation::Run,
    is_adopting,
    log_writer::LogWriter,
};
use crate::{
    boot_id,
    client::LaunchMode,
    init::unix_nanos,
    instance_dir::InstanceDir,
    process_identity::ProcessIdentity,
    protocol::Reply,
    spec::LaunchSpec,
    state::{Dropped, InstanceState, Phase},
    sys::{
        poll_set::{Place, PollSet},
        signals,
    },
    walls::Keeper,
};

pub(super) const MAX_CLIENTS: usize = 16;
/// How often counters alone are worth a new state file.
const COUNTER_PAUSE: Duration = Duration::from_secs(1);
/// How long the last answers may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);

/// The keeper of one instance.
pub(super) struct Shim {
    pub(super) dir: InstanceDir,
    _lock: File,
    pub(super) spec: LaunchSpec,
    pub(super) keeper: Keeper,
    pub(super) state: InstanceState,
    saved: Option<InstanceState>,
    saved_at: Instant,
    listener: UnixListener,
    /// Readable when SIGTERM has come.
    pub(super) end_requests: OwnedFd,
    pub(super) lifeline: Option<OwnedFd>,
    pub(super) clients: Vec<Client>,
    pub(super) log: LogWriter,
    dropped_before: Dropped,
    pub(super) attachment: Attachment,
    pub(super) run: Option<Run>,
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
        spec: LaunchSpec,
        mode: LaunchMode,
        lifeline: Option<OwnedFd>,
    ) -> Result<Self, String> {
        let keeper = Keeper::current();
        let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if keeper == Keeper::OrdinaryUser && (spec.walls.user.uid, spec.walls.user.gid) != me {
            return Err("an ordinary user can only run an app as itself".into());
        }
        let boot_id = boot_id().map_err(|reason| format!("could not read the boot id: {reason}"))?;
        let shim = ProcessIdentity::of(std::process::id()).map_err(|reason| reason.to_string())?;
        let found = dir.read_state().map_err(|bad| format!("could not read the state: {bad}"))?;
        let state = match found {
            Some(found) if is_adopting(mode) => InstanceState { shim, ..found },
            Some(found) if !found.has_ended() && found.boot_id == boot_id => {
                return Err("the directory has an instance that has not ended".into());
            }
            _ => new_state(&spec, shim, boot_id.clone()),
        };
        let log = LogWriter::new(spec.log_dir.clone(), spec.segment_bytes);
        let listener =
            dir.bind_shim_socket().map_err(|reason| format!("could not bind the socket: {reason}"))?;
        let end_requests =
            signals::requests_to_end().map_err(|reason| format!("could not watch for SIGTERM: {reason}"))?;
        let (attachment, dropped_before) = (Attachment::expected(spec.attach), state.dropped);
        let mut kept = Self {
            dir,
            _lock: lock,
            spec,
            keeper,
            state,
            saved: None,
            saved_at: Instant::now(),
            listener,
            end_requests,
            lifeline,
            clients: Vec::new(),
            log,
            dropped_before,
            attachment,
            run: None,
            is_streaming: false,
        };
        kept.resume(&boot_id).map_err(|reason| format!("could not reach init: {reason}"))?;
        kept.save();
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

    /// Writes the state down if it has changed, and tells those who asked for it.
    pub(super) fn save(&mut self) {
        self.state.dropped = self.dropped_before.plus(self.log.dropped());
        self.state.log_trouble = self.log.trouble().map(str::to_owned);
        let Some(saved) = &self.saved else {
            self.write_and_tell();
            return;
        };
        if *saved == self.state {
            return;
        }
        let only_counters = *saved == InstanceState { dropped: saved.dropped, ..self.state.clone() };
        if !only_counters || self.saved_at.elapsed() >= COUNTER_PAUSE {
            self.write_and_tell();
        }
    }

    fn write_and_tell(&mut self) {
        self.saved_at = Instant::now();
        // A full disk under the directory must not stop the instance; the next change tries again,
        // and until then an adopting shim finds an older, still true, state.
        if self.dir.write_state(&self.state).is_ok() {
            self.saved = Some(self.state.clone());
        }
        let reply = Reply::State(Box::new(self.state.clone()));
        let subscribers = self.clients.iter_mut().filter(|client| client.purpose == Purpose::Subscription);
        subscribers.for_each(|client| client.reply(&reply));
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
        self.serve_clients(&clients);
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
            if reads || client.wants_to_send() {
                *place = Some(set.add(client.as_fd(), reads, client.wants_to_send()));
            }
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
    }
}
