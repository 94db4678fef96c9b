//! The public listeners: bound once by control, inherited by every router it starts.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// The queue of connections nobody has accepted yet; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// Silence after which the kernel asks whether the client is still there.
const QUIET: Duration = Duration::from_secs(60);

/// What clients speak on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenerKind {
    /// HTTP/1.1.
    Plain,
    /// TLS, and in it HTTP/2 or HTTP/1.1.
    Tls,
}

/// A public listener: a bound and listening TCP socket, and what clients speak on it.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: OwnedFd,
    /// What clients speak on it.
    pub kind: ListenerKind,
}

impl Listener {
    /// A listener for the same connections.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, kind: self.kind })
    }

    /// The address it is bound to.
    pub fn address(&self) -> io::Result<SocketAddr> {
        let address = SockRef::from(&self.socket).local_addr()?;
        address.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}

/// Binds `count` listeners to one address, one for each thread of the router.
///
/// They share the port with `SO_REUSEPORT`, which would also share it with any other process of
/// this user that does the same. So the port is first taken alone: `AddrInUse` means that somebody
/// else listens. With port 0 all get the same free port. All are close-on-exec.
pub fn bind_listeners(addr: SocketAddr, kind: ListenerKind, count: usize) -> io::Result<Vec<Listener>> {
    let alone = bind(addr, false)?;
    alone.listen(1)?;
    let addr = alone
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "the listener has no address"))?;
    drop(alone);
    let listen = |_| {
        let socket = bind(addr, true)?;
        socket.listen(BACKLOG)?;
        Ok(Listener { socket: socket.into(), kind })
    };
    (0..count.max(1)).map(listen).collect()
}

fn bind(addr: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // Old connections in TIME_WAIT must not keep a restarted server from its port.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// The socket of a listener that was handed over, ready for tokio.
///
/// Accepted sockets inherit its options: small answers leave at once, and a client that vanished
/// without a word is noticed even on an upgraded connection, which has no time limit.
pub(crate) fn adopt(listener: OwnedFd) -> io::Result<tokio::net::TcpListener> {
    rustix::io::ioctl_fionbio(listener.as_fd(), true)?;
    let socket = SockRef::from(&listener);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(QUIET).with_interval(QUIET / 4))?;
    tokio::net::TcpListener::from_std(listener.into())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn a_port_that_somebody_else_listens_on_is_refused() {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let other = TcpListener::bind(free).unwrap();
        let refused = bind_listeners(other.local_addr().unwrap(), ListenerKind::Plain, 2).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);

        let ours = bind_listeners(free, ListenerKind::Plain, 2).unwrap();
        let shared = ours[0].address().unwrap();
        let refused = bind_listeners(shared, ListenerKind::Plain, 2).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse, "SO_REUSEPORT must not let a second server in");
    }

    #[test]
    fn all_listeners_share_one_port() {
        let all = bind_listeners((Ipv4Addr::LOCALHOST, 0).into(), ListenerKind::Tls, 3).unwrap();
        let ports: Vec<_> = all.iter().map(|listener| listener.address().unwrap().port()).collect();
        assert!(ports.len() == 3 && ports.iter().all(|port| *port == ports[0] && *port != 0), "{ports:?}");
    }
}
