//! The HTTP client for ACME servers: HTTPS only, bounded in time and size, and it remembers what the
//! last answer asked to wait.

use std::{future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use parking_lot::Mutex;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::fault::{AcmeFault, Whose};

/// For one request with its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// No directory, order or chain is longer.
const LONGEST_ANSWER: usize = 1 << 20;

/// What the last answer asked to wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<Option<Duration>>>);

impl Asked {
    /// It, if the answer was a refusal.
    pub(crate) fn last(&self) -> Option<Duration> {
        *self.0.lock()
    }
}

/// A client of one ACME server.
pub(crate) struct AcmeClient {
    inner: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    asked: Asked,
}

impl AcmeClient {
    /// One that believes the authorities of this file, or those of the system.
    pub(crate) fn new(authorities: Option<&Path>) -> Result<(Self, Asked), AcmeFault> {
        let own = |error: String| AcmeFault::new(Whose::Own, error);
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| own(error.to_string()))?;
        let config = builder.with_root_certificates(roots(authorities)?).with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
        let asked = Asked::default();
        let inner = Client::builder(TokioExecutor::new()).build(connector);
        Ok((Self { inner, asked: asked.clone() }, asked))
    }
}

fn roots(authorities: Option<&Path>) -> Result<RootCertStore, AcmeFault> {
    let mut roots = RootCertStore::empty();
    let Some(path) = authorities else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let text = "this system trusts no certificate authority: install `ca-certificates`";
            return Err(AcmeFault::new(Whose::Own, text));
        }
        return Ok(roots);
    };
    let refused = |why: String| {
        AcmeFault::new(Whose::Own, format!("could not use the authorities in `{}`: {why}", path.display()))
    };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| refused(error.to_string()))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() { Err(refused("there is no certificate in it".into())) } else { Ok(roots) }
}

impl HttpClient for AcmeClient {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (call, asked) = (self.inner.request(request), self.asked.clone());
        // Of an earlier answer, should none come to this one.
        *asked.0.lock() = None;
        let answered = async move {
            let (parts, body) = call.await.map_err(|error| Error::Other(Box::new(error)))?.into_parts();
            let refused = parts.status.is_client_error() || parts.status.is_server_error();
            *asked.0.lock() = parts.headers.get(http::header::RETRY_AFTER).filter(|_| refused).and_then(wait);
            let body = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(Error::Other)?.to_bytes();
            let body: Box<dyn instant_acme::BytesBody> = Box::new(body);
            Ok(BytesResponse { parts, body })
        };
        Box::pin(async move {
            let late = |_| Error::Other("the server did not answer in time".into());
            tokio::time::timeout(PATIENCE, answered).await.map_err(late)?
        })
    }
}

/// The value of `Retry-After`: seconds, or a date.
fn wait(value: &http::HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::from_secs(u64::try_from(at.as_second() - crate::store::now()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wait = |text: &str| wait(&http::HeaderValue::from_str(text).unwrap());
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        assert!(wait("Fri, 31 Dec 2100 23:59:59 GMT").unwrap() > Duration::from_secs(1 << 30));
        assert_eq!(wait("soon"), None);
    }
}
