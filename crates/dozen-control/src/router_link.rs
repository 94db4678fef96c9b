//! The router's process and the way to it.
//!
//! Control binds the public listeners once and keeps copies, so connections queue and are not
//! refused while a killed router is started again. A control that was killed itself finds the
//! router alive on its socket and takes copies back from it. A table is given under a lock, so a
//! later one is never overtaken by an earlier one.
//!
//! A server that is stopped and started again meets its old router at its last requests. A new one
//! goes on with the listeners; what the old one still has in flight counts with what the new one has.

use std::{
    fs::File,
    os::{
        fd::OwnedFd,
        unix::{net::UnixListener, process::CommandExt},
    },
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use dozen_model::{address_range::AddressRange, route_table::RouteTable};
use dozen_router::{
    DropTo, EndpointLoad, Launch, LaunchSettings, Limits, Listener, ListenerKind, RouterError,
    client::RouterClient,
};
use dozen_sandbox::SocketPath;
use parking_lot::{Condvar, Mutex};

mod certificates;

use crate::{
    api::wire::RefusedRequests,
    control::ServerOptions,
    error::ControlError,
    home::{self, Home},
    router_folders::RouterFolders,
    router_listeners::RouterListeners,
    router_process::RouterProcess,
};

/// The uid of the router when the server runs as root: below those of the stages.
const ROUTER_UID: u32 = 199_999;
/// How long a table may take to arrive while the router is being started again.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same for a question whose answer nobody needs.
const CURIOSITY: Duration = Duration::from_millis(500);
/// The same for numbers that somebody looks at, who gives up after ten seconds as a rule.
const LOOK: Duration = Duration::from_secs(5);

/// The router as control sees it.
#[derive(Debug)]
pub(crate) struct RouterLink {
    listeners: RouterListeners,
    trusted_proxies: Vec<AddressRange>,
    limits: Limits,
    binary: PathBuf,
    socket: PathBuf,
    folders: RouterFolders,
    as_root: bool,
    launch: Mutex<Option<Launch>>,
    client: Mutex<Option<RouterClient>>,
    /// The router before this one, until its last request is answered.
    draining: Mutex<Option<RouterClient>>,
    generation: Mutex<u64>,
    table: Mutex<Table>,
    table_changed: Condvar,
    certificates: certificates::CertificateLink,
    process: Mutex<Option<Arc<RouterProcess>>>,
}

impl RouterLink {
    pub(crate) fn new(options: &ServerOptions, home: &Home, as_root: bool) -> Self {
        Self {
            listeners: RouterListeners::new(options),
            trusted_proxies: options.trusted_proxies.clone(),
            limits: options.router_limits,
            binary: options.binary.clone(),
            socket: home.router_socket(),
            folders: RouterFolders::new(home.router(), as_root.then_some(ROUTER_UID)),
            as_root,
            launch: Mutex::default(),
            client: Mutex::default(),
            draining: Mutex::default(),
            generation: Mutex::new(u64::try_from(crate::store::now_ms()).unwrap_or(1)),
            table: Mutex::default(),
            table_changed: Condvar::new(),
            certificates: certificates::CertificateLink::default(),
            process: Mutex::default(),
        }
    }

    /// The port people use, once listeners are bound.
    pub(crate) fn port(&self) -> Option<u16> {
        self.listeners.port(ListenerKind::Plain)
    }

    /// The same for HTTPS, where it is spoken.
    pub(crate) fn https_port(&self) -> Option<u16> {
        self.listeners.port(ListenerKind::Tls)
    }

    /// The router's process, while it lives.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.living().map(|process| process.pid())
    }

    fn living(&self) -> Option<Arc<RouterProcess>> {
        self.process.lock().clone().filter(|process| process.is_alive())
    }

    /// The addresses it was told to listen on, with the port that was taken.
    pub(crate) fn listen(&self) -> Vec<String> {
        self.listeners.addresses(ListenerKind::Plain)
    }

    /// The same for HTTPS.
    pub(crate) fn listen_https(&self) -> Vec<String> {
        self.listeners.addresses(ListenerKind::Tls)
    }

    /// Finds the router that lives, or binds the listeners and starts one.
    ///
    /// One that was started with other settings hands over: it finishes what it holds, and the next
    /// one goes on with the listeners that are still wanted.
    ///
    /// # Errors
    /// [`ControlError::Listen`] when an address is taken by someone else.
    pub(crate) fn start(&self) -> Result<(), ControlError> {
        self.folders.prepare()?;
        let Some(found) = self.adopt() else { return self.start_with(self.listeners.complete(Vec::new())?) };
        if !found.is_draining && self.is_as_wanted(&found) {
            self.listeners.note(&found.listeners);
            *self.launch.lock() = Some(self.launch_with(found.listeners, None)?);
            return Ok(());
        }
        // What cannot be bound is found out while the old one serves.
        let listeners = self.listeners.complete(found.listeners)?;
        if !found.is_draining {
            tracing::info!("the router is started again with other settings");
            // First, or a control that is killed here would leave two that route by different
            // tables. Who connects meanwhile waits in the listeners' queues.
            self.living().iter().for_each(|old| old.terminate());
        }
        // It accepts nothing any more and ends with its last request: another one goes on.
        *self.draining.lock() = self.client.lock().take();
        self.start_with(listeners)
    }

    /// Whether a router does what it was told: the same addresses, trust and limits.
    fn is_as_wanted(&self, found: &Found) -> bool {
        self.listeners.are_served_by(&found.listeners)
            && found.trusted_proxies == self.trusted_proxies
            && found.limits == self.limits
            && found.state_dir == self.folders.table()
    }

    fn start_with(&self, listeners: Vec<Listener>) -> Result<(), ControlError> {
        self.listeners.note(&listeners);
        *self.client.lock() = None;
        let launch = self.launch_with(listeners, Some(self.bind_control()?))?;
        *self.launch.lock() = Some(launch);
        self.spawn()?;
        // It has loaded a stored table, and takes none that is older: a clock may have gone back.
        let status = self.ask(RouterClient::status)?;
        let mut generation = self.generation.lock();
        *generation = (*generation).max(status.generation);
        Ok(())
    }

    /// Asks a living router for copies of its listeners, and how it is set.
    fn adopt(&self) -> Option<Found> {
        let mut client = self.connect()?;
        let status = client.status().ok()?;
        let process = RouterProcess::of(status.pid);
        // It answers after the handle was opened, so that is the handle of the one that answers.
        let listeners = client.listeners().ok()?;
        *self.process.lock() = process.map(Arc::new);
        let mut generation = self.generation.lock();
        *generation = (*generation).max(status.generation);
        *self.client.lock() = Some(client);
        Some(Found {
            listeners,
            is_draining: status.draining,
            trusted_proxies: status.trusted_proxies,
            limits: status.limits,
            state_dir: status.state_dir,
        })
    }

    fn connect(&self) -> Option<RouterClient> {
        let address = SocketPath::of(&self.socket).ok()?;
        RouterClient::connect(address.path()).ok()
    }

    fn bind_control(&self) -> Result<OwnedFd, ControlError> {
        let _ = std::fs::remove_file(&self.socket);
        let bound = SocketPath::of(&self.socket)
            .and_then(|address| UnixListener::bind(address.path()))
            .map_err(ControlError::io("bind the router's socket"))?;
        Ok(bound.into())
    }

    fn launch_with(
        &self,
        listeners: Vec<Listener>,
        control: Option<OwnedFd>,
    ) -> Result<Launch, ControlError> {
        // A router that was adopted has the socket; until it dies there is nothing to start.
        let control = match control {
            Some(control) => control,
            None => File::open("/dev/null").map_err(ControlError::io("open /dev/null"))?.into(),
        };
        let drop_to = self.as_root.then_some(DropTo { uid: ROUTER_UID, gid: ROUTER_UID });
        let settings = LaunchSettings {
            state_dir: self.folders.table(),
            access_dir: self.folders.access(),
            drop_to,
            trusted_proxies: self.trusted_proxies.clone(),
            limits: self.limits,
        };
        Ok(Launch { listeners, control, settings })
    }

    /// Lets the router, and nobody else, read what static sites are made of.
    ///
    /// The one place that decides the folder's mode: a router that lives must not be shut out while
    /// control starts.
    pub(crate) fn let_read(&self, folder: &std::path::Path) -> Result<(), ControlError> {
        if !self.as_root {
            return home::make(folder, 0o700);
        }
        std::os::unix::fs::chown(folder, None, Some(ROUTER_UID))
            .map_err(|source| ControlError::Folder { path: folder.to_owned(), source })?;
        home::make(folder, 0o710)
    }

    /// False when none is to be started: before the first launch, and at the server's end.
    fn spawn(&self) -> Result<bool, ControlError> {
        let launch = self.launch.lock();
        let Some(launch) = launch.as_ref() else { return Ok(false) };
        let mut command = Command::new(&self.binary);
        // In a process group of its own, or a Ctrl-C at the server's terminal would end it before
        // control has told it to; see the server's way to its end.
        command.arg("router").env_clear().stdout(Stdio::null()).stderr(Stdio::inherit()).process_group(0);
        let child = launch.spawn(&mut command).map_err(ControlError::io("start the router"))?;
        *self.process.lock() = RouterProcess::of(child.id()).map(Arc::new);
        // Not waited for by its parent alone: the watcher below reaps it.
        std::thread::spawn(move || {
            let mut child = child;
            let _ = child.wait();
        });
        Ok(true)
    }

    /// Starts the router again when it is gone. Called in a loop by [`crate::server`].
    ///
    /// True when a new one was started. It routes by the table that is stored; that it gets the
    /// newest one is left to who waits for a stale one, since this one may die before it answers, and
    /// nobody else starts the next.
    pub(crate) fn revive(&self) -> Result<bool, ControlError> {
        if self.living().is_some() {
            return Ok(false);
        }
        // Calls that wait on the socket are answered by the next router, so it stays the same one.
        if let Some(launch) = self.launch.lock().as_mut()
            && !is_socket(&launch.control)
        {
            launch.control = self.bind_control()?;
        }
        if !self.spawn()? {
            return Ok(false);
        }
        self.certificates.router_was_revived();
        let mut table = self.table.lock();
        *table = Table { is_stale: true, revivals: table.revivals + 1 };
        self.table_changed.notify_all();
        Ok(true)
    }

    /// Sleeps until the router ends, at most for `rest` times fifty: an idle server stays idle.
    pub(crate) fn wait_for_end(&self, rest: Duration) {
        match self.living() {
            Some(process) => {
                process.ends_within(rest * 50);
            }
            None => std::thread::sleep(rest),
        }
    }

    /// Gives the router a table and waits until every thread routes by it.
    pub(crate) fn publish(
        &self,
        make: impl Fn(u64) -> Result<RouteTable, ControlError>,
    ) -> Result<(), ControlError> {
        let mut generation = self.generation.lock();
        *generation += 1;
        let revivals = self.table.lock().revivals;
        let given = make(*generation).and_then(|table| self.ask(|client| client.set_table(&table)));
        // Within the lock: a later table that arrived must not be told apart as missing.
        let mut table = self.table.lock();
        table.is_stale = given.is_err() || table.revivals != revivals;
        self.table_changed.notify_all();
        given.map(|_| ())
    }

    /// Sleeps until the router may have an old table, for whoever gives it the newest.
    pub(crate) fn wait_until_stale(&self) {
        let mut table = self.table.lock();
        while !table.is_stale {
            self.table_changed.wait(&mut table);
        }
    }

    /// What an endpoint has in flight.
    pub(crate) fn load_of(&self, endpoint: &str) -> Result<EndpointLoad, ControlError> {
        Ok(self.loads()?.get(endpoint).copied().unwrap_or_default())
    }

    /// What every endpoint has in flight.
    pub(crate) fn loads(&self) -> Result<std::collections::BTreeMap<String, EndpointLoad>, ControlError> {
        let mut loads = self.ask(RouterClient::in_flight)?;
        for (endpoint, load) in self.ask_draining(RouterClient::in_flight).unwrap_or_default() {
            *loads.entry(endpoint).or_default() += load;
        }
        Ok(loads)
    }

    /// One call to the router before this one; once it does not answer, it has ended and has nothing
    /// in flight.
    fn ask_draining<T>(
        &self,
        call: impl Fn(&mut RouterClient) -> Result<T, dozen_router::RouterError>,
    ) -> Option<T> {
        let mut draining = self.draining.lock();
        let answer = call(draining.as_mut()?).ok();
        if answer.is_none() {
            *draining = None;
        }
        answer
    }

    /// What the router refused itself; nothing while it does not answer, which is hardly waited for.
    pub(crate) fn refused(&self) -> Option<RefusedRequests> {
        let mut client = self.client.try_lock()?;
        let status = ask_within(client.as_mut()?, CURIOSITY, RouterClient::status).ok();
        if status.is_none() {
            *client = None;
        }
        let status = status?;
        Some(RefusedRequests { malformed: status.malformed, unknown_hosts: status.unknown_hosts })
    }

    /// What the router has counted, as Prometheus reads it; nothing while it does not answer.
    pub(crate) fn metrics(&self) -> Option<String> {
        // Over a connection of its own: who looks keeps no table waiting.
        ask_within(&mut self.connect()?, LOOK, RouterClient::metrics).ok()
    }

    /// Closes the upgraded connections of an endpoint.
    pub(crate) fn close_upgraded(&self, endpoint: &str) -> Result<(), ControlError> {
        self.ask_draining(|client| client.close_upgraded(endpoint));
        self.ask(|client| client.close_upgraded(endpoint)).map(|_| ())
    }

    /// One call, on a fresh connection when the old one is gone; bounded patience.
    fn ask<T>(&self, call: impl Fn(&mut RouterClient) -> Result<T, RouterError>) -> Result<T, ControlError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut client = self.client.lock();
            if client.is_none() {
                *client = self.connect();
            }
            // A router that has just died, or stands still, keeps a call waiting: not past the deadline.
            let left = deadline.saturating_duration_since(Instant::now());
            let failed = match client.as_mut().map(|client| ask_within(client, left, &call)) {
                Some(Ok(answer)) => return Ok(answer),
                // It is there and has answered: asking again changes nothing.
                Some(Err(refused @ RouterError::Refused(_))) => {
                    return Err(ControlError::Router(refused.to_string()));
                }
                Some(Err(error)) => error.to_string(),
                None => "its socket does not answer".to_owned(),
            };
            *client = None;
            drop(client);
            // Without a launch nobody starts one: before the first, and at the server's end.
            if Instant::now() >= deadline || self.launch.lock().is_none() {
                return Err(ControlError::Router(failed));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the router: it finishes what it holds.
    pub(crate) fn stop(&self) {
        // First: one that is being started is there once this is had, and none is started after it.
        *self.launch.lock() = None;
        self.living().iter().for_each(|process| process.terminate());
    }
}

/// A router that an earlier control has left.
struct Found {
    listeners: Vec<Listener>,
    is_draining: bool,
    trusted_proxies: Vec<AddressRange>,
    limits: Limits,
    state_dir: PathBuf,
}

/// What is known of the table that the router has.
#[derive(Debug, Default)]
struct Table {
    /// It may be an old one.
    is_stale: bool,
    /// Routers that were started after one that died.
    revivals: u64,
}

/// One call that waits for its answer this long.
fn ask_within<T>(
    client: &mut RouterClient,
    limit: Duration,
    call: impl Fn(&mut RouterClient) -> Result<T, RouterError>,
) -> Result<T, RouterError> {
    client.answer_within(limit)?;
    call(client)
}

/// Whether this is the control socket and not the stand-in of a router that was adopted.
fn is_socket(fd: &OwnedFd) -> bool {
    rustix::net::sockopt::socket_type(fd).is_ok()
}
