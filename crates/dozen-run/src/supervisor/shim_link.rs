//! The way to one shim: a request and its answer, a subscription, an attachment.

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use dozen_sandbox::{
    SandboxError,
    client::{self, LaunchMode, Observation, ShimHandle},
    protocol::Request,
    spec::{LaunchSpec, TerminalSize},
    state::InstanceState,
};

/// The way to the shim of one instance.
pub(super) struct ShimLink {
    folder: PathBuf,
}

impl ShimLink {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
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
        client::converse(&self.folder, &Request::Subscribe {})
    }

    /// A connection that carries frames.
    pub(super) fn attach(&self, terminal: Option<TerminalSize>) -> Result<UnixStream, SandboxError> {
        client::converse(&self.folder, &Request::Attach { terminal }).map(|(stream, _)| stream)
    }

    /// Starts a shim that ends an instance whose shim is dead.
    pub(super) fn spawn_ending(
        &self,
        binary: &Path,
        grace: Option<Duration>,
    ) -> Result<ShimHandle, SandboxError> {
        client::spawn_ending_shim(binary, &self.folder, grace)
    }

    /// Makes sure that nobody adopts the instance any more; `false` when something of it lives.
    pub(super) fn retire(&self) -> Result<bool, SandboxError> {
        client::retire(&self.folder)
    }
}
