//! A small TLS client that believes one authority and never retries: what it reports is what happened.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

/// What was answered, and who answered.
#[derive(Debug)]
pub struct Exchanged {
    pub text: String,
    /// The first certificate that was shown.
    pub certificate: Vec<u8>,
}

/// One request on a connection of its own, one answer to its end.
pub fn exchange(address: SocketAddr, name: &str, roots: &Path, request: &str) -> io::Result<Exchanged> {
    let mut believed = RootCertStore::empty();
    let root = CertificateDer::from_pem_file(roots).map_err(io::Error::other)?;
    believed.add(root).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(believed)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut stream = StreamOwned::new(session, stream);
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        // The end of the connection without a word of TLS: the length of the answer is looked at.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        read => drop(read?),
    }
    let shown = stream.conn.peer_certificates().and_then(|shown| shown.first());
    let certificate = shown.map(|shown| shown.to_vec()).unwrap_or_default();
    Ok(Exchanged { text: String::from_utf8_lossy(&bytes).into_owned(), certificate })
}

/// `GET` of the root.
pub fn get(port: u16, name: &str, roots: &Path) -> io::Result<Exchanged> {
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    exchange((Ipv4Addr::LOCALHOST, port).into(), name, roots, &request)
}
