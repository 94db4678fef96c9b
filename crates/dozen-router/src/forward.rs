//! A request on its way to an instance of its stage: picked, held, retried, answered.
//!
//! ```text
//! next step -> an endpoint   -> attempt -> answered, or not sent: the next endpoint
//!          \-> hold          -> until the table changes, or a short while when all refuse
//!          \-> static files, no instances, gone
//! ```
//!
//! Each round looks at the newest table, so a request that was held for an old release goes to
//! the new one. Start reading at [`forward`].

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use dozen_model::route_table::StaticSite;
use http::{
    HeaderValue, Request, Response, StatusCode, Version,
    header::{CONNECTION, UPGRADE},
};
use hyper::upgrade::OnUpgrade;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    answer,
    attempt::{Attempt, Begun, attempt},
    board::{InFlight, Picked, Stage, Way},
    exchange::Exchange,
    h_code::HCode,
    headers::{X_REQUEST_ID, only_protocol, strip_hop_by_hop},
    request_body::RequestBody,
    response_body::ResponseBody,
    static_site, tunnel,
};

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The client's side of an upgrade that was asked for.
#[derive(Debug)]
pub(crate) struct WantedUpgrade {
    pub(crate) protocol: HeaderValue,
    pub(crate) client: OnUpgrade,
}

enum Step {
    To(InFlight),
    Hold(HCode),
    Static(Arc<StaticSite>),
    NoInstances,
    Gone,
}

/// One request counted as held.
struct Held(Arc<Stage>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Relaxed);
    }
}

/// Gets `request` answered by the stage named `name`.
pub(crate) async fn forward(
    mut exchange: Box<Exchange>,
    name: Arc<str>,
    mut request: Request<RequestBody>,
    upgrade: Option<WantedUpgrade>,
) -> Response<ResponseBody> {
    let mut tried = Vec::new();
    let mut wait = Wait::new();
    loop {
        match next_step(&mut exchange, &name, &tried) {
            Step::To(in_flight) => {
                let endpoint = Arc::clone(&in_flight.endpoint);
                exchange.endpoint = Some(Arc::clone(&endpoint));
                exchange.in_flight = Some(in_flight);
                match attempt(&mut exchange, &endpoint, request).await {
                    Attempt::Answered(begun) => return pass_on(begun, exchange, upgrade),
                    Attempt::NotSent(back) => {
                        request = back;
                        exchange.in_flight = None;
                        exchange.sent = None;
                        tried.push(endpoint.load.key);
                    }
                    Attempt::Failed(status, code) => return answer::failure(status, code, exchange),
                }
            }
            Step::Hold(reason) => {
                if let Err(code) = wait.turn(&exchange, reason).await {
                    return answer::failure(StatusCode::SERVICE_UNAVAILABLE, code, exchange);
                }
                tried.clear();
            }
            Step::Static(site) => return static_site::answer(&site, &request, exchange),
            Step::NoInstances => {
                return answer::failure(StatusCode::SERVICE_UNAVAILABLE, HCode::NoInstances, exchange);
            }
            Step::Gone => return answer::not_found(exchange),
        }
    }
}

fn next_step(exchange: &mut Exchange, name: &str, tried: &[u64]) -> Step {
    let board = Arc::clone(&exchange.client.room.board);
    loop {
        let routes = board.routes();
        let Some(stage) = routes.stage(name) else { return Step::Gone };
        exchange.stage = Some(Arc::clone(stage));
        if stage.holds(&exchange.method) {
            return Step::Hold(HCode::BootTimeout);
        }
        let has_endpoints = match &stage.way {
            Way::Static(site) => return Step::Static(Arc::clone(site)),
            Way::Endpoints(list) => !list.is_empty(),
        };
        match board.pick(&routes, stage, &exchange.method, tried) {
            Picked::One(in_flight) => return Step::To(in_flight),
            Picked::Changed => {}
            Picked::None if has_endpoints => return Step::Hold(HCode::Crashed),
            Picked::None if stage.is_waiting() => return Step::Hold(HCode::BootTimeout),
            Picked::None => return Step::NoInstances,
        }
    }
}

/// The waiting of one request, over all its turns.
struct Wait {
    changes: Option<watch::Receiver<u64>>,
    pause: Duration,
}

impl Wait {
    fn new() -> Self {
        Self { changes: None, pause: FIRST_PAUSE }
    }

    /// Waits until there may be a way. `Err` when the request has waited for too long, or too many
    /// wait already.
    async fn turn(&mut self, exchange: &Exchange, reason: HCode) -> Result<(), HCode> {
        let Some(stage) = &exchange.stage else { return Err(reason) };
        let Some(changes) = &mut self.changes else {
            // Look once more before the first wait: a change in between would not be told.
            self.changes = Some(exchange.client.room.board.changes());
            return Ok(());
        };
        let deadline = exchange.started() + stage.hold_limit;
        let now = Instant::now();
        if now >= deadline {
            return Err(reason);
        }
        let limit = exchange.client.room.limits.held_per_stage;
        let held = Held(Arc::clone(stage));
        if stage.held.fetch_add(1, Relaxed) >= limit {
            return Err(reason);
        }
        // An instance that refuses may be back at once, on the same port, without a new table: its
        // shim restarts it. Other reasons end with a new table only.
        let again = if reason == HCode::Crashed { (now + self.pause).min(deadline) } else { deadline };
        // A pause ends by itself, without a new table.
        let again = stage.policy.paused_until().map_or(again, |end| again.min(end));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        tokio::select! {
            // Only the end of the process closes the channel.
            _ = changes.changed() => self.pause = FIRST_PAUSE,
            () = sleep_until(again) => {}
        }
        drop(held);
        Ok(())
    }
}

fn pass_on(
    Begun { mut response, first, lent }: Begun,
    mut exchange: Box<Exchange>,
    upgrade: Option<WantedUpgrade>,
) -> Response<ResponseBody> {
    exchange.status = response.status().as_u16();
    let answered = only_protocol(response.headers()).cloned();
    strip_hop_by_hop(response.headers_mut());
    response.headers_mut().insert(X_REQUEST_ID, exchange.id.clone());
    *response.version_mut() = Version::HTTP_11;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return response.map(|body| ResponseBody::app(first, body, lent, exchange));
    }
    let agreed = upgrade
        .zip(answered)
        .filter(|(wanted, answered)| wanted.protocol.as_bytes().eq_ignore_ascii_case(answered.as_bytes()));
    let Some((WantedUpgrade { client, .. }, protocol)) = agreed else {
        lent.abort();
        exchange.status = 0;
        return answer::failure(StatusCode::BAD_GATEWAY, HCode::PoorlyFormed, exchange);
    };
    let app = hyper::upgrade::on(&mut response);
    lent.discard();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, protocol.clone());
    if let Some(in_flight) = &mut exchange.in_flight {
        in_flight.upgrade();
    }
    exchange.client.state.upgrade();
    let is_websocket = protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
    tokio::task::spawn_local(tunnel::run(client, app, exchange, is_websocket));
    response.map(|_| ResponseBody::none())
}
