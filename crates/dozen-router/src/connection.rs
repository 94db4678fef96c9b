//! One client connection, whatever is spoken over it.

use std::{cell::Cell, net::SocketAddr, rc::Rc};

use crate::{
    client_stream::ClientStream,
    front_http1,
    worker::{OpenConnection, Room},
};

/// What all requests of a connection have in common.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) room: Rc<Room>,
    /// Where it comes from, for headers and the log.
    pub(crate) address: String,
    /// Whether it is a proxy whose word about its own client counts.
    pub(crate) is_trusted_proxy: bool,
    /// Whether it came over TLS.
    pub(crate) is_tls: bool,
    /// The port it connected to.
    pub(crate) port: String,
    /// Requests taken over it.
    pub(crate) requests: Cell<u64>,
    _open: OpenConnection,
}

/// Serves a connection to its end; at the drain it ends after the request in flight.
pub(crate) async fn serve(
    room: Rc<Room>,
    stream: ClientStream,
    (peer, local): (SocketAddr, SocketAddr),
    open: OpenConnection,
) {
    let ip = peer.ip().to_canonical();
    let client = Client {
        is_trusted_proxy: room.trusted_proxies.contains(&ip),
        room,
        address: ip.to_string(),
        is_tls: stream.is_tls(),
        port: local.port().to_string(),
        requests: Cell::new(0),
        _open: open,
    };
    front_http1::serve(Rc::new(client), stream).await;
}
