//! The server's HTTPS: what comes is given to the [`World`], what it says is sent, or cut.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{
    body::{Body, Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::world::{Reply, Request, World};

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, tls: Arc<rustls::ServerConfig>, world: Arc<Mutex<World>>) {
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        if !world.lock().script.is_away {
            tokio::spawn(talk(stream, acceptor.clone(), Arc::clone(&world)));
        }
    }
}

async fn talk(stream: TcpStream, acceptor: TlsAcceptor, world: Arc<Mutex<World>>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request| answer(request, Arc::clone(&world)));
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: hyper::Request<Incoming>,
    world: Arc<Mutex<World>>,
) -> Result<hyper::Response<Text>, Infallible> {
    let (parts, body) = request.into_parts();
    let header = |name| parts.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let read = Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        content_type: header("content-type").map(str::to_owned),
        agent: header("user-agent").map(str::to_owned),
        body: Limited::new(body, 64 << 10)
            .collect()
            .await
            .map_or_else(|_| Vec::new(), |body| body.to_bytes().into()),
    };
    let (reply, job) = world.lock().serve(&read);
    if let Some(job) = job {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let ended = job.run().await;
            world.lock().conclude(&job, ended);
        });
    }
    Ok(response(reply))
}

fn response(reply: Reply) -> hyper::Response<Text> {
    let mut builder = hyper::Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        builder = builder.header(*name, value);
    }
    if reply.is_cut {
        // The rest never comes.
        builder = builder.header("content-length", reply.body.len() + 1);
    }
    builder.body(Text { text: Some(reply.body.into()), is_cut: reply.is_cut }).expect("an answer")
}

/// The text of an answer, that ends in the middle if it has to.
struct Text {
    text: Option<Bytes>,
    is_cut: bool,
}

impl Body for Text {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(text) = self.text.take().filter(|text| !text.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(text))));
        }
        let cut = std::mem::take(&mut self.is_cut);
        Poll::Ready(cut.then(|| Err(io::ErrorKind::ConnectionReset.into())))
    }

    fn is_end_stream(&self) -> bool {
        !self.is_cut && self.text.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match (&self.text, self.is_cut) {
            (Some(text), false) => hyper::body::SizeHint::with_exact(text.len() as u64),
            _ => hyper::body::SizeHint::default(),
        }
    }
}
