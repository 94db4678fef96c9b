//! An upgraded connection: bytes both ways until one side ends, or its time has come.
//!
//! It counts as in flight at its endpoint. It has no time limit of its own; it ends when control
//! says so (the endpoint leaves and the drain limit has passed) or when this router ends, and a
//! WebSocket then gets a close frame, 1001, where it does not cut a frame in two.

use std::io;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split},
    time::{Duration, timeout},
};

use crate::{
    exchange::Exchange,
    websocket::{CLOSE_TO_APP, CLOSE_TO_CLIENT, Frames},
};

const PART: usize = 16 << 10;
/// For a close frame to a peer that does not read.
const GOODBYE: Duration = Duration::from_millis(500);

type Stream = TokioIo<Upgraded>;

/// One direction.
struct Way {
    from: ReadHalf<Stream>,
    to: WriteHalf<Stream>,
    frames: Frames,
    bytes: u64,
}

impl Way {
    /// Copies until the end of `from`. It may be dropped between any two parts: what was written
    /// is known exactly.
    async fn copy(&mut self) -> io::Result<()> {
        let mut part = vec![0; PART];
        loop {
            let read = self.from.read(&mut part).await?;
            if read == 0 {
                return self.to.shutdown().await;
            }
            let mut rest = &part[..read];
            while !rest.is_empty() {
                let written = self.to.write(rest).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                self.frames.follow(&rest[..written]);
                self.bytes += written as u64;
                rest = &rest[written..];
            }
            self.to.flush().await?;
        }
    }

    async fn say_goodbye(&mut self, frame: &[u8]) {
        if self.frames.may_insert() {
            // A peer that is gone needs no goodbye.
            let _ = timeout(GOODBYE, self.to.write_all(frame)).await;
        }
        let _ = timeout(GOODBYE, self.to.shutdown()).await;
    }
}

/// Connects the two sides once both have changed their protocol.
pub(crate) async fn run(client: OnUpgrade, app: OnUpgrade, mut exchange: Box<Exchange>, is_websocket: bool) {
    let (Ok(client), Ok(app)) = tokio::join!(client, app) else { return };
    // The connection's own task has ended; it stays open here.
    let _open = exchange.client.open.take();
    let (client_from, client_to) = split(TokioIo::new(client));
    let (app_from, app_to) = split(TokioIo::new(app));
    let mut down = Way { from: app_from, to: client_to, frames: Frames::default(), bytes: 0 };
    let mut up = Way { from: client_from, to: app_to, frames: Frames::default(), bytes: 0 };
    let is_told = tokio::select! {
        // The first end or break in one direction leaves the other open: it may have more to say.
        ended = async { tokio::try_join!(down.copy(), up.copy()) } => {
            if let Err(error) = ended {
                tracing::debug!(%error, "an upgraded connection broke");
            }
            false
        }
        () = time_to_go(&exchange) => true,
    };
    if is_told && is_websocket {
        tokio::join!(down.say_goodbye(&CLOSE_TO_CLIENT), up.say_goodbye(&CLOSE_TO_APP));
    }
    exchange.bytes = down.bytes;
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
