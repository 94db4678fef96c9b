//! The API: HTTP over the unix socket.
//!
//! Who may speak is decided by the kernel's word on the peer: the server's own user and root; on
//! a root server also the group `dozen`, which is thereby equivalent to root. Handlers only
//! translate: what is asked is checked and persisted by [`crate::requests`].
//!
//! Start reading at [`serve`]; the paths stand in [`wire::paths`].

use std::{
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    sync::Arc,
};

use axum::{
    Json, Router,
    http::StatusCode,
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

use crate::{control::Control, error::ControlError};

mod peer;
mod server_routes;
mod stage_routes;
mod streams;
mod upload;
pub mod wire;

use peer::Peer;

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
    let _ = std::fs::remove_file(socket);
    let listener = SocketPath::of(socket)
        .and_then(|address| UnixListener::bind(address.path()))
        .map_err(ControlError::io("bind the API's socket"))?;
    open_to_peers(&control, socket)?;
    let api = Api { control, stop: Arc::new(Notify::new()) };
    let routes = routes(api.clone());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    tokio::spawn(converse(stream, routes.clone(), api.control.as_root()));
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

/// As root the group `dozen`, where there is one, may connect; else only the user itself.
fn open_to_peers(control: &Control, socket: &Path) -> Result<(), ControlError> {
    let group = if control.as_root() { peer::group_id("dozen") } else { None };
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    let opened = std::fs::set_permissions(socket, std::fs::Permissions::from_mode(mode))
        .and_then(|()| group.map_or(Ok(()), |gid| chown(socket, None, Some(gid))));
    opened.map_err(ControlError::io("set the mode of the API's socket"))
}

async fn converse(stream: UnixStream, routes: Router, as_root: bool) {
    let Some(peer) = Peer::of(&stream, as_root) else { return };
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
        .route("/ps", get(stage_routes::ps))
        .route("/scale", post(stage_routes::scale))
        .route("/restart", post(stage_routes::restart))
        .route("/stop", post(stage_routes::stop))
        .route("/start", post(stage_routes::start))
        .route("/run", post(streams::run))
        .route("/logs", get(streams::logs))
        .route("/services", get(stage_routes::services).post(stage_routes::create_service))
        .route("/services/{name}/attach", post(stage_routes::attach))
        .route("/services/{name}/detach", post(stage_routes::detach));
    Router::new()
        .route(wire::paths::SERVER, get(server_routes::info))
        .route(wire::paths::SERVER_STOP, post(server_routes::stop))
        .route(wire::paths::DOCTOR, get(server_routes::doctor))
        .route(wire::paths::APPS, get(server_routes::apps).post(server_routes::create))
        .route("/v1/apps/{app}", delete(server_routes::destroy))
        .nest("/v1/apps/{app}/stages/{stage}", stage)
        .fallback(|| async {
            refused(StatusCode::NOT_FOUND, &ControlError::BadRequest("no such path".into()))
        })
        .with_state(api)
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
    let gone = |_| ControlError::BadRequest("the server ended before it could answer".into());
    Ok(done.map_err(gone)??)
}
