//! The way to one shim: a request and its answer, a subscription, an attachment.
//!
//! A subscription and an attachment go on after their first answer, so that answer is read to its
//! line end and not a byte further.

use std::{
    io::{self, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use dozen_sandbox::{
    SandboxError,
    client::{self, LaunchMode, Observation, ShimHandle},
    protocol::{MAX_LINE_BYTES, Reply, Request},
    spec::{LaunchSpec, TerminalSize},
    state::InstanceState,
};

/// How long a shim may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The way to the shim of one instance.
pub(super) struct ShimLink {
    folder: PathBuf,
}

impl ShimLink {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn spawn(
        &self,
        binary: &Path,
        spec: &LaunchSpec,
        mode: LaunchMode,
    ) -> Result<ShimHandle, SandboxError> {
        client::spawn_shim(binary, &self.folder, spec, mode)
    }

    pub(super) fn observe(&self) -> Result<Observation, SandboxError> {
        client::observe(&self.folder)
    }

    pub(super) fn ask(&self, request: &Request) -> Result<InstanceState, SandboxError> {
        client::request(&self.folder, request)
    }

    /// A connection that tells every change, and the state now.
    pub(super) fn subscribe(&self) -> Result<(UnixStream, InstanceState), SandboxError> {
        self.converse(&Request::Subscribe {})
    }

    /// A connection that carries frames.
    pub(super) fn attach(&self, terminal: Option<TerminalSize>) -> Result<UnixStream, SandboxError> {
        self.converse(&Request::Attach { terminal }).map(|(stream, _)| stream)
    }

    /// Kills everything of an instance that has no shim.
    pub(super) fn end_orphan(&self) -> Result<(), SandboxError> {
        client::end_orphan(&self.folder)
    }

    /// Sends a request and reads its answer, and leaves the connection open.
    fn converse(&self, request: &Request) -> Result<(UnixStream, InstanceState), SandboxError> {
        let failed = |source| SandboxError::Unreachable { path: self.folder.clone(), source };
        let stream = client::connect(&self.folder)?;
        match exchange(&stream, request).map_err(failed)? {
            Reply::State(state) => Ok((stream, *state)),
            Reply::Refused(reason) => {
                Err(SandboxError::Refused { instance: self.folder.display().to_string(), reason })
            }
        }
    }
}

fn exchange(mut stream: &UnixStream, request: &Request) -> io::Result<Reply> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let answer = read_line(stream)?;
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Reads to the first line end, byte by byte: what follows belongs to whoever gets the stream.
fn read_line(mut stream: &UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() <= MAX_LINE_BYTES {
        stream.read_exact(&mut byte)?;
        if byte == *b"\n" {
            return Ok(line);
        }
        line.push(byte[0]);
    }
    Err(ErrorKind::InvalidData.into())
}
