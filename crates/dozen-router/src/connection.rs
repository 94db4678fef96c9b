//! One client connection: hyper's server around the guarded stream.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
};

use http::{HeaderValue, Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;

use crate::{
    client_stream::ClientStream,
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
    /// The client's address, as a header and in the log.
    pub(crate) address: HeaderValue,
    /// Whether it is a proxy whose word about its own client counts.
    pub(crate) is_trusted_proxy: bool,
    /// Whether nobody on the way here could read or change what it sends.
    pub(crate) is_tls: bool,
    /// The port it connected to.
    pub(crate) port: HeaderValue,
    requests: Cell<u64>,
    /// Told when the first request has begun.
    first: Notify,
    /// Counts the connection, also when a tunnel goes on with it.
    pub(crate) open: RefCell<Option<OpenConnection>>,
}

impl Client {
    /// The client at the other end of `stream`; `None` when the connection is gone already.
    pub(crate) fn new(
        room: Rc<Room>,
        stream: &ClientStream,
        peer: SocketAddr,
        open: OpenConnection,
    ) -> Option<Rc<Self>> {
        let local = stream.local_addr().ok()?;
        Some(Rc::new(Self {
            is_trusted_proxy: room.trusted_proxies.contains(&peer.ip().to_canonical()),
            room,
            state: Arc::new(ConnectionState::default()),
            address: address_header(peer),
            is_tls: stream.is_tls(),
            port: HeaderValue::from(local.port()),
            requests: Cell::new(0),
            first: Notify::new(),
            open: RefCell::new(Some(open)),
        }))
    }

    /// The number of the next request, from 1.
    pub(crate) fn count_request(&self) -> u64 {
        self.requests.set(self.requests.get() + 1);
        if self.requests.get() == 1 {
            self.first.notify_one();
        }
        self.requests.get()
    }

    /// At the drain: when the first request has begun. Of a connection that was accepted a moment
    /// ago it may be on the way, and closing would lose it.
    pub(crate) async fn may_be_told_to_end(&self) {
        let mut stopping = self.room.stopping.clone();
        // Only the end of the process closes the channel.
        let _ = stopping.wait_for(|now| *now != Stopping::No).await;
        if self.requests.get() == 0 {
            self.first.notified().await;
        }
    }
}

/// Serves a connection to its end; at the drain it ends after the request in flight.
pub(crate) async fn serve(room: Rc<Room>, stream: ClientStream, peer: SocketAddr, open: OpenConnection) {
    let limits = room.limits;
    let Some(client) = Client::new(room, &stream, peer, open) else { return };
    let guard = Guard::new(stream, Arc::clone(&client.state), limits);
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
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // A silent one ends by the time limit for heads.
        () = client.may_be_told_to_end() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        if error.is_parse() {
            client.room.counters.refusals.note_no_http(&client.address);
        }
        tracing::debug!(%error, "a client connection broke");
    }
}

fn address_header(peer: SocketAddr) -> HeaderValue {
    let address = peer.ip().to_canonical().to_string();
    HeaderValue::try_from(address).expect("an address is printable ASCII")
}
