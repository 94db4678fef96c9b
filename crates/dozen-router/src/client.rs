//! Control's side of the control protocol: small, blocking, one connection.
//!
//! A call that could not be answered leaves the connection unusable: connect again.

use std::{
    collections::BTreeMap,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use dozen_model::{certificates::CertificateSet, route_table::RouteTable};

use crate::{
    error::RouterError,
    fd_passing::{LineReader, send_line},
    listen::Listener,
    protocol::{Answer, EndpointLoad, Request, RouterStatus},
};

/// Longer than a slow disk needs to store a table.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// A connection to the router's control socket.
#[derive(Debug)]
pub struct RouterClient {
    stream: UnixStream,
}

impl RouterClient {
    /// Connects to the socket at `path`. While no router runs, the connection waits in the socket's
    /// queue and the first call waits for a router to come back.
    pub fn connect(path: &Path) -> Result<Self, RouterError> {
        let connect = || {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(ANSWER_WITHIN))?;
            stream.set_write_timeout(Some(ANSWER_WITHIN))?;
            Ok(Self { stream })
        };
        connect().map_err(RouterError::Unreachable)
    }

    /// How long the next calls wait for their answer; a moment at least.
    pub fn answer_within(&self, limit: Duration) -> Result<(), RouterError> {
        // Zero would mean for ever.
        let limit = Some(limit.max(Duration::from_millis(1)));
        let set = self.stream.set_read_timeout(limit).and_then(|()| self.stream.set_write_timeout(limit));
        set.map_err(RouterError::Unreachable)
    }

    /// Makes the router route by `table`, and returns once it is stored and in use by every thread:
    /// what is in flight to an endpoint that is not in it can only become less from then on.
    pub fn set_table(&mut self, table: &RouteTable) -> Result<u64, RouterError> {
        match self.ask(&Request::SetTable(table.clone()))?.0 {
            Answer::Swapped(generation) => Ok(generation),
            other => Err(unexpected(other)),
        }
    }

    /// Makes the router show these certificates, and returns once they are stored and every
    /// handshake from then on shows them. Connections that are open stay as they are.
    pub fn set_certificates(&mut self, set: &CertificateSet) -> Result<u64, RouterError> {
        match self.ask(&Request::SetCertificates(set.clone()))?.0 {
            Answer::CertificatesSwapped(generation) => Ok(generation),
            other => Err(unexpected(other)),
        }
    }

    /// What each endpoint has in flight; one that is not listed has nothing.
    pub fn in_flight(&mut self) -> Result<BTreeMap<String, EndpointLoad>, RouterError> {
        match self.ask(&Request::InFlight {})?.0 {
            Answer::InFlight(loads) => Ok(loads),
            other => Err(unexpected(other)),
        }
    }

    /// Copies of the public listeners, for a control that was restarted.
    pub fn listeners(&mut self) -> Result<Vec<Listener>, RouterError> {
        match self.ask(&Request::Listeners {})? {
            (Answer::Listeners(kinds), fds) if kinds.len() == fds.len() => {
                Ok(fds.into_iter().zip(kinds).map(|(socket, kind)| Listener { socket, kind }).collect())
            }
            (other, _) => Err(unexpected(other)),
        }
    }

    /// How the router does.
    pub fn status(&mut self) -> Result<RouterStatus, RouterError> {
        match self.ask(&Request::Status {})?.0 {
            Answer::Status(status) => Ok(*status),
            other => Err(unexpected(other)),
        }
    }

    /// What the router has counted since its start, in Prometheus' text format (0.0.4).
    pub fn metrics(&mut self) -> Result<String, RouterError> {
        match self.ask(&Request::Metrics {})?.0 {
            Answer::Metrics(text) => Ok(text),
            other => Err(unexpected(other)),
        }
    }

    /// Ends the upgraded connections of an endpoint, WebSockets with a close frame (1001), and any
    /// that may still be opened. Returns how many there were.
    pub fn close_upgraded(&mut self, endpoint: &str) -> Result<usize, RouterError> {
        match self.ask(&Request::CloseUpgraded { endpoint: endpoint.to_owned() })?.0 {
            Answer::Closing(count) => Ok(count),
            other => Err(unexpected(other)),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<(Answer, Vec<OwnedFd>), RouterError> {
        let exchange = || {
            send_line(&self.stream, serde_json::to_vec(request)?, &[])?;
            let line = LineReader::new(&self.stream).next_line()?;
            let (line, fds) = line.ok_or(io::ErrorKind::UnexpectedEof)?;
            Ok((serde_json::from_slice(&line)?, fds))
        };
        exchange().map_err(RouterError::Unreachable)
    }
}

fn unexpected(answer: Answer) -> RouterError {
    match answer {
        Answer::Refused(reason) => RouterError::Refused(reason),
        other => RouterError::Refused(format!("`{other:?}` is not the answer to this question")),
    }
}
