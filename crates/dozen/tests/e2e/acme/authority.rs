//! The authority behind the server: a root, an intermediate that signs, and the server's own TLS.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer},
};

use super::{jws::Jwk, problem::Problem};

/// How long a certificate is valid, seen from the moment of its issue.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    pub before: Duration,
    pub after: Duration,
}

/// What was issued.
#[derive(Debug, Clone)]
pub struct Issued {
    pub der: Vec<u8>,
    pub chain: String,
    pub public_key: Vec<u8>,
}

/// A root and an intermediate.
pub struct Authority {
    pub root: String,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let root = CertifiedIssuer::self_signed(of_authority("test root", 1), key()).unwrap();
        let intermediate =
            CertifiedIssuer::signed_by(of_authority("test intermediate", 0), key(), &root).unwrap();
        Self { root: root.pem(), intermediate }
    }

    /// Signs a request for exactly these names.
    pub fn sign(&self, csr: &[u8], names: &[String], account: &Jwk, life: Life) -> Result<Issued, Problem> {
        let refused = |detail: String| Problem::new(400, "badCSR", detail);
        let csr = CertificateSigningRequestDer::from(csr);
        let request = CertificateSigningRequestParams::from_der(&csr)
            .map_err(|error| refused(format!("not a request that signs itself: {error}")))?;
        let mut asked = Vec::new();
        for name in &request.params.subject_alt_names {
            match name {
                SanType::DnsName(name) => asked.push(name.as_str().to_owned()),
                other => return Err(refused(format!("{other:?} is no DNS name"))),
            }
        }
        asked.sort();
        if asked != names {
            return Err(refused(format!("it is for {asked:?}, the order for {names:?}")));
        }
        for (kind, value) in request.params.distinguished_name.iter() {
            let is_name = names.iter().any(|name| format!("{value:?}").contains(&format!("{name:?}")));
            if *kind != DnType::CommonName || !is_name {
                return Err(refused(format!("{kind:?} in the subject")));
            }
        }
        if request.params.is_ca != IsCa::NoCa {
            return Err(refused("it asks for an authority".into()));
        }
        let public_key = request.public_key.der_bytes().to_vec();
        if account.is_public_key(&public_key) {
            return Err(refused("its key is the account's".into()));
        }
        let mut params = CertificateParams::new(asked).map_err(|error| refused(error.to_string()))?;
        params.distinguished_name = DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = SystemTime::now();
        (params.not_before, params.not_after) = ((now - life.before).into(), (now + life.after).into());
        let leaf = params.signed_by(&request.public_key, &self.intermediate).unwrap();
        let chain = format!("{}{}", leaf.pem(), self.intermediate.pem());
        Ok(Issued { der: leaf.der().to_vec(), chain, public_key })
    }
}

/// The server's own TLS for 127.0.0.1, and the authority that it is believed for.
pub fn own_tls() -> (Arc<ServerConfig>, String) {
    let root = CertifiedIssuer::self_signed(of_authority("root of the server's TLS", 0), key()).unwrap();
    let own = key();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&own, &root).unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivatePkcs8KeyDer::from(own.serialize_der()).into())
        .unwrap();
    (Arc::new(config), root.pem())
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn of_authority(name: &str, below: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.use_authority_key_identifier_extension = true;
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}
