//! The API: HTTP over the unix socket.
//!
//! Who may speak is decided by the kernel's word on the peer: the server's own user and root; on
//! a root server also the group `dozen`, which is thereby equivalent to root. Handlers only
//! translate: what is asked is checked and persisted by [`crate::requests`].
//!
//! Start reading at [`serve`]; the paths stand in [`wire::paths`].

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt, chown},
    path::Path,
    sync::Arc,
};

use axum::{
    Json, Router,
    http::{StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use dozen_sandbox::SocketPath;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{UnixListener, UnixStream},
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};
use tower::ServiceBuilder;

use crate::{control::Control, error::ControlError, home};

mod certificate_routes;
mod metrics;
mod peer;
mod server_routes;
mod stage_routes;
mod streams;
mod upload;
pub mod wire;

use peer::{Peer, Trusted};

/// How long to wait after a connection could not be taken.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// What is read of a reason for a refusal.
const MOST_SAID: usize = 4 << 10;

/// What handlers work with.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) control: Arc<Control>,
    pub(crate) stop: Arc<Notify>,
}

/// The signals that end the server, heard from the moment this is made.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to listen; needs a runtime.
    pub(crate) fn listen() -> Result<Self, ControlError> {
        let terminate = signal(SignalKind::terminate()).map_err(ControlError::io("listen for SIGTERM"))?;
        let interrupt = signal(SignalKind::interrupt()).map_err(ControlError::io("listen for SIGINT"))?;
        Ok(Self { terminate, interrupt })
    }
}

/// Serves the API until SIGTERM, SIGINT or a request to stop.
pub(crate) async fn serve(
    control: Arc<Control>,
    socket: &Path,
    mut signals: Signals,
) -> Result<(), ControlError> {
    let trusted = Trusted::now(control.as_root());
    let listener = bind(socket, trusted.group()).map_err(ControlError::io("bind the API's socket"))?;
    let api = Api { control, stop: Arc::new(Notify::new()) };
    let routes = routes(api.clone());
    let mut is_short = false;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                match accepted {
                    Ok((stream, _)) => {
                        is_short = false;
                        tokio::spawn(converse(stream, routes.clone(), trusted));
                    }
                    // As a rule descriptors have run out: the caller waits until some are free.
                    Err(error) => {
                        if !std::mem::replace(&mut is_short, true) {
                            tracing::warn!("could not take a connection to the API: {error}");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
            () = api.stop.notified() => break,
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    // The answer to the request that stopped us is still on its way.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    Ok(())
}

/// Binds the socket where nobody else can reach it, sets its mode, and only then moves it to its
/// place: `group` may connect, if there is one, else only the server's user.
fn bind(socket: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    let hidden = socket.with_extension("new");
    home::remove_tree(&hidden)?;
    fs::DirBuilder::new().mode(0o700).create(&hidden)?;
    let fresh = hidden.join("sock");
    let listener = UnixListener::bind(SocketPath::of(&fresh)?.path())?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(if group.is_some() { 0o660 } else { 0o600 }))?;
    group.map_or(Ok(()), |gid| chown(&fresh, None, Some(gid)))?;
    fs::rename(&fresh, socket)?;
    home::remove_tree(&hidden)?;
    Ok(listener)
}

async fn converse(stream: UnixStream, routes: Router, trusted: Trusted) {
    let Some(peer) = Peer::of(&stream, trusted) else { return };
    let service = ServiceBuilder::new().layer(axum::Extension(peer)).service(routes);
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    // A client that hangs up is no news.
    let _ = served.await;
}

fn routes(api: Api) -> Router {
    let stage = Router::new()
        .route("/deploys", get(stage_routes::deploys).post(upload::deploy))
        .route("/deploys/{number}/events", get(stage_routes::deploy_events))
        .route("/deploys/{number}/cancel", post(stage_routes::cancel))
        .route("/releases", get(stage_routes::releases))
        .route("/releases/{number}", get(stage_routes::release))
        .route("/rollback", post(stage_routes::rollback))
        .route("/config", get(stage_routes::config).patch(stage_routes::change_config))
        .route("/domains", get(stage_routes::domains).post(stage_routes::add_domain))
        .route("/domains/{domain}", delete(stage_routes::remove_domain))
        .route("/traffic", get(stage_routes::traffic))
        .route("/maintenance", post(stage_routes::maintenance))
        .route("/pause", post(stage_routes::pause))
        .route("/resume", post(stage_routes::resume))
        .route("/ps", get(stage_routes::ps))
        .route("/scale", post(stage_routes::scale))
        .route("/restart", post(stage_routes::restart))
        .route("/stop", post(stage_routes::stop))
        .route("/start", post(stage_routes::start))
        .route("/run", post(streams::run))
        .route("/logs", get(streams::logs).post(streams::logs_from))
        .route("/services", get(stage_routes::services).post(stage_routes::create_service))
        .route("/services/{name}/attach", post(stage_routes::attach))
        .route("/services/{name}/detach", post(stage_routes::detach));
    Router::new()
        .route(wire::paths::SERVER, get(server_routes::info))
        .route(wire::paths::SERVER_STOP, post(server_routes::stop))
        .route(wire::paths::METRICS, get(metrics::metrics))
        .route(wire::paths::DOCTOR, get(server_routes::doctor))
        .route(wire::paths::APPS, get(server_routes::apps).post(server_routes::create))
        .route(wire::paths::CERTIFICATES, get(certificate_routes::list).post(certificate_routes::add))
        .route(wire::paths::CERTIFICATES_ACME, post(certificate_routes::add_acme))
        .route(wire::paths::CERTIFICATES_RENEW, post(certificate_routes::renew))
        .route("/v1/certificates/{which}", delete(certificate_routes::remove))
        .route(wire::paths::LOCAL_AUTHORITY, get(certificate_routes::authority))
        .route("/v1/apps/{app}", delete(server_routes::destroy))
        .nest("/v1/apps/{app}/stages/{stage}", stage)
        .fallback(|| async {
            refused(StatusCode::NOT_FOUND, &ControlError::BadRequest("no such path".into()))
        })
        .with_state(api)
        .layer(map_response(with_reason))
}

/// Gives what was refused before a handler saw it, a body that is too large or no JSON, the form of
/// every other refusal.
async fn with_reason(answer: Response) -> Response {
    let status = answer.status();
    let is_ours = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if is_ours || !(status.is_client_error() || status.is_server_error()) {
        return answer;
    }
    let said = axum::body::to_bytes(answer.into_body(), MOST_SAID).await.unwrap_or_default();
    let said = without_values(&String::from_utf8_lossy(&said));
    let why = if said.is_empty() { "the method or the body does not fit this path".to_owned() } else { said };
    refused(status, &ControlError::BadRequest(format!("the request was refused with {status}: {why}")))
}

/// A parser's words without what they quote, which may be a secret.
fn without_values(text: &str) -> String {
    let mut kept = String::new();
    let (mut is_quoted, mut is_escaped) = (false, false);
    for char in text.trim().chars() {
        let ends = char == '"' && !is_escaped;
        is_escaped = is_quoted && char == '\\' && !is_escaped;
        if ends {
            is_quoted = !is_quoted;
            kept.push_str(if is_quoted { "\"…" } else { "\"" });
        } else if !is_quoted {
            kept.push(char);
        }
    }
    kept
}

/// An error on its way out: its status tells whose turn it is.
pub(crate) struct ApiError(ControlError);

impl<E: Into<ControlError>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match &self.0 {
            error if error.is_internal() => StatusCode::INTERNAL_SERVER_ERROR,
            error if error.is_missing() => StatusCode::NOT_FOUND,
            ControlError::BadRequest(_) | ControlError::Name(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::CONFLICT,
        };
        if status.is_server_error() {
            tracing::error!("{}", self.0.body().message);
        }
        refused(status, &self.0)
    }
}

fn refused(status: StatusCode, error: &ControlError) -> Response {
    (status, Json(error.body())).into_response()
}

/// Runs blocking work of control without holding up other requests.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ControlError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    let gone = |error: tokio::task::JoinError| {
        if error.is_panic() {
            ControlError::io("answer a request")(io::Error::other("its work ended in a panic"))
        } else {
            ControlError::BadRequest("the server ended before it could answer".into())
        }
    };
    Ok(done.map_err(gone)??)
}

#[cfg(test)]
mod tests;
