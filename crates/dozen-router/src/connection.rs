//! One client connection, whatever is spoken over it.

use std::{cell::Cell, net::SocketAddr, rc::Rc};

use tokio::net::TcpStream;

use crate::{
    client_stream::ClientStream,
    crowd::Place,
    forwarded::Peer,
    front_http1,
    http1::request::Refusal,
    listen::ListenerKind,
    tls,
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

/// Serves a connection to its end; at the drain it ends after what is in flight.
pub(crate) async fn serve(
    room: Rc<Room>,
    (stream, kind): (TcpStream, ListenerKind),
    (peer, local): (SocketAddr, SocketAddr),
    open: OpenConnection,
) {
    let from = Peer::new(peer, local, kind == ListenerKind::Tls, &room.trusted_proxies);
    // A trusted proxy speaks for many clients.
    let most = if from.is_trusted { usize::MAX } else { room.limits.connections_per_client };
    let place = room.crowd.place(from.address, most);
    let is_crowded = place.is_none();
    let client = Rc::new(Client { peer: from, room, requests: Cell::new(0), _open: open, _place: place });
    match kind {
        ListenerKind::Plain if is_crowded => {
            front_http1::turn_away(client, ClientStream::Tcp(stream)).await;
        }
        ListenerKind::Plain => front_http1::serve(client, ClientStream::Tcp(stream)).await,
        // A handshake only to say so would cost more than most requests do.
        ListenerKind::Tls if is_crowded => {
            let from = client.peer.text.to_str().unwrap_or_default();
            client.room.counters.refusals.note_malformed(Refusal::Crowded, from);
        }
        ListenerKind::Tls => tls::serve(client, stream).await,
    }
}
