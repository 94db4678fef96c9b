//! Paths of unix sockets that are deeper than an address has room for.
//!
//! A socket's address holds 107 bytes, and a home folder may be deeper. Such a socket is named
//! through a descriptor of its folder instead, which is as short anywhere. It needs `/proc`, so a
//! path that fits is left as it is.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Mode, OFlags};

/// The most bytes of a path in a socket's address, without the zero at its end.
const LONGEST: usize = 107;

/// A path that fits into a socket's address, for as long as this lives.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    _folder: Option<OwnedFd>,
}

impl SocketPath {
    /// Names the socket at `path`, which need not exist; its folder must when the path is long.
    pub fn of(path: &Path) -> io::Result<Self> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if path.as_os_str().len() <= LONGEST {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, folder, flags, Mode::empty())?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _folder: Some(folder) })
    }

    /// The path to bind or to connect to.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_socket_deeper_than_an_address_is_bound_and_connected_to() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("deep".repeat(20)).join("deeper".repeat(20));
        std::fs::create_dir_all(&folder).unwrap();
        for name in [top.path().join("near.sock"), folder.join("far.sock")] {
            let address = SocketPath::of(&name).unwrap();
            let _listener = UnixListener::bind(address.path()).unwrap();
            UnixStream::connect(SocketPath::of(&name).unwrap().path()).unwrap();
            assert!(name.exists());
        }
    }
}
