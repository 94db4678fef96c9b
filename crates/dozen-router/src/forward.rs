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
    future::poll_fn,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use dozen_model::route_table::StaticSite;
use http::StatusCode;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    answer::{self, OwnAnswer},
    attempt::{Attempt, Begun, Client, Outgoing, attempt},
    board::{InFlight, Picked, Stage, Way},
    exchange::Exchange,
    h_code::HCode,
    http1::fields::Name,
    meter::ThreadMeter,
    policy::Instead,
    static_site,
};

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What a request comes to.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Something of the router's own.
    Own(OwnAnswer),
    /// The app's answer, begun; with 101 only to who asked for it.
    App(Begun, Box<Exchange>),
    /// The client has gone.
    Nobody,
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
        self.0.meter.held_now.fetch_sub(1, Relaxed);
    }
}

/// Gets `request` answered by the stage named `name`.
pub(crate) async fn forward(
    mut exchange: Box<Exchange>,
    name: Arc<str>,
    request: &Outgoing<'_>,
    client: &mut Client<'_>,
) -> Answer {
    let mut tried = Vec::new();
    let mut wait = Wait::new();
    loop {
        match next_step(&mut exchange, &name, &tried) {
            Step::To(in_flight) => {
                let endpoint = Arc::clone(&in_flight.endpoint);
                exchange.endpoint = Some(Arc::clone(&endpoint));
                exchange.in_flight = Some(in_flight);
                match attempt(&mut exchange, &endpoint, request, client).await {
                    Attempt::Answered(begun) => return check(begun, exchange, request),
                    Attempt::NotSent => {
                        exchange.in_flight = None;
                        exchange.sent = None;
                        tried.push(endpoint.load.key);
                        exchange.count(|meter| meter.not_sent.add(1));
                    }
                    Attempt::Failed(status, code) => {
                        return Answer::Own(answer::failure(status, code, exchange));
                    }
                    Attempt::TooLarge => {
                        return Answer::Own(answer::instead(Instead::TooLarge, exchange));
                    }
                    Attempt::ClientGone => return Answer::Nobody,
                }
            }
            Step::Hold(reason) => {
                if let Err(code) = wait.turn(&exchange, client, reason).await {
                    let Some(code) = code else { return Answer::Nobody };
                    return Answer::Own(answer::failure(StatusCode::SERVICE_UNAVAILABLE, code, exchange));
                }
                tried.clear();
            }
            Step::Static(site) => return Answer::Own(static_site::answer(&site, exchange)),
            Step::NoInstances => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return Answer::Own(answer::failure(status, HCode::NoInstances, exchange));
            }
            Step::Gone => return Answer::Own(answer::not_found(exchange)),
        }
    }
}

/// An app may change the protocol only to the one that was asked for.
fn check(mut begun: Begun, mut exchange: Box<Exchange>, request: &Outgoing<'_>) -> Answer {
    if begun.said.status == StatusCode::SWITCHING_PROTOCOLS {
        let agreed = begun.lent.upstream().fields().only(Name::Upgrade);
        let wanted = request.upgrade.as_ref().map(String::as_bytes);
        let is_agreed = wanted.zip(agreed).is_some_and(|(one, other)| one.eq_ignore_ascii_case(other));
        if !is_agreed || !begun.upload.is_done() {
            return Answer::Own(answer::failure(StatusCode::BAD_GATEWAY, HCode::PoorlyFormed, exchange));
        }
        if let Some(in_flight) = &mut exchange.in_flight {
            in_flight.upgrade();
        }
        exchange.count(ThreadMeter::upgrade);
    }
    exchange.received = begun.upload.body_bytes();
    exchange.status = begun.said.status.as_u16();
    Answer::App(begun, exchange)
}

fn next_step(exchange: &mut Exchange, name: &str, tried: &[u64]) -> Step {
    let board = Arc::clone(&exchange.client.room.board);
    loop {
        let routes = board.routes();
        let Some(stage) = routes.stage(name) else { return Step::Gone };
        exchange.enter(stage);
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
    is_counted: bool,
}

impl Wait {
    fn new() -> Self {
        Self { changes: None, pause: FIRST_PAUSE, is_counted: false }
    }

    /// Waits until there may be a way. `Err` when the request has waited for too long, too many wait
    /// already, or, without a code, when its client has gone.
    async fn turn(
        &mut self,
        exchange: &Exchange,
        client: &mut Client<'_>,
        reason: HCode,
    ) -> Result<(), Option<HCode>> {
        let Some(stage) = &exchange.stage else { return Err(Some(reason)) };
        let Some(changes) = &mut self.changes else {
            // Look once more before the first wait: a change in between would not be told.
            self.changes = Some(exchange.client.room.board.changes());
            return Ok(());
        };
        let deadline = exchange.started() + stage.hold_limit;
        let now = Instant::now();
        if now >= deadline {
            return Err(Some(reason));
        }
        let limit = exchange.client.room.limits.held_per_stage;
        let held = Held(Arc::clone(stage));
        if stage.meter.held_now.fetch_add(1, Relaxed) >= limit {
            return Err(Some(reason));
        }
        if !std::mem::replace(&mut self.is_counted, true) {
            exchange.count(|meter| meter.held.add(1));
        }
        // An instance that refuses may be back at once, on the same port, without a new table: its
        // shim restarts it. Other reasons end with a new table only.
        let again = if reason == HCode::Crashed { (now + self.pause).min(deadline) } else { deadline };
        // A pause ends by itself, without a new table.
        let again = stage.policy.paused_until().map_or(again, |end| again.min(end));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let is_gone = tokio::select! {
            // Only the end of the process closes the channel.
            _ = changes.changed() => {
                self.pause = FIRST_PAUSE;
                false
            }
            () = sleep_until(again) => false,
            () = poll_fn(|cx| client.body.poll_gone(cx)) => true,
        };
        drop(held);
        if is_gone { Err(None) } else { Ok(()) }
    }
}
