//! TLS towards clients: from the first byte of a connection to the end of its handshake.
//!
//! One configuration serves all threads, so that a session that one of them began is resumed on
//! any other: tickets whose keys change every few hours, and a bounded store of sessions for clients
//! without tickets. Which certificate is shown is decided by the name that the client asks for:
//!
//! ```text
//! a name with a certificate    -> that certificate
//! no name                      -> the certificate of the server's own host, if there is one
//! anything else                -> the alert `unrecognized_name`, as nobody could check who answers
//! `acme-tls/1` and no other    -> the certificate of the challenge, and the connection ends
//! ```
//!
//! Handshakes wait in tasks of their own and have the time limit of a request head.
//!
//! Start reading at [`serve`].

use std::{io, net::IpAddr, rc::Rc, sync::Arc, time::Duration};

use rustls::{
    HandshakeKind, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{Acceptor, ClientHello, ResolvesServerCert, ServerSessionMemoryCache},
    sign::CertifiedKey,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use crate::{
    board::Board,
    certificate_index::Shown,
    certificates::Certificates,
    client_stream::ClientStream,
    connection::Client,
    error::RouterError,
    front_h2, front_http1,
    h2_request::Reach,
    status::{Counters, TlsCounters, TlsFailure},
};

/// Of clients without tickets; the oldest goes first.
const SESSIONS: usize = 10_240;
const H2: &[u8] = b"h2";
const HTTP_11: &[u8] = b"http/1.1";
const ACME: &[u8] = b"acme-tls/1";
/// A whole record: alert, TLS 1.2, two bytes: fatal, unrecognized_name (RFC 6066, 3).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// What handshakes are made with.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) certificates: Arc<Certificates>,
    board: Arc<Board>,
    provider: Arc<CryptoProvider>,
    config: Arc<ServerConfig>,
}

/// How a connection began.
#[derive(Debug)]
enum Begun {
    /// With a handshake: the stream, and what the client was shown.
    Secured(ClientStream, Option<Arc<Shown>>),
    /// With the handshake of a challenge, which was all.
    Challenged,
    /// With nothing: it was closed before its first byte.
    Unused,
}

impl Tls {
    /// Shows `certificates`.
    pub(crate) fn new(certificates: Arc<Certificates>, board: Arc<Board>) -> Result<Self, RouterError> {
        let failed = |error| RouterError::Start { what: "set up TLS", source: io::Error::other(error) };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let resolver = ByName { certificates: Arc::clone(&certificates), board: Arc::clone(&board) };
        let mut config = config(&provider, Arc::new(resolver)).map_err(failed)?;
        config.alpn_protocols = vec![H2.to_vec(), HTTP_11.to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(failed)?;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        Ok(Self { certificates, board, provider, config: Arc::new(config) })
    }

    /// Makes the handshake of a connection.
    async fn begin(&self, mut stream: TcpStream) -> io::Result<Begun> {
        if stream.peek(&mut [0]).await? == 0 {
            return Ok(Begun::Unused);
        }
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let name = start.client_hello().server_name().map(name_of);
        if let Some(key) = self.challenge(&start, name.as_deref()) {
            let mut config = config(&self.provider, Arc::new(Only(key))).map_err(io::Error::other)?;
            config.alpn_protocols = vec![ACME.to_vec()];
            config.send_tls13_tickets = 0;
            start.into_stream(Arc::new(config)).await?.shutdown().await?;
            return Ok(Begun::Challenged);
        }
        let shown = choose(&self.certificates, &self.board, name.as_deref());
        if shown.is_none() {
            stream = start.io;
            // Whoever asked may be gone; the reason stays the same.
            let _ = stream.write_all(&UNRECOGNIZED_NAME).await;
            let _ = stream.shutdown().await;
            let name = name.unwrap_or_else(|| "no name".to_owned());
            let text = format!("no certificate covers {name:?}");
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        let stream = start.into_stream(Arc::clone(&self.config)).await?;
        Ok(Begun::Secured(ClientStream::Tls(Box::new(stream)), shown))
    }

    /// The certificate of a challenge, for who asks for nothing but it.
    fn challenge(&self, start: &StartHandshake<TcpStream>, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let hello = start.client_hello();
        let mut protocols = hello.alpn()?;
        let is_only = protocols.next() == Some(ACME) && protocols.next().is_none();
        is_only.then(|| self.certificates.index().tls_challenge(name?).cloned()).flatten()
    }
}

/// Serves a connection to a TLS listener.
pub(crate) async fn serve(client: Rc<Client>, stream: TcpStream) {
    let (room, from) = (Rc::clone(&client.room), client.peer.address);
    let counters = &room.counters.tls;
    let limit: Duration = room.limits.header_read;
    let begun = timeout(limit, room.tls.begin(stream)).await;
    let begun = begun.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long")));
    match begun {
        Ok(Begun::Secured(stream, shown)) => {
            counters.note_handshake(&stream);
            if stream.alpn() != Some(H2) {
                return front_http1::serve(client, stream).await;
            }
            let reach = Reach { asked_for: stream.sni().map(name_of), shown };
            front_h2::serve(client, stream, reach).await;
        }
        Ok(Begun::Challenged) => {
            Counters::count(&counters.challenges);
            tracing::info!(%from, "answered a TLS-ALPN-01 challenge");
        }
        Ok(Begun::Unused) => {}
        Err(error) => counters.note_failure(&error, from),
    }
}

impl TlsCounters {
    fn note_handshake(&self, stream: &ClientStream) {
        Counters::count(&self.handshakes);
        let ClientStream::Tls(stream) = stream else { return };
        if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
            Counters::count(&self.resumed);
        }
    }

    fn note_failure(&self, error: &io::Error, from: IpAddr) {
        Counters::count(&self.failures[failure_of(error) as usize]);
        let Some(untold) = self.telling.turn() else { return };
        tracing::warn!(%from, untold, "a TLS handshake failed: {error}");
    }
}

/// What kind of failure it is.
fn failure_of(error: &io::Error) -> TlsFailure {
    let said = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (said, error.kind()) {
        (Some(rustls::Error::AlertReceived(_)), _) => TlsFailure::Alert,
        (Some(rustls::Error::PeerIncompatible(_)), _) => TlsFailure::Incompatible,
        (Some(_), _) | (None, io::ErrorKind::InvalidData) => TlsFailure::Malformed,
        (None, io::ErrorKind::NotFound) => TlsFailure::NoCertificate,
        (None, io::ErrorKind::TimedOut) => TlsFailure::Timeout,
        (None, _) => TlsFailure::Closed,
    }
}

/// The certificate for a client that asks for `name`.
fn choose(certificates: &Certificates, board: &Board, name: Option<&str>) -> Option<Arc<Shown>> {
    let index = certificates.index();
    match name {
        Some(name) => index.find(name).cloned(),
        None => board.routes().bare_hosts().find_map(|host| index.find_at_or_below(host)).cloned(),
    }
}

/// A name as the index has it.
fn name_of(sni: &str) -> String {
    sni.strip_suffix('.').unwrap_or(sni).to_ascii_lowercase()
}

fn config(
    provider: &Arc<CryptoProvider>,
    resolver: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, rustls::Error> {
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(&versions)?;
    Ok(builder.with_no_client_auth().with_cert_resolver(resolver))
}

/// Shows the certificate of the name that is asked for.
#[derive(Debug)]
struct ByName {
    certificates: Arc<Certificates>,
    board: Arc<Board>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(name_of);
        let shown = choose(&self.certificates, &self.board, name.as_deref())?;
        Some(Arc::clone(&shown.key))
    }
}

/// Shows one certificate to everybody.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
