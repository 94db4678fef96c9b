//! An upgraded connection: bytes both ways until one side ends, or its time has come.
//!
//! It counts as in flight at its endpoint. It has no time limit of its own; it ends when control
//! says so (the endpoint leaves and the drain limit has passed) or when this router ends, and a
//! WebSocket then gets a close frame, 1001, where it does not cut a frame in two. While it is silent
//! it holds no buffer.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{Duration, timeout},
};

use crate::{
    client_stream::ClientStream,
    exchange::Exchange,
    http1::buffer::Buffer,
    websocket::{CLOSE_TO_APP, CLOSE_TO_CLIENT, Frames},
};

/// For a close frame to a peer that does not read.
const GOODBYE: Duration = Duration::from_millis(500);

/// One direction.
struct Way {
    /// Read and not written yet.
    held: Buffer,
    frames: Frames,
    bytes: u64,
    has_ended: bool,
}

impl Way {
    /// Begins with what was read behind the head.
    fn new(held: Buffer) -> Self {
        Self { held, frames: Frames::default(), bytes: 0, has_ended: false }
    }

    /// Copies until the end of `from`. What was written is known exactly at any moment.
    fn poll_copy<F, T>(&mut self, cx: &mut Context<'_>, from: &mut F, to: &mut T) -> Poll<io::Result<()>>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        while !self.has_ended {
            while !self.held.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, self.held.bytes()))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.frames.follow(&self.held.bytes()[..written]);
                self.bytes += written as u64;
                self.held.consume(written);
            }
            ready!(Pin::new(&mut *to).poll_flush(cx))?;
            if ready!(self.held.poll_fill(cx, from))? == 0 {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.has_ended = true;
            }
        }
        Poll::Ready(Ok(()))
    }

    async fn say_goodbye<T: AsyncWrite + Unpin>(&self, to: &mut T, frame: &[u8]) {
        if self.frames.may_insert() {
            // A peer that is gone needs no goodbye.
            let _ = timeout(GOODBYE, to.write_all(frame)).await;
        }
        let _ = timeout(GOODBYE, to.shutdown()).await;
    }
}

/// Connects the two sides, each with what was read from it already.
pub(crate) async fn run(
    (mut client, from_client): (ClientStream, Buffer),
    (mut app, from_app): (TcpStream, Buffer),
    mut exchange: Box<Exchange>,
    is_websocket: bool,
) {
    let (mut up, mut down) = (Way::new(from_client), Way::new(from_app));
    let copied = poll_fn(|cx| {
        // The first end in one direction leaves the other open: it may have more to say.
        let ups = up.poll_copy(cx, &mut client, &mut app)?;
        let downs = down.poll_copy(cx, &mut app, &mut client)?;
        if ups.is_ready() && downs.is_ready() { Poll::Ready(io::Result::Ok(())) } else { Poll::Pending }
    });
    let is_told = tokio::select! {
        ended = copied => {
            if let Err(error) = ended {
                tracing::debug!(%error, "an upgraded connection broke");
            }
            false
        }
        () = time_to_go(&exchange) => true,
    };
    if is_told && is_websocket {
        tokio::join!(
            down.say_goodbye(&mut client, &CLOSE_TO_CLIENT),
            up.say_goodbye(&mut app, &CLOSE_TO_APP)
        );
    }
    (exchange.received, exchange.bytes) = (up.bytes, down.bytes);
}

async fn time_to_go(exchange: &Exchange) {
    let mut cut = exchange.client.room.cut.subscribe();
    let closing = exchange.in_flight.as_ref().map(|in_flight| in_flight.endpoint.load.closing.subscribe());
    let endpoint_leaves = async {
        match closing {
            Some(mut closing) => drop(closing.wait_for(|now| *now).await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = cut.wait_for(|now| *now) => {}
        () = endpoint_leaves => {}
    }
}
