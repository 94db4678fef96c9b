//! A certificate authority of the test's own, and clients that believe it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use dozen_model::certificates::{Certificate, PrivateKey};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tempfile::TempDir;

use crate::browser::Reply;

/// A certificate authority.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    /// A new certificate for these names; each has a serial number of its own.
    pub(crate) fn certificate(&self, names: &[&str]) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let text: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(text).unwrap();
        params.distinguished_name.push(DnType::CommonName, names[0]);
        let made = params.signed_by(&key, &self.issuer).unwrap();
        Certificate {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            chain: made.pem(),
            key: PrivateKey::new(key.serialize_pem()),
            is_local: false,
        }
    }

    /// The authority's own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A file for whatever a test keeps.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What clients of this library need, for these protocols.
    pub(crate) fn client_config(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// Runs curl, which believes this authority and takes every name for the router at `address`.
    pub(crate) fn curl(&self, address: SocketAddr, words: &[&str]) -> Output {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "30", "--noproxy", "*", "--cacert"]);
        command.arg(self.file()).arg("--connect-to").arg(format!("::{address}")).args(words);
        command.stdin(Stdio::null()).output().expect("curl is needed: install the package `curl`")
    }

    /// Runs `openssl s_client` against `address`; it sends `input`, and ends with the connection.
    pub(crate) fn openssl(&self, address: SocketAddr, input: &str, words: &[&str]) -> String {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address.to_string(), "-CAfile"]).arg(self.file());
        command.args(["-ign_eof"]).args(words);
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = started.expect("openssl is needed: install the package `openssl`");
        // It may be gone before it reads.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// The serial number of a certificate's leaf, as its bytes stand in it.
pub(crate) fn leaf(certificate: &Certificate) -> Vec<u8> {
    CertificateDer::from_pem_slice(certificate.chain.as_bytes()).unwrap().to_vec()
}

/// A connection over TLS that speaks HTTP/1.1.
pub(crate) struct TlsBrowser {
    pub(crate) stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl TlsBrowser {
    /// Connects and makes the handshake.
    pub(crate) fn connect(
        address: SocketAddr,
        name: &str,
        config: &Arc<ClientConfig>,
    ) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(Arc::clone(config), name).map_err(std::io::Error::other)?;
        let mut stream = stream;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Self { stream: BufReader::new(StreamOwned::new(session, stream)) })
    }

    /// The leaf that the router has shown.
    pub(crate) fn leaf(&self) -> Vec<u8> {
        self.stream.get_ref().conn.peer_certificates().unwrap()[0].to_vec()
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Reads an answer with a length.
    pub(crate) fn reply(&mut self) -> Option<Reply> {
        let mut reply = self.head()?;
        let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        reply.body = String::from_utf8(self.bytes(length)?).unwrap();
        Some(reply)
    }

    pub(crate) fn head(&mut self) -> Option<Reply> {
        let mut reply = Reply::default();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) => reply.headers.push((name.to_ascii_lowercase(), value.to_owned())),
                None if line.trim_end().is_empty() => return Some(reply),
                None => reply.status = line.split(' ').nth(1)?.parse().ok()?,
            }
        }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    pub(crate) fn get(&mut self, host: &str, path: &str) -> Option<Reply> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.reply()
    }
}
