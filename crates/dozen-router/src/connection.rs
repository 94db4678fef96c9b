//! One client connection, whatever is spoken over it.

use std::{cell::Cell, net::SocketAddr, rc::Rc};

use crate::{
    client_stream::ClientStream,
    crowd::Place,
    forwarded::Peer,
    front_http1,
    worker::{OpenConnection, Room},
};

/// What all requests of a connection have in common.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) room: Rc<Room>,
    pub(crate) peer: Peer,
    /// Requests taken over it.
    pub(crate) requests: Cell<u64>,
    _open: OpenConnection,
    _place: Option<Place>,
}

/// Serves a connection to its end; at the drain it ends after the request in flight.
pub(crate) async fn serve(
    room: Rc<Room>,
    stream: ClientStream,
    (peer, local): (SocketAddr, SocketAddr),
    open: OpenConnection,
) {
    let from = Peer::new(peer, local, stream.is_tls(), &room.trusted_proxies);
    // A trusted proxy speaks for many clients.
    let most = if from.is_trusted { usize::MAX } else { room.limits.connections_per_client };
    let place = room.crowd.place(from.address, most);
    let is_crowded = place.is_none();
    let client = Client { peer: from, room, requests: Cell::new(0), _open: open, _place: place };
    if is_crowded {
        front_http1::turn_away(Rc::new(client), stream).await;
    } else {
        front_http1::serve(Rc::new(client), stream).await;
    }
}
