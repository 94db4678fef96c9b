//! How bytes reach the server: a unix socket here, or ssh to `dozen api-bridge` there.

use std::{io, path::Path, process::Stdio};

use dozen_sandbox::SocketPath;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    process::{Child, Command},
};

use super::{ClientError, RequestBody};
use crate::settings::{ServerAddress, SshHost};

/// Opens a connection to the server.
pub(super) async fn connect(
    address: &ServerAddress,
) -> Result<(SendRequest<RequestBody>, Option<Child>), ClientError> {
    match address {
        ServerAddress::Unix(path) => Ok((handshake(connect_socket(path).await?).await?, None)),
        ServerAddress::Ssh(host) => {
            let mut child = start_ssh(host)?;
            let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
                return Err(ClientError::NoSsh { source: io::ErrorKind::BrokenPipe.into() });
            };
            Ok((handshake(tokio::io::join(stdout, stdin)).await?, Some(child)))
        }
    }
}

/// Connects to a server's socket on this machine.
pub(crate) async fn connect_socket(path: &Path) -> Result<UnixStream, ClientError> {
    let address = || format!("unix:{}", path.display());
    let connected = match SocketPath::of(path) {
        Ok(address) => UnixStream::connect(address.path()).await,
        Err(source) => Err(source),
    };
    connected.map_err(|source| match source.kind() {
        // Reset: it was killed in this moment, before it took the connection.
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
            ClientError::NotRunning { address: address() }
        }
        io::ErrorKind::PermissionDenied => ClientError::Denied { address: address() },
        _ => ClientError::Unreachable { address: address(), source },
    })
}

/// `ssh -T host dozen api-bridge`; its stderr is ours, so its questions and complaints are seen.
fn start_ssh(host: &SshHost) -> Result<Child, ClientError> {
    let mut command = Command::new("ssh");
    command.arg("-T");
    if let Some(port) = host.port {
        command.arg("-p").arg(port.to_string());
    }
    command.args(["--", &host.destination, "dozen", "api-bridge"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command.spawn().map_err(|source| ClientError::NoSsh { source })
}

/// Starts HTTP on a connection. Its driver ends with the connection; what it could complain about
/// reaches the request that is under way.
async fn handshake<S>(stream: S) -> Result<SendRequest<RequestBody>, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.with_upgrades().await) });
    Ok(sender)
}
