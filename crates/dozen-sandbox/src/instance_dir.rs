//! The directory of one instance: its sockets, its state, its exit records, its lock.
//!
//! ```text
//! lock        held by the living shim
//! state.json  what is known, replaced as a whole
//! shim.sock   requests of control
//! init.sock   bound by the shim before the walls are built, served by init
//! exit.N      how incarnation N ended, written by init
//! root        an empty directory that the walls mount the new root on
//! ```
//!
//! It belongs to the shim's user alone (0700), so who can name a file in it is that user or root.
//! A shim refuses any other one. Root may look at the instance of an ordinary user, and then takes
//! nothing in it for more than that user's word.
//! Everything is reached through one descriptor: no path is resolved twice, and sockets may lie
//! deeper than the 108 bytes that an address has.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};

use crate::{
    exit_record::{EXIT_RECORD_BYTES, ExitRecord},
    state::InstanceState,
    sys::lock,
};

const LOCK: &str = "lock";
const STATE: &str = "state.json";
const NEW_STATE: &str = "state.new";
const SHIM_SOCKET: &str = "shim.sock";
const INIT_SOCKET: &str = "init.sock";
/// The mount point of the new root.
pub(crate) const ROOT: &str = "root";
const MAX_STATE_BYTES: u64 = 1 << 20;
/// Connections that may wait while init builds the walls or is frozen.
const INIT_BACKLOG: i32 = 128;

/// An open directory of an instance.
pub(crate) struct InstanceDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl InstanceDir {
    /// Makes the directory if it is missing, and opens it.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Self::open(path),
            Err(other) => Err(other.into()),
        }
    }

    /// Opens the directory to look at it; refuses one that other users can enter, and unless we
    /// are root one that another user owns.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        let me = rustix::process::geteuid();
        let is_private = Mode::from_raw_mode(stat.st_mode) & (Mode::RWXG | Mode::RWXO) == Mode::empty();
        if !(is_private && (stat.st_uid == me.as_raw() || me.is_root())) {
            return Err(not_private());
        }
        Ok(Self { fd, path: path.to_owned() })
    }

    /// The same directory to keep an instance in; refuses one that another user owns, whoever we are.
    pub(crate) fn require_own(self) -> io::Result<Self> {
        let owner = rustix::fs::fstat(&self.fd)?.st_uid;
        if owner == rustix::process::geteuid().as_raw() { Ok(self) } else { Err(not_private()) }
    }

    /// Where it is, for messages and for the mount point.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its path leads elsewhere or nowhere: then nobody can reach its sockets any more.
    ///
    /// A path that cannot be looked at now may lead there again.
    pub(crate) fn is_gone(&self) -> bool {
        let Ok(mine) = rustix::fs::fstat(&self.fd) else { return false };
        match rustix::fs::statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => (found.st_dev, found.st_ino) != (mine.st_dev, mine.st_ino),
            Err(reason) => matches!(reason, rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR),
        }
    }

    /// Makes the mount point of the new root.
    pub(crate) fn make_root(&self) -> io::Result<()> {
        match rustix::fs::mkdirat(&self.fd, ROOT, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    fn open_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// The lock file; the shim opens it once, see [`lock`].
    pub(crate) fn open_lock(&self) -> io::Result<File> {
        self.open_file(LOCK, OFlags::RDWR | OFlags::CREATE)
    }

    /// Keeps shims away until the file is dropped; `None` when one is there.
    pub(crate) fn bar(&self) -> io::Result<Option<File>> {
        let file = self.open_lock()?;
        Ok(lock::try_bar(&file)?.then_some(file))
    }

    /// Removes the state: without one there is nothing to adopt.
    pub(crate) fn remove_state(&self) -> io::Result<()> {
        self.remove(STATE)
    }

    /// The pid of the living shim.
    pub(crate) fn shim_pid(&self) -> io::Result<Option<u32>> {
        match self.open_file(LOCK, OFlags::RDWR) {
            Ok(file) => lock::holder(&file),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// The state, if one was ever written.
    pub(crate) fn read_state(&self) -> io::Result<Option<InstanceState>> {
        let file = match self.open_file(STATE, OFlags::RDONLY) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut json = Vec::new();
        file.take(MAX_STATE_BYTES).read_to_end(&mut json)?;
        let state = serde_json::from_slice(&json);
        state.map(Some).map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad))
    }

    /// Replaces the state as a whole.
    pub(crate) fn write_state(&self, state: &InstanceState) -> io::Result<()> {
        let json = serde_json::to_vec(state)?;
        let mut file = self.open_file(NEW_STATE, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
        file.write_all(&json)?;
        rustix::fs::renameat(&self.fd, NEW_STATE, &self.fd, STATE)?;
        Ok(())
    }

    /// Makes the exit record of an incarnation, at its full size and without a record.
    pub(crate) fn create_exit_record(&self, incarnation: u32) -> io::Result<File> {
        let mut file =
            self.open_file(&exit_name(incarnation), OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)?;
        file.write_all(&[0; EXIT_RECORD_BYTES])?;
        Ok(file)
    }

    /// What init wrote about an incarnation's end, if it did.
    pub(crate) fn read_exit_record(&self, incarnation: u32) -> Option<ExitRecord> {
        let mut record = Vec::with_capacity(EXIT_RECORD_BYTES + 1);
        let file = self.open_file(&exit_name(incarnation), OFlags::RDONLY).ok()?;
        file.take(EXIT_RECORD_BYTES as u64 + 1).read_to_end(&mut record).ok()?;
        ExitRecord::decode(&record)
    }

    /// Removes the exit record of an incarnation whose end is in the state.
    pub(crate) fn remove_exit_record(&self, incarnation: u32) {
        // Nothing depends on its going: the number is never used again.
        let _ = self.remove(&exit_name(incarnation));
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    fn address(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.fd.as_fd().as_raw_fd()))
    }

    /// Binds the socket of the shim; a dead shim's is replaced.
    pub(crate) fn bind_shim_socket(&self) -> io::Result<UnixListener> {
        self.remove(SHIM_SOCKET)?;
        let listener = UnixListener::bind(self.address(SHIM_SOCKET))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Connects to the shim.
    pub(crate) fn connect_shim(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.address(SHIM_SOCKET))
    }

    /// Binds the socket of init, to be handed to it.
    pub(crate) fn bind_init_socket(&self) -> io::Result<OwnedFd> {
        self.remove(INIT_SOCKET)?;
        let socket = packet_socket()?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(self.address(INIT_SOCKET))?)?;
        rustix::net::listen(&socket, INIT_BACKLOG)?;
        Ok(socket)
    }

    /// Connects to init; `None` when nobody listens. That init does not accept (it builds the walls, it
    /// is frozen) is the error `WouldBlock`; neither that nor any other one tells of its death.
    pub(crate) fn connect_init(&self) -> io::Result<Option<OwnedFd>> {
        match rustix::fs::statat(&self.fd, INIT_SOCKET, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Socket => {}
            Ok(_) | Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(other) => return Err(other.into()),
        }
        let socket = packet_socket()?;
        match rustix::net::connect(&socket, &SocketAddrUnix::new(self.address(INIT_SOCKET))?) {
            Ok(()) => Ok(Some(socket)),
            Err(rustix::io::Errno::CONNREFUSED | rustix::io::Errno::NOENT) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}

fn not_private() -> io::Error {
    io::Error::other("its owner is another user, or others may enter it")
}

fn packet_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

fn exit_name(incarnation: u32) -> String {
    format!("exit.{incarnation}")
}
