//! One client connection: hyper's server around the guarded stream.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Notify};

use crate::{
    forwarded::Peer,
    guard::{ConnectionState, Guard},
    head_scan::MAX_HEAD,
    service,
    worker::{OpenConnection, Room, Stopping},
};

/// What all requests of a connection have in common.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) room: Rc<Room>,
    pub(crate) state: Arc<ConnectionState>,
    pub(crate) peer: Peer,
    requests: Cell<u64>,
    /// Told when the first request has begun.
    first: Notify,
    /// Counts the connection, also when a tunnel goes on with it.
    pub(crate) open: RefCell<Option<OpenConnection>>,
}

impl Client {
    /// The number of the next request, from 1.
    pub(crate) fn count_request(&self) -> u64 {
        self.requests.set(self.requests.get() + 1);
        if self.requests.get() == 1 {
            self.first.notify_one();
        }
        self.requests.get()
    }
}

/// Serves a connection to its end; at the drain it ends after the request in flight.
pub(crate) async fn serve(room: Rc<Room>, stream: TcpStream, peer: SocketAddr, open: OpenConnection) {
    let Ok(local) = stream.local_addr() else { return };
    let state = Arc::new(ConnectionState::default());
    let guard = Guard::new(stream, Arc::clone(&state), room.limits);
    let mut stopping = room.stopping.clone();
    let client = Rc::new(Client {
        peer: Peer::new(peer, local, false, &room.trusted_proxies),
        room,
        state,
        requests: Cell::new(0),
        first: Notify::new(),
        open: RefCell::new(Some(open)),
    });
    let answer = |request: Request<Incoming>| {
        let client = Rc::clone(&client);
        async move { Ok::<_, Infallible>(service::answer(client, request).await) }
    };
    let mut connection = pin!(
        http1::Builder::new()
            .max_header_size(MAX_HEAD)
            .serve_connection(TokioIo::new(guard), service_fn(answer))
            .with_upgrades()
    );
    let drained = async {
        // Only the end of the process closes the channel.
        let _ = stopping.wait_for(|now| *now != Stopping::No).await;
        // Accepted a moment ago, its first request may be on the way: closing would lose it. A
        // silent one ends by the time limit for heads.
        if client.requests.get() == 0 {
            client.first.notified().await;
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drained => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        if error.is_parse() {
            client.room.counters.refusals.note_no_http(&client.peer.text);
        }
        tracing::debug!(%error, "a client connection broke");
    }
}
