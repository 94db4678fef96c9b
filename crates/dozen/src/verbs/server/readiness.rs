//! Telling systemd that the server answers, as `Type=notify` of its unit asks.
//!
//! Without this, `systemctl start` would come back while the router does not listen yet, and
//! would call a server started whose port is taken.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram, UnixStream},
        },
    },
    path::PathBuf,
    thread,
    time::Duration,
};

/// How often the server is asked whether it answers.
const LOOK: Duration = Duration::from_millis(10);

/// Watches from a thread of its own for the server to answer on `api`, then tells `manager`.
///
/// The API comes last in a start: the router listens by then and knows all apps. The thread ends with the
/// process if that never happens.
pub(super) fn announce_on(manager: &OsStr, api: PathBuf) {
    let manager = manager.to_owned();
    thread::spawn(move || {
        while UnixStream::connect(&api).is_err() {
            thread::sleep(LOOK);
        }
        if let Err(error) = tell(&manager, b"READY=1") {
            tracing::warn!("systemd could not be told that the server answers: {error}");
        }
    });
}

/// Sends one message; a name that begins with `@` is in the abstract namespace.
fn tell(manager: &OsStr, message: &[u8]) -> io::Result<()> {
    let address = match manager.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn heard(manager: &UnixDatagram) -> io::Result<Vec<u8>> {
        let mut message = [0; 64];
        let length = manager.recv(&mut message)?;
        Ok(message[..length].to_vec())
    }

    #[test]
    fn systemd_is_told_when_the_server_answers_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let (path, api) = (folder.path().join("notify"), folder.path().join("control.sock"));
        let manager = UnixDatagram::bind(&path).unwrap();
        // A socket that a killed server left: nobody listens.
        drop(UnixListener::bind(&api).unwrap());
        announce_on(path.as_os_str(), api.clone());
        manager.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(heard(&manager).is_err(), "nothing answers yet");
        std::fs::remove_file(&api).unwrap();
        let _server = UnixListener::bind(&api).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(heard(&manager).unwrap(), b"READY=1");
    }

    #[test]
    fn a_manager_in_the_abstract_namespace_is_told_too() {
        let name = format!("dozen-readiness-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        tell(OsStr::new(&format!("@{name}")), b"READY=1").unwrap();
        assert_eq!(heard(&manager).unwrap(), b"READY=1");
    }
}
