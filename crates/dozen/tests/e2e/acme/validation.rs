//! Validation for real: the server asks the name for the answer to its challenge.
//!
//! All names are 127.0.0.1, at the ports that the test gives.

use std::{
    net::Ipv4Addr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_lc_rs::digest;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    version::TLS13,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

use super::problem::Problem;

/// For one validation.
const PATIENCE: Duration = Duration::from_secs(5);

/// A kind of challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Http,
    Tls,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Http, Self::Tls];

    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http-01",
            Self::Tls => "tls-alpn-01",
        }
    }
}

/// A validation that is to be made.
#[derive(Debug, Clone)]
pub struct Job {
    pub authorization: usize,
    pub challenge: usize,
    pub kind: Kind,
    pub name: String,
    pub token: String,
    pub key_authorization: String,
    /// Where the name is.
    pub port: u16,
    /// What becomes of it whatever the name answers.
    pub scripted: Option<Problem>,
}

impl Job {
    pub async fn run(&self) -> Result<(), Problem> {
        let asked = async {
            match self.kind {
                Kind::Http => self.by_http().await,
                Kind::Tls => self.by_tls().await,
            }
        };
        let answered = tokio::time::timeout(PATIENCE, asked).await;
        let answered = answered.unwrap_or_else(|_| Err(self.unreached("it does not answer in time")));
        self.scripted.clone().map_or(answered, Err)
    }

    fn unreached(&self, why: impl std::fmt::Display) -> Problem {
        Problem::new(400, "connection", format!("127.0.0.1: {why}"))
    }

    fn wrong(&self, why: impl std::fmt::Display) -> Problem {
        Problem::new(403, "unauthorized", format!("127.0.0.1: {why}"))
    }

    async fn connect(&self) -> Result<TcpStream, Problem> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.map_err(|error| self.unreached(error))
    }

    /// RFC 8555, 8.3.
    async fn by_http(&self) -> Result<(), Problem> {
        let stream = TokioIo::new(self.connect().await?);
        let (mut client, connection) =
            hyper::client::conn::http1::handshake(stream).await.map_err(|error| self.unreached(error))?;
        tokio::spawn(connection);
        let request = hyper::Request::get(format!("/.well-known/acme-challenge/{}", self.token))
            .header("host", &self.name)
            .header("user-agent", "the validation of a test")
            .header("connection", "close")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let answer = client.send_request(request).await.map_err(|error| self.unreached(error))?;
        if answer.status() != 200 {
            return Err(self.wrong(format!("it answers {} to the challenge", answer.status())));
        }
        let body = Limited::new(answer.into_body(), 4096).collect().await;
        let body = body.map_err(|error| self.unreached(error))?.to_bytes();
        let is_right = body == self.key_authorization.as_bytes();
        if is_right { Ok(()) } else { Err(self.wrong("what it answers is not the key authorization")) }
    }

    /// RFC 8737, 3.
    async fn by_tls(&self) -> Result<(), Problem> {
        let name = ServerName::try_from(self.name.clone()).map_err(|error| self.unreached(error))?;
        let stream = TlsConnector::from(Arc::clone(config())).connect(name, self.connect().await?).await;
        let stream = stream.map_err(|error| Problem::new(400, "tls", format!("127.0.0.1: {error}")))?;
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(b"acme-tls/1") {
            return Err(self.wrong("it does not speak `acme-tls/1`"));
        }
        let Some([shown]) = session.peer_certificates() else {
            return Err(self.wrong("it does not show exactly one certificate"));
        };
        let Ok(([], certificate)) = x509_parser::parse_x509_certificate(shown) else {
            return Err(self.wrong("its certificate cannot be read"));
        };
        self.look_at(&certificate).map_err(|why| self.wrong(why))
    }

    fn look_at(&self, certificate: &X509Certificate<'_>) -> Result<(), &'static str> {
        let is_own = certificate.issuer().as_raw() == certificate.subject().as_raw();
        if !is_own || certificate.verify_signature(None).is_err() {
            return Err("its certificate is not signed by itself");
        }
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|extension| extension.value.general_names.as_slice());
        if !matches!(names, Some([GeneralName::DNSName(name)]) if name.eq_ignore_ascii_case(&self.name)) {
            return Err("its certificate is not for exactly the name");
        }
        let digest = digest::digest(&digest::SHA256, self.key_authorization.as_bytes());
        let expected = [&[0x04, 0x20], digest.as_ref()].concat();
        let is_identifier = |oid: &str| oid == "1.3.6.1.5.5.7.1.31";
        let mut found = certificate.extensions().iter().filter(|one| is_identifier(&one.oid.to_id_string()));
        match (found.next(), found.next()) {
            (Some(one), None) if !one.critical => Err("its acmeIdentifier is not critical"),
            (Some(one), None) if one.value == expected => Ok(()),
            (Some(_), None) => Err("its acmeIdentifier is not the digest of the key authorization"),
            _ => Err("its certificate has not one acmeIdentifier"),
        }
    }
}

fn config() -> &'static Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let provider = Arc::new(provider::default_provider());
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
        Arc::new(config)
    })
}

/// Nobody's authority is asked: the certificate itself is what is looked at. The other side must
/// have its key all the same.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 was not offered".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // The library reads no certificate with a critical extension that it does not know.
        let unreadable = |_| rustls::Error::General("the certificate cannot be read".into());
        let (_, read) = x509_parser::parse_x509_certificate(certificate).map_err(unreadable)?;
        let key = SubjectPublicKeyInfoDer::from(read.public_key().raw);
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
