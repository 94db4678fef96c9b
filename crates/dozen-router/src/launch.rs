//! How control hands a starting router its sockets and settings.
//!
//! The router's standard input is one end of a socket pair. Control sends one line over it, and
//! the descriptors with it: nothing else is inherited, nothing stands on the command line, and no
//! descriptor number has to be agreed on. Afterwards the router's standard input is `/dev/null`.
//!
//! Start reading at [`Launch::spawn`].

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::{Child, Command},
    time::Duration,
};

use dozen_model::address_range::AddressRange;
use serde::{Deserialize, Serialize};

use crate::{
    error::RouterError,
    fd_passing::{LineReader, send_line},
    listen::{Listener, ListenerKind},
    options::{DropTo, Limits, RouterOptions},
};

/// What a router needs besides its sockets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LaunchSettings {
    /// Where the last route table and the certificates are kept.
    pub state_dir: PathBuf,
    /// Below which access logs are written.
    pub access_dir: PathBuf,
    /// What to continue as, when started as root.
    pub drop_to: Option<DropTo>,
    /// Proxies before this router whose word about the client counts.
    #[serde(default)]
    pub trusted_proxies: Vec<AddressRange>,
    /// Time limits and bounds.
    #[serde(default)]
    pub limits: Limits,
}

/// The one line.
#[derive(Debug, Serialize, Deserialize)]
struct Line<Settings> {
    settings: Settings,
    /// Of the descriptors that follow the control socket's, in order.
    listeners: Vec<ListenerKind>,
}

/// A router about to be started. Control keeps it: a router that died is started again with the
/// same listeners, and connections wait in their queues meanwhile.
#[derive(Debug)]
pub struct Launch {
    /// From [`bind_listeners`](crate::bind_listeners).
    pub listeners: Vec<Listener>,
    /// The bound and listening unix socket of the control protocol.
    pub control: OwnedFd,
    /// The rest.
    pub settings: LaunchSettings,
}

impl Launch {
    /// Starts `command`, whose process calls [`RouterOptions::from_stdin`] first, and hands it
    /// copies of the sockets. Standard output and error are the caller's choice.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = command.stdin(OwnedFd::from(theirs)).spawn()?;
        // The command keeps the other end open until it is dropped; a timeout bounds the send.
        command.stdin(std::process::Stdio::null());
        ours.set_write_timeout(Some(Duration::from_secs(10)))?;
        let kinds = self.listeners.iter().map(|listener| listener.kind).collect();
        let line = serde_json::to_vec(&Line { settings: &self.settings, listeners: kinds })?;
        let mut fds = vec![self.control.as_fd()];
        fds.extend(self.listeners.iter().map(|listener| listener.socket.as_fd()));
        match send_line(&ours, line, &fds) {
            Ok(()) => Ok(child),
            Err(error) => {
                let mut child = child;
                // It has nothing to serve with; whether it is already gone does not matter.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// The other side of [`Launch::spawn`].
    pub(crate) fn receive() -> io::Result<RouterOptions> {
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let options = receive_from(&stream)?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(options)
    }
}

fn receive_from(stream: &UnixStream) -> io::Result<RouterOptions> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let Some((line, fds)) = LineReader::new(stream).next_line()? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let Line { settings, listeners: kinds } = serde_json::from_slice::<Line<LaunchSettings>>(&line)?;
    let mut fds = fds.into_iter();
    let Some(control) = fds.next().filter(|_| fds.len() == kinds.len()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, RouterError::NoListener));
    };
    Ok(RouterOptions {
        listeners: fds.zip(kinds).map(|(socket, kind)| Listener { socket, kind }).collect(),
        control,
        state_dir: settings.state_dir,
        access_dir: settings.access_dir,
        drop_to: settings.drop_to,
        trusted_proxies: settings.trusted_proxies,
        limits: settings.limits,
    })
}
