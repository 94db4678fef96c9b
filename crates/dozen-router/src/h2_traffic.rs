//! The streams of one HTTP/2 connection: how many there are, how they end, and which stand still.
//!
//! Two things cost a client nothing and a server much, and no limit of the protocol bounds them:
//! to break a request off as soon as it has been sent, again and again (CVE-2023-44487), and to ask
//! for an answer and take none of it. So what a client breaks off is counted against an allowance
//! that refills slowly, and a stream whose client takes nothing for too long is reset.
//!
//! Start reading at [`Streams`].

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    body::{Body, Frame, SizeHint},
    rt::Executor,
};
use tokio::{
    sync::Notify,
    task::spawn_local,
    time::{Instant, Sleep, sleep_until},
};

/// Requests that a client may break off at once; more than a page has that is left while it loads.
const ALLOWANCE: u32 = 200;
/// Time in which it gets one of them back.
const REFILL: Duration = Duration::from_millis(50);

/// What a connection's streams have in common.
#[derive(Debug)]
pub(crate) struct Traffic {
    open: Cell<usize>,
    taken: Cell<u64>,
    begun: Notify,
    /// When the connection began, or its last stream ended.
    quiet_since: Cell<Instant>,
    allowance: Cell<u32>,
    refilled: Cell<Instant>,
    is_abused: Cell<bool>,
    abused: Notify,
    /// Of the stream that begins: its answer is asked for right before its task is started.
    beginning: RefCell<Option<Rc<Flow>>>,
}

impl Traffic {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            open: Cell::new(0),
            taken: Cell::new(0),
            begun: Notify::new(),
            quiet_since: Cell::new(now),
            allowance: Cell::new(ALLOWANCE),
            refilled: Cell::new(now),
            is_abused: Cell::new(false),
            abused: Notify::new(),
            beginning: RefCell::default(),
        }
    }

    /// A stream begins: its task is the next that is started.
    pub(crate) fn begin(&self) -> Rc<Flow> {
        let flow = Rc::new(Flow::default());
        *self.beginning.borrow_mut() = Some(Rc::clone(&flow));
        flow
    }

    /// Whether the client has broken off too much.
    pub(crate) fn is_abused(&self) -> bool {
        self.is_abused.get()
    }

    /// Ready once there has been a stream.
    pub(crate) async fn begun(&self) {
        while self.taken.get() == 0 {
            self.begun.notified().await;
        }
    }

    /// Ready when the client has broken off too much.
    pub(crate) async fn abused(&self) {
        while !self.is_abused() {
            self.abused.notified().await;
        }
    }

    /// Ready when there has been no stream for `limit`, or no first one for `first`.
    pub(crate) async fn quiet_for(&self, first: Duration, limit: Duration) {
        loop {
            let limit = if self.taken.get() == 0 { first } else { limit };
            // While there are streams it is a time to look again.
            let since = if self.open.get() == 0 { self.quiet_since.get() } else { Instant::now() };
            let deadline = since + limit;
            if Instant::now() >= deadline {
                return;
            }
            sleep_until(deadline).await;
        }
    }

    /// From now on, for [`quiet_for`](Self::quiet_for).
    pub(crate) fn wait_anew(&self) {
        self.quiet_since.set(Instant::now());
    }

    fn note_broken_off(&self, now: Instant) {
        let refills = now.saturating_duration_since(self.refilled.get()).as_millis() / REFILL.as_millis();
        if refills > 0 {
            self.refilled.set(now);
            let refills = u32::try_from(refills).unwrap_or(ALLOWANCE);
            self.allowance.set(self.allowance.get().saturating_add(refills).min(ALLOWANCE));
        }
        match self.allowance.get().checked_sub(1) {
            Some(left) => self.allowance.set(left),
            None => {
                self.is_abused.set(true);
                self.abused.notify_waiters();
            }
        }
    }
}

/// One open stream, counted until it is dropped.
struct Open {
    traffic: Rc<Traffic>,
    flow: Rc<Flow>,
}

impl Open {
    fn count(traffic: &Rc<Traffic>, flow: Rc<Flow>) -> Self {
        traffic.open.set(traffic.open.get() + 1);
        traffic.taken.set(traffic.taken.get() + 1);
        traffic.begun.notify_waiters();
        Self { traffic: Rc::clone(traffic), flow }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.traffic.open.set(self.traffic.open.get() - 1);
        let now = Instant::now();
        self.traffic.quiet_since.set(now);
        if !self.flow.is_over.get() {
            self.traffic.note_broken_off(now);
        }
    }
}

/// How far one stream's answer has come.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// When a part was handed over that the client has not taken yet, as far as is known.
    handed_over: Cell<Option<Instant>>,
    /// All of the answer was handed over, or it broke at our end.
    is_over: Cell<bool>,
}

impl Flow {
    /// There is no more to come.
    pub(crate) fn end(&self) {
        self.is_over.set(true);
    }

    /// Ready when the client has taken nothing for `limit`. While we have nothing to give, it is not
    /// the client who is waited for.
    fn poll_stalled(
        &self,
        cx: &mut Context<'_>,
        timer: &mut Option<Pin<Box<Sleep>>>,
        limit: Duration,
    ) -> Poll<()> {
        let Some(since) = self.handed_over.get() else { return Poll::Pending };
        let deadline = since + limit;
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

/// Starts the tasks of a connection's streams on its thread.
#[derive(Debug, Clone)]
pub(crate) struct Streams {
    pub(crate) traffic: Rc<Traffic>,
    /// For a client that takes nothing.
    pub(crate) limit: Duration,
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let Some(flow) = self.traffic.beginning.take() else { return };
        let open = Open::count(&self.traffic, flow);
        let limit = self.limit;
        spawn_local(async move {
            let mut stream = pin!(stream);
            let mut timer = None;
            // A stream that is dropped is reset.
            poll_fn(|cx| match stream.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => open.flow.poll_stalled(cx, &mut timer, limit),
            })
            .await;
        });
    }
}

/// An answer's body, watched for how far it has come.
#[derive(Debug)]
pub(crate) struct Watched<B> {
    /// `None` for an answer that has only a head.
    body: Option<B>,
    flow: Rc<Flow>,
}

impl<B: Body> Watched<B> {
    pub(crate) fn new(body: Option<B>, flow: Rc<Flow>) -> Self {
        let body = body.filter(|body| !body.is_end_stream());
        if body.is_none() {
            flow.end();
        }
        Self { body, flow }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        this.flow.handed_over.set(polled.is_ready().then(Instant::now));
        let frame = ready!(polled);
        if !matches!(frame, Some(Ok(_))) || body.is_end_stream() {
            this.flow.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_off_now_and_then_is_no_abuse() {
        let traffic = Traffic::new();
        let mut now = Instant::now();
        for _ in 0..10 * ALLOWANCE {
            traffic.note_broken_off(now);
            now += REFILL;
        }
        assert!(!traffic.is_abused());
        for _ in 0..=ALLOWANCE {
            traffic.note_broken_off(now);
        }
        assert!(traffic.is_abused());
    }
}
