//! The socket, and what every answer has in common.

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
        ("GET", below("/traffic"), ""),
        ("POST", below("/maintenance"), r#"{"on":false}"#),
        ("POST", below("/pause"), r#"{"limit_ms":1000}"#),
        ("POST", below("/resume"), ""),
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

async fn refusal(stand: &Stand, request: Request<Body>) -> (u16, wire::ErrorBody) {
    let answer = api(stand).oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).expect("a reason"))
}

#[tokio::test]
async fn every_refusal_says_why_and_whose_fault_it_is() {
    let stand = Stand::new();
    let stage = wire::paths::stage(&stand.key.app, &stand.key.stage);
    let below = |path: &str| format!("{stage}{path}");
    let large: &'static str = Box::leak("x".repeat(3 << 20).into_boxed_str());
    for (method, path, body, status, why) in [
        ("POST", wire::paths::APPS.to_owned(), large, 413, "length limit exceeded"),
        ("POST", wire::paths::APPS.to_owned(), "{", 400, "EOF while parsing"),
        ("PATCH", below("/config"), r#""s3cret \" value""#, 422, "invalid type: string"),
        ("GET", "/v1/apps/No!/stages/production/ps".to_owned(), "", 400, "No!"),
        ("PUT", wire::paths::APPS.to_owned(), "", 405, "does not fit this path"),
        ("GET", "/v2".to_owned(), "", 404, "no such path"),
        ("DELETE", below("/domains/a.example.org"), "", 404, "`a.example.org`"),
    ] {
        let (seen, body) = refusal(&stand, request(method, &path, body)).await;
        assert_eq!(seen, status, "{method} {path}: {body:?}");
        assert!(body.message.contains(why) && !body.message.contains("s3cret"), "{body:?}");
        assert!(!body.internal, "{body:?}");
    }
}

#[test]
fn a_folder_of_ours_that_cannot_be_made_is_our_own_fault() {
    let source = io::ErrorKind::PermissionDenied.into();
    let error = ControlError::Folder { path: "/srv".into(), source };
    assert!(error.body().internal);
    assert_eq!(ApiError(error).into_response().status(), StatusCode::INTERNAL_SERVER_ERROR);
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
    let left: Vec<_> = fs::read_dir(&incoming).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["1"]);
}
