//! The connections of one thread to the apps.
//!
//! A connection is lent for one request and comes back when the answer's last byte was taken. It
//! is not kept for long: app servers close idle ones, and a request that meets the close is lost
//! unless it may be sent twice. Requests that may not be sent twice get a new connection, or, if so
//! set, one that was used a moment ago and that the kernel says is open. An endpoint that left the
//! table keeps none, so that its app can end.

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc, sync::Arc};

use tokio::{
    net::TcpStream,
    sync::Notify,
    task::spawn_local,
    time::{Duration, Instant, sleep, timeout},
};

use crate::{
    board::{Board, Endpoint},
    fast_map::FastMap,
    options::Limits,
    upstream::Upstream,
};

type Key = (u64, SocketAddr);

/// The pool of one thread.
#[derive(Debug)]
pub(crate) struct Pool(Rc<Shelves>);

#[derive(Debug)]
struct Shelves {
    idle: RefCell<FastMap<Key, Vec<Idle>>>,
    filled: Notify,
    board: Arc<Board>,
    limits: Limits,
}

#[derive(Debug)]
struct Idle {
    upstream: Box<Upstream>,
    since: Instant,
}

/// A connection lent for one request; dropping it gives it back if it can be used again, and else
/// closes it.
#[derive(Debug)]
pub(crate) struct Lent {
    shelves: Rc<Shelves>,
    key: Key,
    generation: u64,
    upstream: Option<Box<Upstream>>,
    /// Whether the app has got all of its request.
    is_sent: bool,
}

impl Pool {
    pub(crate) fn new(board: Arc<Board>, limits: Limits) -> Self {
        Self(Rc::new(Shelves { idle: RefCell::default(), filled: Notify::new(), board, limits }))
    }

    /// A connection that waits for a request, the last used first. `is_replayable` says whether
    /// the request may be sent again should the connection turn out to be dead.
    pub(crate) fn take(&self, endpoint: &Endpoint, is_replayable: bool) -> Option<Lent> {
        let key = (endpoint.load.key, endpoint.address);
        let limits = &self.0.limits;
        let most = if is_replayable { limits.pool_idle } else { limits.pool_idle_unsafe };
        let mut idle = self.0.idle.borrow_mut();
        let shelf = idle.get_mut(&key)?;
        while let Some(Idle { upstream, since }) = shelf.pop() {
            if since.elapsed() > most {
                // The others are older still; for another request they may do.
                if is_replayable {
                    shelf.clear();
                } else {
                    shelf.push(Idle { upstream, since });
                }
                return None;
            }
            let is_open = if is_replayable { upstream.seems_quiet() } else { upstream.is_quiet() };
            if is_open {
                return Some(self.lend(key, upstream));
            }
        }
        None
    }

    /// A new connection.
    pub(crate) async fn connect(&self, endpoint: &Endpoint) -> io::Result<Lent> {
        let connect = TcpStream::connect(endpoint.address);
        let stream = timeout(self.0.limits.connect, connect).await.map_err(|_| io::ErrorKind::TimedOut)??;
        // Refused only on a dead socket, which the send will notice.
        let _ = stream.set_nodelay(true);
        Ok(self.lend((endpoint.load.key, endpoint.address), Box::new(Upstream::new(stream))))
    }

    fn lend(&self, key: Key, mut upstream: Box<Upstream>) -> Lent {
        upstream.reset();
        let generation = self.0.board.generation();
        Lent { shelves: Rc::clone(&self.0), key, generation, upstream: Some(upstream), is_sent: false }
    }

    /// Starts the task that closes what has been idle for too long, or belongs to an endpoint that
    /// left the table. It sleeps while there is nothing to close.
    pub(crate) fn keep_clean(&self) {
        let shelves = Rc::clone(&self.0);
        let mut changes = shelves.board.changes();
        spawn_local(async move {
            loop {
                if shelves.idle.borrow().is_empty() {
                    shelves.filled.notified().await;
                }
                tokio::select! {
                    () = sleep(Duration::from_secs(1)) => {}
                    changed = changes.changed() => if changed.is_err() { return },
                }
                shelves.clean();
            }
        });
    }
}

impl Shelves {
    fn clean(&self) {
        let routes = self.board.routes();
        let now = Instant::now();
        self.idle.borrow_mut().retain(|(key, _), shelf| {
            let is_young = |idle: &Idle| now.duration_since(idle.since) <= self.limits.pool_idle;
            shelf.retain(|idle| is_young(idle) && idle.upstream.seems_quiet());
            !shelf.is_empty() && routes.has_endpoint(*key)
        });
    }

    fn put(&self, key: Key, generation: u64, upstream: Box<Upstream>) {
        let is_current = self.board.generation() == generation || self.board.routes().has_endpoint(key.0);
        let mut idle = self.idle.borrow_mut();
        let shelf = idle.entry(key).or_default();
        if is_current && shelf.len() < self.limits.pool_per_endpoint {
            let is_first = shelf.is_empty();
            shelf.push(Idle { upstream, since: Instant::now() });
            if is_first {
                self.filled.notify_one();
            }
        }
    }
}

impl Lent {
    /// The connection.
    pub(crate) fn upstream(&mut self) -> &mut Upstream {
        self.upstream.as_mut().expect("a connection is given up only by who consumes its loan")
    }

    /// Notes that the app has got all of the request: else it may take what comes next for its rest.
    pub(crate) fn sent(&mut self) {
        self.is_sent = true;
    }

    /// Gives the connection up to whoever goes on with it: it was upgraded.
    pub(crate) fn take(mut self) -> Box<Upstream> {
        self.upstream.take().expect("a connection is given up only by who consumes its loan")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(upstream) = self.upstream.take()
            && self.is_sent
            && upstream.is_reusable()
        {
            self.shelves.put(self.key, self.generation, upstream);
        }
    }
}
