//! HTTP/1.0 and HTTP/1.1 towards clients: one task for each connection, one request after another.
//!
//! ```text
//! wait for a head -> judge it -> service -> write the answer -> wait ...
//!     silent, late, refused: the connection ends, after an answer where one is due
//! ```
//!
//! The same task writes to the app and reads from it, so nobody is woken but by the kernel. While a
//! connection waits it holds no buffer. At the drain a silent connection gets a moment for one more
//! request, whose answer says that it was the last: one that is on its way is not lost.
//!
//! Start reading at [`serve`].

use std::{
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderValue, Method, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout},
};

use crate::{
    answer::{self, OwnAnswer, OwnBody},
    attempt,
    body_source::{BodySource, ClientBroke},
    client_stream::ClientStream,
    connection::Client,
    download::{Download, Ended},
    forward::Answer,
    headers::{self, Delivery},
    http1::{
        Framing, Malformed,
        body::BodyReader,
        buffer::Buffer,
        chunks::is_token,
        fields::{FieldRange, Name},
        head_end::HeadEnd,
        request::{self, Hop, Refusal, Version},
    },
    outbox::Outbox,
    service,
    static_file::FileBody,
    tunnel,
    watchdog::Watchdog,
    worker::Registered,
};

/// Empty lines that may come before a request.
const EMPTY_LINES: u32 = 4;
/// At the drain, for a request that is on its way over a silent connection.
pub(crate) const LAST_REQUEST: Duration = Duration::from_secs(1);
/// For a client to read the last answer while it still sends what nobody takes.
const LINGER: Duration = Duration::from_secs(5);
/// Room for the head of a request that is kept for the next one.
const KEPT_ROOM: usize = 16 << 10;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A client's connection that speaks HTTP/1.
pub(crate) struct Http1 {
    pub(crate) stream: ClientStream,
    pub(crate) outbox: Outbox,
    inbox: Buffer,
    head_end: HeadEnd,
    ranges: Vec<FieldRange>,
    /// The body of the request that is being served.
    body: BodyReader,
    /// Whether the client waits to be told to send it.
    owes_continue: bool,
}

/// What a wait for a request ends with.
enum Next {
    /// The head stands in the inbox, with this length.
    Head(usize),
    Refused(Refusal),
    End,
}

/// What the request says about the answer.
struct Asked {
    method: Method,
    version: Version,
    hop: Hop,
}

/// Whether another request may follow.
#[derive(PartialEq, Eq)]
enum Then {
    Next,
    Close,
    /// It is spent: broken, or speaking another protocol.
    Gone,
}

/// Tells a client that it has too many connections.
pub(crate) async fn turn_away(client: Rc<Client>, stream: ClientStream) {
    Http1::new(stream).refuse(&client, Refusal::Crowded).await;
}

/// Serves the connection to its end.
pub(crate) async fn serve(client: Rc<Client>, stream: ClientStream) {
    let mut http1 = Http1::new(stream);
    let mut watchdog = Watchdog::default();
    let mut registered = None;
    let mut request = Vec::new();
    loop {
        let since = Instant::now();
        let next = poll_fn(|cx| http1.poll_next(cx, &client, &mut watchdog, (since, &mut registered))).await;
        let length = match next {
            Next::Head(length) => length,
            Next::Refused(refusal) => return http1.refuse(&client, refusal).await,
            Next::End => return http1.close().await,
        };
        client.requests.set(client.requests.get() + 1);
        let most = client.room.limits.headers;
        let head = match request::parse(&http1.inbox.bytes()[..length], most, &mut http1.ranges) {
            Ok(head) => head,
            Err(refusal) => return http1.refuse(&client, refusal).await,
        };
        request.clear();
        request.shrink_to(KEPT_ROOM);
        client.room.tally().http1_requests.add(1);
        let taken = service::take(&client, &head, &mut request);
        let (framing, hop) = (head.framing, head.hop);
        let asked = Asked { method: head.method, version: head.version, hop };
        http1.inbox.consume(length);
        http1.body = BodyReader::new(framing);
        http1.owes_continue = hop.expects_continue && !framing.is_empty();
        let asking = attempt::Client { body: &mut http1, watchdog: &mut watchdog };
        let then = match service::answer(taken, &request, framing, asking).await {
            Answer::Nobody => return,
            Answer::Own(own) => http1.write_own(own, &asked, &mut watchdog).await,
            Answer::App(begun, exchange) if begun.said.status == StatusCode::SWITCHING_PROTOCOLS => {
                return http1.upgrade(begun, exchange).await;
            }
            Answer::App(begun, exchange) => http1.write_app(begun, exchange, &asked, &mut watchdog).await,
        };
        match then {
            Then::Next => {}
            Then::Close => return http1.close().await,
            Then::Gone => return,
        }
    }
}

impl Http1 {
    fn new(stream: ClientStream) -> Self {
        Self {
            stream,
            outbox: Outbox::default(),
            inbox: Buffer::default(),
            head_end: HeadEnd::default(),
            ranges: Vec::new(),
            body: BodyReader::new(Framing::None),
            owes_continue: false,
        }
    }

    /// Waits for the head of a request, since `since`.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        client: &Rc<Client>,
        watchdog: &mut Watchdog,
        (since, registered): (Instant, &mut Option<Registered>),
    ) -> Poll<Next> {
        let mut empty_lines = 0;
        loop {
            if let Some(next) = self.look(&mut empty_lines, client.room.limits.head_bytes) {
                return Poll::Ready(next);
            }
            match self.inbox.poll_fill(cx, &mut self.stream) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Poll::Ready(Next::End),
                Poll::Pending => break,
            }
        }
        let limits = &client.room.limits;
        // A head's time runs from its first byte, however it trickles in.
        let begun = (!self.inbox.is_empty()).then(|| self.head_end.since());
        let is_first = client.requests.get() == 0;
        let deadline = match begun {
            Some(begun) => begun + limits.header_read,
            None if is_first => since + limits.header_read,
            None => match client.room.drains_since() {
                Some(drain) => since.max(drain) + LAST_REQUEST,
                None => since + limits.keep_alive,
            },
        };
        if watchdog.is_overdue(cx, deadline) {
            return Poll::Ready(if begun.is_some() { Next::Refused(Refusal::Late) } else { Next::End });
        }
        if begun.is_none() && !is_first {
            // Once for a connection: its task is woken at the drain.
            registered.get_or_insert_with(|| client.room.register(cx.waker()));
        }
        Poll::Pending
    }

    /// Looks for a head in what has arrived.
    fn look(&mut self, empty_lines: &mut u32, most: usize) -> Option<Next> {
        loop {
            let bytes = self.inbox.bytes();
            let first = *bytes.first()?;
            if !is_token(&first) && first != b'\r' {
                return Some(Next::Refused(Refusal::Malformed));
            }
            match self.head_end.find(bytes) {
                Err(Malformed) => return Some(Next::Refused(Refusal::Malformed)),
                Ok(Some(2)) if *empty_lines < EMPTY_LINES => {
                    *empty_lines += 1;
                    self.inbox.consume(2);
                }
                Ok(Some(length)) if length <= most => return Some(Next::Head(length)),
                Ok(None) if bytes.len() <= most => return None,
                Ok(_) => return Some(Next::Refused(Refusal::TooLarge)),
            }
        }
    }

    /// Answers a request that is not served, and ends the connection: what follows on it may be
    /// framed as anything.
    async fn refuse(mut self, client: &Client, refusal: Refusal) {
        client.room.counters.refusals.note_malformed(refusal, client.peer.text.to_str().unwrap_or_default());
        let (status, text) = answer::refusal(refusal);
        let heading = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
        let page = answer::page(&heading, &format!("<p>{text}</p>"), None);
        let mut fields = http::HeaderMap::new();
        fields.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/html; charset=utf-8"));
        if refusal == Refusal::Crowded {
            fields.insert(http::header::RETRY_AFTER, http::HeaderValue::from(answer::RETRY_SECONDS));
        }
        let date = client.room.date();
        let delivery = Delivery {
            version: Version::Http11,
            framing: Framing::Length(page.len() as u64),
            closes: true,
            id: "",
            date: date.as_bytes(),
            hsts: None,
        };
        headers::write_own(self.outbox.room(), status, &fields, page.len() as u64, &delivery);
        self.outbox.room().extend_from_slice(page.as_bytes());
        let flushed = poll_fn(|cx| self.outbox.poll_flush(cx, &mut self.stream));
        // A client that does not read has no more time than one that does not send.
        if let Ok(Ok(())) = timeout(client.room.limits.header_read, flushed).await {
            self.linger().await;
        }
    }

    /// Writes the app's answer.
    async fn write_app(
        &mut self,
        begun: attempt::Begun,
        mut exchange: Box<crate::exchange::Exchange>,
        asked: &Asked,
        watchdog: &mut Watchdog,
    ) -> Then {
        let framing = match begun.said.framing {
            Framing::Chunked | Framing::UntilClose if asked.version == Version::Http10 => Framing::UntilClose,
            Framing::UntilClose => Framing::Chunked,
            other => other,
        };
        let closes = asked.closes(&exchange.client) || framing == Framing::UntilClose;
        let mut download = Download::new(begun, framing);
        let room = Rc::clone(&exchange.client.room);
        let date = room.date();
        let delivery = Delivery {
            version: asked.version,
            framing,
            closes,
            id: &exchange.id,
            date: date.as_bytes(),
            hsts: exchange.hsts().map(HeaderValue::as_bytes),
        };
        download.write_head(self.outbox.room(), &delivery);
        let ended = poll_fn(|cx| download.poll(cx, self, watchdog, &mut exchange)).await;
        match ended {
            Ended::Whole if !closes && self.body.is_done() => Then::Next,
            Ended::Whole => Then::Close,
            Ended::Broken => Then::Gone,
        }
    }

    /// Writes an answer of our own.
    async fn write_own(&mut self, own: OwnAnswer, asked: &Asked, watchdog: &mut Watchdog) -> Then {
        let OwnAnswer { response, mut exchange, closes } = own;
        let closes = closes || asked.closes(&exchange.client) || !self.skips_body();
        let (parts, body) = response.into_parts();
        let length = body.length();
        let room = Rc::clone(&exchange.client.room);
        let date = room.date();
        let delivery = Delivery {
            version: asked.version,
            framing: Framing::Length(length),
            closes,
            id: &exchange.id,
            date: date.as_bytes(),
            hsts: None,
        };
        headers::write_own(self.outbox.room(), parts.status, &parts.headers, length, &delivery);
        let written = if asked.method == Method::HEAD {
            self.flush(watchdog, room.limits.idle).await
        } else {
            let written = self.write_body(body, watchdog, room.limits.idle).await;
            if written.is_ok() {
                exchange.bytes = length;
            }
            written
        };
        match written {
            Ok(()) if closes => Then::Close,
            Ok(()) => Then::Next,
            Err(_) => {
                exchange.break_off();
                Then::Gone
            }
        }
    }

    async fn write_body(&mut self, body: OwnBody, watchdog: &mut Watchdog, idle: Duration) -> io::Result<()> {
        let mut file: FileBody = match body {
            OwnBody::Page(page) => {
                self.outbox.room().extend_from_slice(&page);
                return self.flush(watchdog, idle).await;
            }
            OwnBody::File(file) => file,
        };
        while let Some(part) = poll_fn(|cx| file.poll(cx)).await {
            self.outbox.room().extend_from_slice(&part?);
            self.flush(watchdog, idle).await?;
        }
        self.flush(watchdog, idle).await
    }

    /// Writes what is in the outbox; gives up on a client that takes nothing for too long.
    async fn flush(&mut self, watchdog: &mut Watchdog, idle: Duration) -> io::Result<()> {
        let mut left = self.outbox.left();
        let mut moved = Instant::now();
        poll_fn(|cx| {
            let polled = self.outbox.poll_flush(cx, &mut self.stream);
            if polled.is_ready() {
                return polled;
            }
            if self.outbox.left() < left {
                (left, moved) = (self.outbox.left(), Instant::now());
            }
            if watchdog.is_overdue(cx, moved + idle) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            Poll::Pending
        })
        .await
    }

    /// Drops what is here of a body that nobody took; `false` when more of it is to come.
    fn skips_body(&mut self) -> bool {
        while !self.body.is_done() {
            match self.body.at_hand(&mut self.inbox) {
                Ok(count) if count > 0 => self.body.consume(&mut self.inbox, count),
                _ => break,
            }
        }
        self.body.is_done()
    }

    /// Goes on as a tunnel between the client and the app.
    async fn upgrade(mut self, begun: attempt::Begun, exchange: Box<crate::exchange::Exchange>) {
        let room = Rc::clone(&exchange.client.room);
        let date = room.date();
        let mut lent = begun.lent;
        let delivery = Delivery {
            version: Version::Http11,
            framing: Framing::None,
            closes: false,
            id: &exchange.id,
            date: date.as_bytes(),
            hsts: None,
        };
        let fields = lent.upstream().fields();
        let protocol = fields.only(Name::Upgrade).unwrap_or_default();
        let is_websocket = protocol.eq_ignore_ascii_case(b"websocket");
        headers::write_response(self.outbox.room(), &begun.said, fields, &delivery);
        let mut watchdog = Watchdog::default();
        if self.flush(&mut watchdog, room.limits.idle).await.is_ok() {
            tunnel::run((self.stream, self.inbox), lent.take().into_tunnel(), exchange, is_websocket).await;
        }
    }

    /// Ends the connection after its last answer.
    async fn close(mut self) {
        if self.body.is_done() && self.inbox.is_empty() {
            // Nobody is left to be told that it could not be closed.
            let _ = timeout(LINGER, self.stream.shutdown()).await;
        } else {
            self.linger().await;
        }
    }

    /// Ends our side, and reads on for a while: a close with unread bytes would take the answer back.
    async fn linger(mut self) {
        let drained = async {
            let _ = self.stream.shutdown().await;
            let mut dropped = [0; 4 << 10];
            while self.stream.read(&mut dropped).await.is_ok_and(|count| count > 0) {}
        };
        let _ = timeout(LINGER, drained).await;
    }
}

impl Asked {
    fn closes(&self, client: &Client) -> bool {
        let wants_close = self.hop.close || (self.version == Version::Http10 && !self.hop.keep_alive);
        wants_close || client.room.drains_since().is_some()
    }
}

impl BodySource for Http1 {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<&[u8], ClientBroke>> {
        if self.owes_continue {
            self.owes_continue = false;
            if self.inbox.is_empty() {
                self.outbox.room().extend_from_slice(CONTINUE);
            }
        }
        if !self.outbox.is_empty() {
            ready!(self.outbox.poll_flush(cx, &mut self.stream)).map_err(|_| ClientBroke)?;
        }
        self.body.poll_data(cx, &mut self.inbox, &mut self.stream).map_err(|_| ClientBroke)
    }

    fn consume(&mut self, count: usize) {
        self.body.consume(&mut self.inbox, count);
    }

    fn trailers(&self) -> &[u8] {
        self.body.trailers()
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What it sends meanwhile is the next request, and waits.
        if !self.inbox.is_empty() {
            return Poll::Pending;
        }
        match self.inbox.poll_fill(cx, &mut self.stream) {
            Poll::Ready(Ok(count)) if count > 0 => Poll::Pending,
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }
}
