//! One request from its head to the last byte of its answer: what is counted and logged.
//!
//! An exchange ends when it is dropped, wherever that happens: with the last byte of the answer,
//! with a tunnel, or because the client went away. So nothing stays counted and nothing goes
//! unlogged.

use std::{rc::Rc, sync::Arc, time::SystemTime};

use http::{HeaderValue, Method};
use tokio::time::Instant;

use crate::{
    accept::prefers_json,
    access_log::Line,
    board::{Endpoint, InFlight, Stage},
    connection::Client,
    forwarded::Origin,
    h_code::HCode,
    headers,
    host::HostName,
    http1::{
        fields::{Field, Name},
        request::RequestHead,
    },
    meter::{Ended, ThreadMeter},
    options::Limits,
    rotation::Trouble,
    trace::Trace,
};

/// One request and its answer.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) client: Rc<Client>,
    pub(crate) method: Method,
    /// In origin form.
    target: String,
    pub(crate) host: HostName,
    /// Whose request it is.
    pub(crate) origin: Origin,
    pub(crate) id: String,
    pub(crate) trace: Trace,
    /// Whether pages of ours are to be JSON.
    pub(crate) wants_json: bool,
    /// The entity tags that the client has.
    pub(crate) known_tags: Option<Box<[u8]>>,
    /// Set once it is known; a request without a stage is in no app's log.
    pub(crate) stage: Option<Arc<Stage>>,
    pub(crate) in_flight: Option<InFlight>,
    /// The last endpoint tried.
    pub(crate) endpoint: Option<Arc<Endpoint>>,
    /// When the request was handed to a connection.
    pub(crate) sent: Option<Instant>,
    /// 0 until there is an answer.
    pub(crate) status: u16,
    /// Bytes of the request's body.
    pub(crate) received: u64,
    /// Bytes of the answer's body.
    pub(crate) bytes: u64,
    pub(crate) code: Option<HCode>,
    /// Whether it was sent again after a connection had died.
    pub(crate) replayed: bool,
    started: Instant,
    at: SystemTime,
}

impl Exchange {
    /// Begins with a request's head.
    pub(crate) fn begin(client: &Rc<Client>, head: &RequestHead<'_>) -> Box<Self> {
        let (mut offered, mut traced, mut wants_json, mut known_tags) = (None, false, false, None);
        for Field { known, value, .. } in head.fields.iter() {
            match known {
                Name::RequestId => offered = Some(value),
                Name::Traceparent => traced = true,
                Name::Accept => wants_json |= prefers_json(value),
                Name::IfNoneMatch => known_tags = Some(value.into()),
                _ => {}
            }
        }
        let ids = &client.room.ids;
        let (id, digits) = ids.choose(offered);
        Box::new(Self {
            id,
            trace: traced.then(|| trace_of(head)).flatten().unwrap_or_else(|| Trace::made(digits, ids)),
            wants_json,
            known_tags,
            client: Rc::clone(client),
            method: head.method.clone(),
            target: head.target.to_owned(),
            host: head.host.clone(),
            origin: Origin::of_request(&client.peer, &client.room.trusted_proxies, head.fields),
            stage: None,
            in_flight: None,
            endpoint: None,
            sent: None,
            status: 0,
            received: 0,
            bytes: 0,
            code: None,
            replayed: false,
            started: Instant::now(),
            at: SystemTime::now(),
        })
    }

    /// It is a request of this stage from now on: at first, and when the table has changed.
    pub(crate) fn enter(&mut self, stage: &Arc<Stage>) {
        match &self.stage {
            Some(old) if Arc::ptr_eq(old, stage) => return,
            Some(old) if Arc::ptr_eq(&old.meter, &stage.meter) => {}
            old => {
                let thread = self.client.room.thread;
                old.iter().for_each(|old| old.meter.of(thread).leave());
                stage.meter.of(thread).begin();
            }
        }
        self.stage = Some(Arc::clone(stage));
    }

    /// Notes that the endpoint it was sent to gave it no answer.
    pub(crate) fn note_trouble(&self, trouble: Trouble) {
        if let (Some(stage), Some(endpoint)) = (&self.stage, &self.endpoint) {
            self.client.room.ejections.note(stage, endpoint, trouble);
        }
    }

    /// Counts something of its stage.
    pub(crate) fn count(&self, count: impl FnOnce(&ThreadMeter)) {
        if let Some(stage) = &self.stage {
            count(stage.meter.of(self.client.room.thread));
        }
    }

    /// The client's address, for the log.
    pub(crate) fn from(&self) -> &str {
        self.origin.text.to_str().unwrap_or_default()
    }

    /// The limits of its stage.
    pub(crate) fn limits(&self) -> Limits {
        let limits = &self.client.room.limits;
        self.stage.as_ref().map_or(*limits, |stage| stage.policy.limits(limits))
    }

    /// What a client that came by HTTPS is told about coming that way alone.
    pub(crate) fn hsts(&self) -> Option<&HeaderValue> {
        self.stage.as_ref().filter(|_| self.origin.is_https)?.policy.hsts()
    }

    /// When the request's head was complete.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The same by the clock that people read.
    pub(crate) fn at(&self) -> SystemTime {
        self.at
    }

    /// The path that was asked for.
    pub(crate) fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// What stands behind the path's `?`.
    pub(crate) fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// Notes that it was broken off: by us at the drain limit, else by the client.
    pub(crate) fn break_off(&mut self) {
        self.blame(if self.is_cut() { HCode::ServerInterrupted } else { HCode::ClientInterrupted });
    }

    fn is_cut(&self) -> bool {
        *self.client.room.cut.borrow()
    }

    /// Notes why the answer is not the app's; the first reason stands.
    pub(crate) fn blame(&mut self, code: HCode) {
        self.code.get_or_insert(code);
    }
}

/// The trace that a client names: in one field, which is not for this hop alone.
fn trace_of(head: &RequestHead<'_>) -> Option<Trace> {
    let ends_here = head.hop.names_headers && headers::is_named(head.fields, b"traceparent");
    Trace::passed(head.fields.only(Name::Traceparent).filter(|_| !ends_here)?)
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Some(stage) = self.stage.take() else { return };
        if self.status == 0 {
            // It ended before there was anything to answer.
            self.status = if self.is_cut() { 503 } else { 499 };
            self.break_off();
        }
        let now = Instant::now();
        let sent = self.sent.unwrap_or(now);
        let endpoint = self.endpoint.as_deref();
        let service = now.saturating_duration_since(sent);
        stage.meter.of(self.client.room.thread).end(&Ended {
            method: &self.method,
            status: self.status,
            code: self.code,
            service: self.sent.map(|_| service),
            received: self.received,
            sent: self.bytes,
        });
        self.client.room.log.write(
            &stage.log,
            &Line {
                at: self.at,
                method: &self.method,
                path: self.path(),
                host: self.host.name(),
                id: &self.id,
                trace: self.trace.id(),
                from: self.from(),
                instance: endpoint.map_or("", |endpoint| &endpoint.instance),
                release: endpoint.map_or(&stage.release, |endpoint| &endpoint.release),
                connect: sent.saturating_duration_since(self.started),
                service,
                status: self.status,
                bytes: self.bytes,
                code: self.code,
            },
        );
    }
}
