//! The certificates of one set, found by name without looking at more than two entries.
//!
//! A set is taken whole or not at all: a key that cannot be read, or that is not its certificate's,
//! refuses it and leaves the one in use. Whether a certificate is valid in time and trusted by
//! somebody is not asked: control and the clients do.
//!
//! Start reading at [`CertificateIndex::find`].

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use dozen_model::certificates::{Certificate, CertificateName, CertificateSet};
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

/// Why a certificate of a set cannot be shown. No variant holds a part of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The chain's PEM text.
    #[error("the chain of the certificate for `{0}` is not PEM, or holds no certificate")]
    Chain(String),
    /// The key's PEM text, or its kind.
    #[error(
        "the key of the certificate for `{0}` cannot be used: it takes an ECDSA, Ed25519 or RSA key in PEM"
    )]
    Key(String),
    /// They do not belong together.
    #[error("the key is not the one of the certificate for `{0}`")]
    OtherKey(String),
}

/// A certificate as handshakes show it.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) key: Arc<CertifiedKey>,
    names: Vec<CertificateName>,
    /// Only those believe it who trust this machine's own authority.
    pub(crate) is_local: bool,
}

impl Shown {
    /// Whether a client that was shown it may ask for `host`, in lower case and without a final dot.
    pub(crate) fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| name.covers(host))
    }
}

/// The index of one set.
#[derive(Debug, Default)]
pub(crate) struct CertificateIndex {
    pub(crate) generation: u64,
    /// In the set's order.
    all: Vec<Arc<Shown>>,
    exact: HashMap<String, Arc<Shown>>,
    /// By the part behind `*.`.
    wildcard: HashMap<String, Arc<Shown>>,
    /// For TLS-ALPN-01.
    challenges: HashMap<String, Arc<CertifiedKey>>,
    /// For HTTP-01: token to answer.
    answers: HashMap<String, Bytes>,
}

impl CertificateIndex {
    /// Reads all certificates of a set.
    pub(crate) fn of(set: CertificateSet) -> Result<Self, CertificateError> {
        let mut index = Self { generation: set.generation, ..Self::default() };
        for certificate in set.certificates {
            let key = read(&certificate, Use::Shown)?;
            let shown = Arc::new(Shown { key, names: certificate.names, is_local: certificate.is_local });
            for name in &shown.names {
                let (map, part) = match name.wildcard_of() {
                    None => (&mut index.exact, name.as_str()),
                    Some(parent) => (&mut index.wildcard, parent),
                };
                map.entry(part.to_owned()).or_insert_with(|| Arc::clone(&shown));
            }
            index.all.push(shown);
        }
        for certificate in set.tls_challenges {
            let key = read(&certificate, Use::Challenge)?;
            let names = certificate.names.into_iter().map(|name| (name.into(), Arc::clone(&key)));
            index.challenges.extend(names);
        }
        let answers = set.http_challenges.into_iter();
        index.answers = answers.map(|challenge| (challenge.token, challenge.answer.into())).collect();
        Ok(index)
    }

    /// The certificate for a name (lower case, no final dot): its own before a wildcard's.
    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Shown>> {
        self.exact.get(name).or_else(|| self.wildcard.get(name.split_once('.')?.1))
    }

    /// The certificate of the server at `host`, or else the one of what lies below it.
    pub(crate) fn find_at_or_below(&self, host: &str) -> Option<&Arc<Shown>> {
        self.find(host).or_else(|| self.wildcard.get(host))
    }

    /// The certificate that proves to an ACME server who answers for a name.
    pub(crate) fn tls_challenge(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        self.challenges.get(name)
    }

    /// The answer that proves the same over HTTP.
    pub(crate) fn http_challenge(&self, token: &str) -> Option<&Bytes> {
        self.answers.get(token)
    }

    /// How many certificates there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Clients look at it.
    Shown,
    /// An ACME server looks at it. It has a critical extension that the TLS library does not know,
    /// and so cannot be read by that.
    Challenge,
}

fn read(certificate: &Certificate, what_for: Use) -> Result<Arc<CertifiedKey>, CertificateError> {
    let name = || certificate.names.first().map_or_else(|| "no name".to_owned(), ToString::to_string);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect();
    let chain =
        chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| CertificateError::Chain(name()))?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key.expose().as_bytes()).ok();
    let key =
        key.and_then(|key| any_supported_type(&key).ok()).ok_or_else(|| CertificateError::Key(name()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::OtherKey(name())),
        Err(rustls::Error::InvalidCertificate(_)) if what_for == Use::Challenge => Ok(Arc::new(certified)),
        Err(_) => Err(CertificateError::Chain(name())),
    }
}

#[cfg(test)]
mod tests;
