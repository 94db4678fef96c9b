//! The client of the API: HTTP/1.1 over the server's unix socket, or over ssh.
//!
//! One connection carries one request after another. Long work answers a stream of lines
//! ([`Lines`]); a second connection to the same server ([`ControlClient::another`]) carries what has
//! to be said meanwhile, such as "cancel". Paths come from [`dozen_control::api::wire::paths`].
//!
//! It does not retry: only [`crate::follow`] knows what may be asked twice.
//!
//! Start reading at [`ControlClient`].

use std::io;

use bytes::Bytes;
use dozen_control::api::wire::ErrorBody;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use serde::{Serialize, de::DeserializeOwned};

mod client_error;
mod lines;
mod transport;

pub(crate) use client_error::ClientError;
pub(crate) use lines::Lines;
pub(crate) use transport::connect_socket;

use crate::settings::{ServerAddress, Settings};

/// The largest answer that is read whole.
const ANSWER_LIMIT: usize = 16 << 20;

/// The exit status by which `dozen api-bridge` says that nothing listens on its machine: that is
/// what a connection over ssh knows of the other side.
pub(crate) const NO_SERVER_THERE: u8 = 69;

/// What a request carries.
pub(crate) type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

/// A connection to the server.
pub(crate) struct ControlClient {
    address: ServerAddress,
    sender: SendRequest<RequestBody>,
    /// Kept for its end: it is told to go when the connection is dropped.
    ssh: Option<tokio::process::Child>,
}

impl ControlClient {
    /// Connects to the server that the settings name, or to the machine's own where that is silent.
    pub(crate) async fn connect(settings: &Settings) -> Result<Self, ClientError> {
        let refused = match Self::connect_to(&settings.server).await {
            Ok(client) => return Ok(client),
            Err(refused) => refused,
        };
        match &settings.fallback {
            Some(address) if refused.is_not_running() => Self::connect_to(address).await.map_err(|_| refused),
            _ => Err(refused),
        }
    }

    async fn connect_to(address: &ServerAddress) -> Result<Self, ClientError> {
        let (sender, ssh) = transport::connect(address).await?;
        Ok(Self { address: address.clone(), sender, ssh })
    }

    /// A second connection to the same server.
    pub(crate) async fn another(&self) -> Result<Self, ClientError> {
        Self::connect_to(&self.address).await
    }

    /// The server it is connected to.
    pub(crate) fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// Whether the other side has ended this connection.
    pub(crate) fn has_ended(&self) -> bool {
        self.sender.is_closed()
    }

    /// `GET`, with an answer that is read whole.
    pub(crate) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        let response = self.send(Method::GET, path, None).await?;
        read_json(response).await
    }

    /// `GET`, with a text that is read whole.
    pub(crate) async fn get_text(&mut self, path: &str) -> Result<Bytes, ClientError> {
        let response = self.send(Method::GET, path, None).await?;
        read_all(response).await
    }

    /// A request with a JSON body and an answer that is read whole.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let response = self.send(method, path, Some(json(body)?)).await?;
        read_json(response).await
    }

    /// A request without a body and with an answer that is read whole.
    pub(crate) async fn tell<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
    ) -> Result<T, ClientError> {
        let response = self.send(method, path, None).await?;
        read_json(response).await
    }

    /// A request whose answer is a stream of lines.
    pub(crate) async fn stream(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Lines, ClientError> {
        Ok(Lines::of(self.send(method, path, body).await?.into_body()))
    }

    /// An upload: `POST` with a body that is made while it is sent, and JSON in one header.
    pub(crate) async fn upload(
        &mut self,
        path: &str,
        source: &impl Serialize,
        body: RequestBody,
    ) -> Result<Lines, ClientError> {
        let request = self
            .request(Method::POST, path)
            .header("x-dozen-source", ascii_json(source)?)
            .header(header::CONTENT_TYPE, "application/x-tar")
            .body(body)?;
        Ok(Lines::of(self.answer(request).await?.into_body()))
    }

    /// A request that may turn the connection into one of frames. `Ok(Err(..))` is an answer of the
    /// ordinary kind.
    pub(crate) async fn upgrade(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Result<hyper::upgrade::Upgraded, Response<Incoming>>, ClientError> {
        let request = self
            .request(Method::POST, path)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "dozen-attach")
            .header(header::CONTENT_TYPE, "application/json")
            .body(whole(json(body)?))?;
        let response = self.answer(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Ok(hyper::upgrade::on(response).await?));
        }
        Ok(Err(response))
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = self.request(method, path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(whole(body.unwrap_or_default()))?;
        self.answer(request).await
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(path).header(header::HOST, "dozen")
    }

    /// Sends a request and takes its answer; a refusal becomes an error.
    async fn answer(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, ClientError> {
        if let Err(source) = self.sender.ready().await {
            return Err(self.lost(source).await);
        }
        let response = match self.sender.send_request(request).await {
            Ok(response) => response,
            Err(source) => return Err(self.lost(source).await),
        };
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let bytes = read_all(response).await?;
        Err(ClientError::Refused(Box::new(error_body(status, &bytes))))
    }

    /// Why a connection broke: an ssh that has ended knows better than the HTTP layer.
    async fn lost(&mut self, source: hyper::Error) -> ClientError {
        if let (Some(ssh), ServerAddress::Ssh(host)) = (&mut self.ssh, &self.address) {
            let ended = tokio::time::timeout(std::time::Duration::from_secs(1), ssh.wait()).await;
            if let Ok(Ok(status)) = ended {
                return match status.code() {
                    Some(code) if code == i32::from(NO_SERVER_THERE) => {
                        ClientError::NotRunning { address: host.to_string() }
                    }
                    _ => ClientError::Ssh { host: host.to_string(), status },
                };
            }
        }
        ClientError::Broken(source)
    }
}

/// Reads an answer whole, up to a limit.
async fn read_all(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(response.into_body(), ANSWER_LIMIT);
    body.collect().await.map(http_body_util::Collected::to_bytes).map_err(ClientError::Answer)
}

/// Reads an answer of JSON; an empty one stands for `null`.
pub(crate) async fn read_json<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, ClientError> {
    let bytes = read_all(response).await?;
    let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
    serde_json::from_slice(text).map_err(ClientError::NotUnderstood)
}

/// The refusal that an answer carries, or one made of its status.
fn error_body(status: StatusCode, bytes: &[u8]) -> ErrorBody {
    serde_json::from_slice(bytes).unwrap_or_else(|_| ErrorBody {
        message: format!("the server answered {status}"),
        hint: None,
        log_tail: Vec::new(),
        internal: status.is_server_error(),
    })
}

/// A body that is all there.
fn whole(bytes: Bytes) -> RequestBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<Bytes, ClientError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(ClientError::NotUnderstood)
}

/// A value as JSON in ASCII, as a header needs it.
fn ascii_json(value: &impl Serialize) -> Result<String, ClientError> {
    let text = serde_json::to_string(value).map_err(ClientError::NotUnderstood)?;
    let mut ascii = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() && !character.is_ascii_control() {
            ascii.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Ok(ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_carries_any_text_as_ascii_json() {
        let text = "Grüße 🙂\u{7f}\n\"x\"";
        let ascii = ascii_json(&text).unwrap();
        assert!(ascii.is_ascii() && !ascii.bytes().any(|b| b.is_ascii_control()), "{ascii}");
        assert_eq!(serde_json::from_str::<String>(&ascii).unwrap(), text);
    }

    #[test]
    fn an_answer_that_is_no_refusal_of_ours_is_told_by_its_status() {
        assert!(error_body(StatusCode::BAD_GATEWAY, b"<html>").internal);
        assert!(!error_body(StatusCode::NOT_FOUND, b"").internal);
        let body = br#"{"message":"no app `x`","hint":null}"#;
        assert_eq!(error_body(StatusCode::NOT_FOUND, body).message, "no app `x`");
    }
}
