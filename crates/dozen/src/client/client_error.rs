//! Why the server could not be asked, or did not answer as it should.

use std::{io, process::ExitStatus};

use dozen_control::api::wire::ErrorBody;
use dozen_model::hint::Hint;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nothing listens.
    #[error("no server is running at `{address}`")]
    NotRunning {
        /// Where it was looked for.
        address: String,
    },
    /// The socket is somebody else's.
    #[error("`{address}` belongs to a server that this user may not ask")]
    Denied {
        /// The socket.
        address: String,
    },
    /// The socket cannot be used.
    #[error("`{address}` cannot be connected to")]
    Unreachable {
        /// The socket.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// ssh could not be started.
    #[error("`ssh` cannot be started")]
    NoSsh {
        /// Why.
        source: io::Error,
    },
    /// ssh, or the bridge it started there, has ended.
    #[error("the connection to `{host}` ended: ssh says {status}")]
    Ssh {
        /// The machine.
        host: String,
        /// ssh's exit status.
        status: ExitStatus,
    },
    /// The connection broke before the answer was complete.
    #[error("the connection to the server broke")]
    Broken(#[from] hyper::Error),
    /// The request could not be written down.
    #[error("the request does not fit into HTTP")]
    Request(#[from] http::Error),
    /// The answer was cut off or too large.
    #[error("the server's answer could not be read")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer says something else than expected.
    #[error("the server's answer was not understood; its version may differ from this one's")]
    NotUnderstood(#[source] serde_json::Error),
    /// The server refused.
    #[error("{}", .0.message)]
    Refused(Box<ErrorBody>),
}

impl ClientError {
    /// Whether no server was there to be asked.
    pub(crate) fn is_not_running(&self) -> bool {
        matches!(self, Self::NotRunning { .. })
    }

    /// Whether the connection was lost, so that the same server may answer again later.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::NotRunning { .. } | Self::Broken(_) | Self::Answer(_))
    }

    /// Whether the connection was lost after a request was sent, so that nobody knows what became of it.
    pub(crate) fn is_cut_off(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Answer(_) | Self::Ssh { .. })
    }

    /// Whether dozen itself is at fault.
    pub(crate) fn is_internal(&self) -> bool {
        match self {
            Self::Refused(body) => body.internal,
            Self::Request(_) | Self::Answer(_) | Self::NotUnderstood(_) | Self::Broken(_) => true,
            _ => false,
        }
    }
}

impl Hint for ClientError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotRunning { address } if address.starts_with("ssh://") => {
                Some("start it there with `dozen server start`".to_owned())
            }
            Self::NotRunning { .. } => {
                Some("start it with `dozen server start` or let `dozen up` do it".to_owned())
            }
            Self::Denied { .. } => {
                Some("ask as its user, as root, or as a member of the group `dozen`".to_owned())
            }
            Self::Ssh { status, .. } if status.code() == Some(127) => {
                Some("install dozen there, in a folder of the `PATH` that ssh sees".to_owned())
            }
            Self::Broken(_) | Self::Answer(_) => Some(
                "see with `dozen server status` whether it is there again; a change may have been made all the \
                 same: look before you ask for it again"
                    .to_owned(),
            ),
            Self::NotUnderstood(_) => Some("compare both with `dozen server status`".to_owned()),
            Self::Refused(body) => body.hint.clone(),
            _ => None,
        }
    }
}
