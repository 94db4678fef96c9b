//! What the router shows at this moment, as it follows from the store.
//!
//! As with route tables, a set is a pure function of the store, so a restarted control gives the
//! router the same one again.

use dozen_model::certificates::{Certificate, CertificateSet, HttpChallenge, PrivateKey};
use serde::{Deserialize, Serialize};

use crate::{
    control::Control,
    error::ControlError,
    seal::{Owner, ServerSecret},
    store::{CertificateRow, CertificateSource, ChallengeRow, Issued, now},
};

/// The certificate that answers a TLS-ALPN-01 challenge.
#[derive(Serialize, Deserialize)]
pub(crate) struct TlsAnswer {
    pub(crate) chain: String,
    pub(crate) key: PrivateKey,
}

impl Control {
    /// Gives the router the certificates and challenges of this moment, and waits until it shows them.
    pub(crate) fn publish_certificates(&self) -> Result<(), ControlError> {
        self.router.publish_certificates(|| self.certificate_set(self.store.next_certificate_set()?))
    }

    fn certificate_set(&self, generation: u64) -> Result<CertificateSet, ControlError> {
        let now = now();
        let mut rows = self.store.certificates()?;
        // An expired one is shown only where there is nothing better: its message is the clearest.
        rows.sort_by_key(|row| (!row.is_valid_at(now), rank(row.source), -row.id));
        let (mut http_challenges, mut tls_challenges) = (Vec::new(), Vec::new());
        for row in self.store.challenges()? {
            let Some(answer) = self.told(self.challenge_answer(&row)) else { continue };
            if row.by_tls {
                let Ok(TlsAnswer { chain, key }) = serde_json::from_str(&answer) else { continue };
                tls_challenges.push(Certificate { names: vec![row.name], chain, key, is_local: false });
            } else {
                http_challenges.push(HttpChallenge { token: row.token, answer });
            }
        }
        Ok(CertificateSet {
            generation,
            certificates: rows.into_iter().filter_map(|row| self.shown(row)).collect(),
            http_challenges,
            tls_challenges,
        })
    }

    /// A row as the router takes it. One whose key does not open must not take all others with it.
    fn shown(&self, row: CertificateRow) -> Option<Certificate> {
        let issued = row.issued.as_ref()?;
        let key = self.told(self.certificate_key(row.id, issued))?;
        let is_local = row.source == CertificateSource::Local;
        Some(Certificate { chain: issued.chain.clone(), key, names: row.names, is_local })
    }

    /// The key of a certificate.
    pub(crate) fn certificate_key(&self, id: i64, issued: &Issued) -> Result<PrivateKey, ControlError> {
        self.unsealed(ServerSecret::CertificateKey(id), &issued.sealed_key).map(PrivateKey::new)
    }

    fn challenge_answer(&self, row: &ChallengeRow) -> Result<String, ControlError> {
        self.unsealed(ServerSecret::Challenge(row.certificate, &row.token), &row.sealed_answer)
    }

    /// Opens a secret of the server that is text.
    pub(crate) fn unsealed(&self, secret: ServerSecret<'_>, sealed: &[u8]) -> Result<String, ControlError> {
        let owner = Owner::of_server(secret);
        let bytes = self.key.unseal(&owner, sealed)?;
        String::from_utf8(bytes).map_err(|_| ControlError::Sealed { what: "a certificate".into() })
    }

    /// Seals a secret of the server.
    pub(crate) fn sealed(&self, secret: ServerSecret<'_>, text: &str) -> Vec<u8> {
        self.key.seal(&Owner::of_server(secret), text.as_bytes())
    }

    fn told<T>(&self, done: Result<T, ControlError>) -> Option<T> {
        done.inspect_err(|error| tracing::error!("a certificate is not shown: {}", error.body().message)).ok()
    }
}

/// What the user gave comes first, what nobody but this machine believes last.
fn rank(source: CertificateSource) -> u8 {
    match source {
        CertificateSource::File => 0,
        CertificateSource::Acme => 1,
        CertificateSource::Local => 2,
    }
}
