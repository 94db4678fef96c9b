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

use crate::{control::Control, error::ControlError, home};

mod peer;
mod server_routes;
mod stage_routes;
mod streams;
mod upload;
pub mod wire;

use peer::{Peer, Trusted};

/// How long to wait after a connection could not be taken.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

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

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt;

    use super::*;
    use crate::{
        stand::Stand,
        store::{LaunchState, Purpose},
    };

    #[tokio::test]
    async fn the_socket_takes_the_place_of_an_old_one_and_is_never_open_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        drop(bind(&socket, None).unwrap());
        let _listener = bind(&socket, None).unwrap();
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        UnixStream::connect(&socket).await.unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the hidden folder is gone");
    }

    fn api(stand: &Stand) -> Router {
        let api = Api { control: Arc::clone(&stand.control), stop: Arc::new(Notify::new()) };
        routes(api).layer(axum::Extension(Peer { name: "me".into() }))
    }

    fn request(method: &str, path: &str, body: &'static str) -> Request<Body> {
        let request = Request::builder().method(method).uri(path);
        request.header("content-type", "application/json").body(Body::from(body)).unwrap()
    }

    #[tokio::test]
    async fn nobody_waits_for_a_request_that_waits_for_the_store() {
        let stand = Stand::new();
        let stage = wire::paths::stage(&stand.key.app, &stand.key.stage);
        let below = |path: &str| format!("{stage}{path}");
        for (method, path, body) in [
            ("GET", wire::paths::SERVER.to_owned(), ""),
            ("GET", wire::paths::APPS.to_owned(), ""),
            ("POST", wire::paths::APPS.to_owned(), r#"{"name":"blango","if_missing":true}"#),
            ("GET", below("/deploys"), ""),
            ("POST", below("/deploys"), ""),
            ("GET", below("/deploys/1/events"), ""),
            ("POST", below("/deploys/1/cancel"), ""),
            ("GET", below("/releases"), ""),
            ("GET", below("/releases/1"), ""),
            ("POST", below("/rollback"), "{}"),
            ("GET", below("/config"), ""),
            ("PATCH", below("/config"), "{}"),
            ("GET", below("/domains"), ""),
            ("GET", below("/ps"), ""),
            ("POST", below("/scale"), "{}"),
            ("POST", below("/restart"), "{}"),
            ("POST", below("/stop"), r#"{"target":"web"}"#),
            ("POST", below("/run"), r#"{"argv":["true"]}"#),
            ("GET", below("/logs"), ""),
            ("GET", below("/services"), ""),
            ("POST", below("/services/db/attach"), "{}"),
            ("POST", below("/services/db/detach"), ""),
        ] {
            let (begun, is_held) = std::sync::mpsc::channel();
            let (let_go, end) = std::sync::mpsc::channel();
            let control = Arc::clone(&stand.control);
            let slow_disk = std::thread::spawn(move || {
                let _held = control.store.hold();
                begun.send(()).unwrap();
                end.recv_timeout(std::time::Duration::from_secs(10)).is_ok()
            });
            is_held.recv().unwrap();
            let mut request = request(method, &path, body);
            let source = r#"{"commit":"1f3a9c2"}"#.parse().unwrap();
            request.headers_mut().insert("x-dozen-source", source);
            let answer = tokio::spawn(api(&stand).oneshot(request));
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            let _ = let_go.send(());
            assert!(slow_disk.join().unwrap(), "{method} {path} kept everybody waiting");
            answer.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn the_server_ends_also_when_a_process_would_not() {
        let stand = Stand::new();
        stand.damage(&stand.launch(Purpose::OneOff, None, LaunchState::Serving));
        let api = Api { control: Arc::clone(&stand.control), stop: Arc::new(Notify::new()) };
        let routes = routes(api.clone()).layer(axum::Extension(Peer { name: "me".into() }));
        let stop = request("POST", wire::paths::SERVER_STOP, r#"{"all":true}"#);
        let answer = routes.oneshot(stop).await.unwrap();
        assert!(answer.status().is_server_error(), "{answer:?}");
        tokio::time::timeout(std::time::Duration::from_secs(30), api.stop.notified()).await.unwrap();
    }

    #[tokio::test]
    async fn the_server_ends_also_when_nobody_waits_for_it_any_more() {
        let stand = Stand::new();
        let api = Api { control: Arc::clone(&stand.control), stop: Arc::new(Notify::new()) };
        let routes = routes(api.clone()).layer(axum::Extension(Peer { name: "me".into() }));
        let store = stand.control.store.hold();
        let stop = request("POST", wire::paths::SERVER_STOP, r#"{"all":true}"#);
        let asked = tokio::spawn(routes.oneshot(stop));
        while !stand.control.is_ending() {
            tokio::task::yield_now().await;
        }
        asked.abort();
        drop(store);
        tokio::time::timeout(std::time::Duration::from_secs(30), api.stop.notified()).await.unwrap();
    }

    #[tokio::test]
    async fn a_tree_that_cannot_be_queued_leaves_no_upload() {
        let stand = Stand::new();
        let incoming = stand.control.home.root().join("incoming");
        // In the way of the first deploy's tree.
        fs::create_dir(incoming.join("1")).unwrap();
        let path = format!("{}/deploys", wire::paths::stage(&stand.key.app, &stand.key.stage));
        let mut request = request("POST", &path, "a tree");
        request.headers_mut().insert("x-dozen-source", "{}".parse().unwrap());
        let answer = api(&stand).oneshot(request).await.unwrap();
        assert!(answer.status().is_server_error(), "{answer:?}");
        let left: Vec<_> =
            fs::read_dir(&incoming).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["1"]);
    }
}
