//! `dozen api-bridge` (hidden): stdin and stdout as a connection to this machine's server.
//!
//! What `ssh host dozen api-bridge` runs for a `dozen` on another machine. It copies bytes and
//! knows nothing of them; who may ask is decided by the socket, by the user that ssh logged in.
//! That no server runs here it says by its exit status alone: the other side has the words.

use tokio::io::{self, AsyncWriteExt};

use crate::{
    cli_error::{CliError, ExitStatus},
    client::{ClientError, NO_SERVER_THERE, connect_socket},
    session::Session,
    settings::ServerAddress,
};

/// Copy stdin and stdout to and from the server's socket
#[derive(Debug, clap::Args)]
pub(crate) struct ApiBridgeArgs {}

/// Runs the verb.
pub(crate) async fn api_bridge(_: ApiBridgeArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let ServerAddress::Unix(path) = &session.settings.server else {
        let message = "a bridge ends at a server on its own machine".to_owned();
        return Err(CliError::Unavailable { message, hint: Some("unset `DOZEN_SERVER` there".to_owned()) });
    };
    let connected = match (connect_socket(path).await, &session.settings.fallback) {
        (Err(ClientError::NotRunning { .. }), Some(ServerAddress::Unix(other))) => {
            connect_socket(other).await
        }
        (other, _) => other,
    };
    let socket = match connected {
        Err(ClientError::NotRunning { .. }) => return Ok(ExitStatus::Passed(NO_SERVER_THERE)),
        other => other?,
    };
    let (mut answers, mut requests) = socket.into_split();
    let to_server = async {
        let copied = io::copy(&mut io::stdin(), &mut requests).await;
        drop(requests.shutdown().await);
        copied
    };
    let mut stdout = io::stdout();
    let from_server = async {
        let copied = io::copy(&mut answers, &mut stdout).await;
        drop(stdout.flush().await);
        copied
    };
    tokio::pin!(from_server);
    // The answers' end is the end: nobody would read what stdin still has to say.
    tokio::select! {
        ended = &mut from_server => ended,
        asked = to_server => match asked {
            Ok(_) => from_server.await,
            Err(error) => Err(error),
        },
    }
    .map_err(|source| CliError::System { what: "the bridge to the server broke", source })?;
    Ok(ExitStatus::Success)
}
