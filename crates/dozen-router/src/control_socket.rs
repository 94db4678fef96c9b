//! The router's side of the control protocol, on a thread of its own.
//!
//! One connection is served after the other is done or in parallel up to a bound; a table is
//! stored, then swapped, then answered for. Only root and this user may ask.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use dozen_model::{address_range::AddressRange, route_table::RouteTable};
use parking_lot::Mutex;
use rustix::{net::sockopt::socket_peercred, process::geteuid};

use crate::{
    board::Board,
    certificates::Certificates,
    error::RouterError,
    fd_passing::{LineReader, send_line},
    listen::Listener,
    metrics,
    options::Limits,
    protocol::{Answer, ListenerStatus, Request, RouterStatus},
    status::Counters,
    table_file,
};

/// A client that sends half a line must not keep a thread for ever.
const CLIENT_IDLE: Duration = Duration::from_secs(600);
const MAX_CLIENTS: usize = 16;

/// What the control socket answers from.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    pub(crate) board: Arc<Board>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) threads: usize,
    pub(crate) trusted_proxies: Arc<[AddressRange]>,
    pub(crate) limits: Limits,
    pub(crate) state_dir: PathBuf,
    /// Held while a table is stored and swapped: one after the other.
    pub(crate) swapping: Mutex<()>,
}

impl ControlSocket {
    /// Serves `listener` until the process ends.
    pub(crate) fn serve(self, listener: OwnedFd) -> io::Result<()> {
        rustix::io::ioctl_fionbio(listener.as_fd(), false)?;
        let listener = UnixListener::from(listener);
        let socket = Arc::new(self);
        let accept = move || {
            loop {
                match listener.accept() {
                    Ok((stream, _)) if Arc::strong_count(&socket) <= MAX_CLIENTS => {
                        let socket = Arc::clone(&socket);
                        let serve = move || socket.serve_client(&stream);
                        if let Err(error) = thread::Builder::new().name("control-client".into()).spawn(serve)
                        {
                            tracing::warn!(%error, "no thread for a control connection");
                        }
                    }
                    Ok(_) => tracing::warn!("too many control connections"),
                    Err(error) => {
                        tracing::warn!(%error, "the control socket accepts nothing");
                        thread::sleep(Duration::from_millis(100));
                    }
                }
            }
        };
        thread::Builder::new().name("control".into()).spawn(accept)?;
        Ok(())
    }

    fn serve_client(&self, stream: &UnixStream) {
        if let Err(error) = self.answer_all(stream) {
            tracing::debug!(%error, "a control connection ended");
        }
    }

    fn answer_all(&self, stream: &UnixStream) -> io::Result<()> {
        let peer = socket_peercred(stream.as_fd())?.uid;
        if !peer.is_root() && peer != geteuid() {
            return send_line(stream, serde_json::to_vec(&Answer::Refused("not your router".into()))?, &[]);
        }
        stream.set_read_timeout(Some(CLIENT_IDLE))?;
        stream.set_write_timeout(Some(CLIENT_IDLE))?;
        let mut lines = LineReader::new(stream);
        while let Some((line, _)) = lines.next_line()? {
            let answer = match serde_json::from_slice(&line) {
                Ok(request) => self.answer(request),
                Err(error) => Answer::Refused(unreadable(&line, &error)),
            };
            let fds: Vec<_> = match answer {
                Answer::Listeners(_) => self.listeners.iter().map(|one| one.socket.as_fd()).collect(),
                _ => Vec::new(),
            };
            send_line(stream, serde_json::to_vec(&answer)?, &fds)?;
        }
        Ok(())
    }

    fn answer(&self, request: Request) -> Answer {
        match request {
            Request::SetTable(table) => {
                let generation = table.generation;
                match self.set_table(table) {
                    Ok(()) => Answer::Swapped(generation),
                    Err(error) => Answer::Refused(with_source(&error)),
                }
            }
            Request::SetCertificates(set) => {
                let generation = set.generation;
                match self.certificates.set(set) {
                    Ok(()) => Answer::CertificatesSwapped(generation),
                    Err(error) => Answer::Refused(with_source(&error)),
                }
            }
            Request::InFlight {} => Answer::InFlight(self.board.in_flight()),
            Request::Listeners {} => Answer::Listeners(self.listeners.iter().map(|one| one.kind).collect()),
            Request::Status {} => Answer::Status(Box::new(self.status())),
            Request::Metrics {} => Answer::Metrics(metrics::text(&self.board.routes(), &self.counters)),
            Request::CloseUpgraded { endpoint } => Answer::Closing(self.board.close_upgraded(&endpoint)),
        }
    }

    fn status(&self) -> RouterStatus {
        let certificates = self.certificates.index();
        let at = |one: &Listener| Some(ListenerStatus { address: one.address().ok()?, kind: one.kind });
        // One for each thread.
        let mut listeners: Vec<_> = self.listeners.iter().filter_map(at).collect();
        listeners.dedup();
        RouterStatus {
            generation: self.board.routes().generation,
            threads: self.threads,
            held: self.board.held(),
            trusted_proxies: self.trusted_proxies.to_vec(),
            limits: self.limits,
            state_dir: self.state_dir.clone(),
            listeners,
            certificate_generation: certificates.generation,
            certificates: certificates.len(),
            ..self.counters.status()
        }
    }

    fn set_table(&self, table: RouteTable) -> Result<(), RouterError> {
        let _one_at_a_time = self.swapping.lock();
        if self.board.accepts(&table)? {
            // Stored first: a router that dies in between starts again with the newer table, which
            // control has not been told about yet and will send again.
            table_file::store(&self.state_dir, &table)?;
            self.board.swap(table);
        }
        Ok(())
    }
}

/// What is wrong with a line; nothing of it is quoted where keys may be in it.
fn unreadable(line: &[u8], error: &serde_json::Error) -> String {
    if line.starts_with(br#"{"set_certificates""#) {
        return format!("the certificates cannot be read (at byte {})", error.column());
    }
    error.to_string()
}

fn with_source(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
