//! The connections of one thread to the apps.
//!
//! A connection is lent for one request and comes back when the answer's last byte was taken. It
//! is not kept for long: app servers close idle ones, and a request that meets the close is lost
//! unless it may be sent twice. Requests that may not be sent twice get a new connection, or, if so
//! set, one that was used a moment ago and that the kernel says is open. An endpoint that left the
//! table keeps none, so that its app can end.

use std::{cell::RefCell, collections::HashMap, io, net::SocketAddr, rc::Rc, sync::Arc};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::Notify,
    task::spawn_local,
    time::{Duration, Instant, sleep, timeout},
};

use crate::{
    board::{Board, Endpoint},
    options::Limits,
    request_body::RequestBody,
    upstream::Upstream,
};

type Key = (u64, SocketAddr);

/// The pool of one thread.
#[derive(Debug)]
pub(crate) struct Pool(Rc<Shelves>);

#[derive(Debug)]
struct Shelves {
    idle: RefCell<HashMap<Key, Vec<Idle>>>,
    filled: Notify,
    board: Arc<Board>,
    limits: Limits,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    stream: Upstream,
    since: Instant,
}

/// A connection lent for one request; dropping it gives it back if it can be used again.
#[derive(Debug)]
pub(crate) struct Lent {
    shelves: Rc<Shelves>,
    key: Key,
    generation: u64,
    connection: Option<(SendRequest<RequestBody>, Upstream)>,
    is_reused: bool,
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
        while let Some(Idle { sender, stream, since }) = shelf.pop() {
            if since.elapsed() > most {
                // The others are older still; for another request they may do.
                if is_replayable {
                    shelf.clear();
                } else {
                    shelf.push(Idle { sender, stream, since });
                }
                return None;
            }
            if sender.is_ready() && (is_replayable || stream.is_quiet()) {
                return Some(self.lend(key, sender, stream, true));
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
        let stream = Upstream::new(stream);
        let handshake = http1::Builder::new().handshake(TokioIo::new(stream.clone()));
        let (sender, connection) = handshake.await.map_err(io::Error::other)?;
        spawn_local(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to an app broke");
            }
        });
        Ok(self.lend((endpoint.load.key, endpoint.address), sender, stream, false))
    }

    fn lend(&self, key: Key, sender: SendRequest<RequestBody>, stream: Upstream, is_reused: bool) -> Lent {
        let generation = self.0.board.generation();
        Lent { shelves: Rc::clone(&self.0), key, generation, connection: Some((sender, stream)), is_reused }
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
            shelf.retain(|idle| is_young(idle) && !idle.sender.is_closed());
            !shelf.is_empty() && routes.has_endpoint(*key)
        });
    }

    fn put(&self, key: Key, generation: u64, sender: SendRequest<RequestBody>, stream: Upstream) {
        let is_current = self.board.generation() == generation || self.board.routes().has_endpoint(key.0);
        let mut idle = self.idle.borrow_mut();
        let shelf = idle.entry(key).or_default();
        if is_current && shelf.len() < self.limits.pool_per_endpoint {
            let is_first = shelf.is_empty();
            shelf.push(Idle { sender, stream, since: Instant::now() });
            if is_first {
                self.filled.notify_one();
            }
        }
    }
}

impl Lent {
    /// Whether it has served requests before.
    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// The sending half.
    pub(crate) fn sender(&mut self) -> Option<&mut SendRequest<RequestBody>> {
        self.connection.as_mut().map(|(sender, _)| sender)
    }

    /// Gives the connection up to whoever goes on with it: it was upgraded.
    pub(crate) fn discard(mut self) {
        self.connection = None;
    }

    /// Ends the connection: what was asked on it is not to be answered any more.
    pub(crate) fn abort(mut self) {
        if let Some((_, stream)) = self.connection.take() {
            stream.abort();
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some((mut sender, stream)) = self.connection.take() else { return };
        if sender.is_ready() {
            self.shelves.put(self.key, self.generation, sender, stream);
        } else if !sender.is_closed() {
            // The last byte was taken, but the connection's task has not come to notice yet, or the
            // app answered before it has read all. One whose answer was broken off never gets ready:
            // it ends with an error here, or, where the app takes nothing, by the limit.
            let (shelves, key, generation) = (Rc::clone(&self.shelves), self.key, self.generation);
            spawn_local(async move {
                match timeout(shelves.limits.idle, sender.ready()).await {
                    Ok(Ok(())) => shelves.put(key, generation, sender, stream),
                    _ => stream.abort(),
                }
            });
        }
    }
}
