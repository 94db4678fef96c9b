//! One thread of the router: its listeners, its connections, its pool.
//!
//! Nothing in here is shared with other threads but the board and the counters.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    rc::Rc,
    sync::{Arc, mpsc::SyncSender},
    task::Waker,
    time::Duration,
};

use dozen_model::address_range::AddressRange;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::LocalOptions,
    sync::{Notify, watch},
    task::spawn_local,
    time::{Instant, sleep, timeout},
};

use crate::{
    access_log::{AccessLog, Batch},
    board::Board,
    connection,
    crowd::Crowd,
    date::Clock,
    listen::ListenerKind,
    meter::Thread,
    options::Limits,
    pool::Pool,
    prober::Ejections,
    request_id::RequestIds,
    status::{Counters, ThreadCounters},
    telling::Telling,
    tls::Tls,
};

/// Connections that could not be accepted.
static UNACCEPTED: Telling = Telling::new();

/// How far the end of the process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopping {
    No,
    /// No new connections; what is in flight may finish.
    Drain,
}

/// What a thread is started with.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) thread: Thread,
    pub(crate) board: Arc<Board>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) limits: Limits,
    pub(crate) trusted_proxies: Arc<[AddressRange]>,
    pub(crate) tls: Arc<Tls>,
    pub(crate) https_port: Option<u16>,
    pub(crate) files: SyncSender<Batch>,
    pub(crate) ejections: Ejections,
    pub(crate) stopping: watch::Receiver<Stopping>,
    pub(crate) max_connections: usize,
}

/// What the connections of a thread share.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) thread: Thread,
    pub(crate) board: Arc<Board>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) limits: Limits,
    pub(crate) trusted_proxies: Arc<[AddressRange]>,
    pub(crate) tls: Arc<Tls>,
    /// The port of a listener for HTTPS, if there is one.
    pub(crate) https_port: Option<u16>,
    pub(crate) pool: Pool,
    pub(crate) log: Rc<AccessLog>,
    pub(crate) ejections: Ejections,
    pub(crate) ids: RequestIds,
    pub(crate) stopping: watch::Receiver<Stopping>,
    /// Set at the drain limit: upgraded connections end.
    pub(crate) cut: watch::Sender<bool>,
    max_connections: usize,
    open: Cell<usize>,
    closed: Notify,
    /// Since when the process is on its way out.
    drains_since: Cell<Option<Instant>>,
    /// The tasks of connections that wait for a request, to be woken at the drain.
    waiting: RefCell<HashMap<u64, Waker>>,
    registrations: Cell<u64>,
    clock: Clock,
}

/// A connection that is woken at the drain, until it is dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    room: Rc<Room>,
    number: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.room.waiting.borrow_mut().remove(&self.number);
    }
}

/// A client connection, or what is left of it after an upgrade; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection(Rc<Room>);

impl OpenConnection {
    fn count(room: &Rc<Room>, kind: ListenerKind) -> Self {
        room.open.set(room.open.get() + 1);
        room.tally().accept(kind);
        Self(Rc::clone(room))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.tally().closed.add(1);
        self.0.closed.notify_waiters();
    }
}

/// The place of a request beside others of its connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct RequestPlace(Rc<Room>);

impl Drop for RequestPlace {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.closed.notify_waiters();
    }
}

impl Worker {
    /// Runs `serve` on a runtime of this thread.
    pub(crate) fn block_on<T>(self, serve: impl AsyncFnOnce(Rc<Room>) -> io::Result<T>) -> io::Result<T> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        let outcome = runtime.block_on(async move {
            let room = Rc::new(Room {
                thread: self.thread,
                pool: Pool::new(Arc::clone(&self.board), self.limits),
                log: AccessLog::start(self.files, Arc::clone(&self.counters)),
                ids: RequestIds::new()?,
                ejections: self.ejections,
                board: self.board,
                counters: self.counters,
                crowd: self.crowd,
                limits: self.limits,
                trusted_proxies: self.trusted_proxies,
                tls: self.tls,
                https_port: self.https_port,
                stopping: self.stopping,
                cut: watch::Sender::new(false),
                max_connections: self.max_connections,
                open: Cell::new(0),
                closed: Notify::new(),
                drains_since: Cell::new(None),
                waiting: RefCell::default(),
                registrations: Cell::new(0),
                clock: Clock::default(),
            });
            room.pool.keep_clean();
            serve(room).await
        });
        // What was cut at the drain limit has ended with its task by now, and the log with the last.
        // A read of a static file may still be on its way to a slow disk.
        runtime.shutdown_background();
        outcome
    }
}

impl Room {
    /// Accepts on `listeners` until the drain, and returns when all connections are done or the
    /// drain limit has passed.
    pub(crate) async fn serve(self: Rc<Self>, listeners: Vec<(TcpListener, ListenerKind)>) {
        let accept = |(listener, kind)| spawn_local(Rc::clone(&self).accept(listener, kind));
        let accepting: Vec<_> = listeners.into_iter().map(accept).collect();
        for task in accepting {
            // It ends at the drain; a panic in it ends this thread's part of the port, so say so.
            if let Err(error) = task.await {
                tracing::error!(%error, "a listener is not served any more");
                return;
            }
        }
        self.drains_since.set(Some(Instant::now()));
        self.waiting.borrow().values().for_each(Waker::wake_by_ref);
        if timeout(self.limits.drain, self.all_closed()).await.is_err() {
            self.cut.send_replace(true);
            // Close frames get a moment to leave.
            let _ = timeout(Duration::from_secs(1), self.all_closed()).await;
        }
    }

    async fn accept(self: Rc<Self>, listener: TcpListener, kind: ListenerKind) {
        let mut stopping = self.stopping.clone();
        loop {
            while self.open.get() >= self.max_connections {
                tokio::select! {
                    () = self.closed.notified() => {}
                    _ = stopping.wait_for(|now| *now != Stopping::No) => return,
                }
            }
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopping.wait_for(|now| *now != Stopping::No) => return,
            };
            match accepted {
                Ok((stream, peer)) => self.start(stream, peer, kind),
                // Out of descriptors or memory: those that are open go first.
                Err(error) => {
                    Counters::count(&self.counters.unaccepted);
                    if let Some(untold) = UNACCEPTED.turn() {
                        tracing::warn!(%error, untold, "a connection could not be accepted");
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    fn start(self: &Rc<Self>, stream: TcpStream, peer: std::net::SocketAddr, kind: ListenerKind) {
        let open = OpenConnection::count(self, kind);
        let Ok(local) = stream.local_addr() else { return };
        // Answers are written whole; an interactive one must not wait for the client's word. Refused
        // only on a dead socket.
        let _ = stream.set_nodelay(true);
        spawn_local(connection::serve(Rc::clone(self), (stream, kind), (peer, local), open));
    }

    /// The counters of this thread.
    pub(crate) fn tally(&self) -> &ThreadCounters {
        self.counters.of(self.thread)
    }

    /// A place for one of several requests of a connection: each may need a connection to an app, as
    /// if it had come over one of its own. `None` when there are as many as there can be.
    pub(crate) fn place(self: &Rc<Self>) -> Option<RequestPlace> {
        let is_free = self.open.get() < self.max_connections;
        is_free.then(|| {
            self.open.set(self.open.get() + 1);
            RequestPlace(Rc::clone(self))
        })
    }

    /// Since when the process is on its way out, if it is.
    pub(crate) fn drains_since(&self) -> Option<Instant> {
        self.drains_since.get()
    }

    /// Wakes this task at the drain.
    pub(crate) fn register(self: &Rc<Self>, waker: &Waker) -> Registered {
        let number = self.registrations.get() + 1;
        self.registrations.set(number);
        self.waiting.borrow_mut().insert(number, waker.clone());
        Registered { room: Rc::clone(self), number }
    }

    /// The time of day as a `Date` header has it.
    pub(crate) fn date(&self) -> Rc<str> {
        self.clock.date()
    }

    async fn all_closed(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open.get() == 0 {
                return;
            }
            closed.await;
        }
    }
}
