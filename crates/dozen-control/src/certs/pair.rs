//! A chain and its key, as somebody hands them to us: read, and looked at before they are shown.
//!
//! The text is hostile: it comes from files that a user names and from ACME servers. Nothing of a
//! key is ever in an error.
//!
//! Start reading at [`Pair::read`].

use dozen_model::{
    certificates::{CertificateName, PrivateKey},
    hint::Hint,
};
use rustls::{
    InconsistentKeys,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

/// The longest text of a chain or a key.
pub(crate) const LONGEST_PEM: usize = 256 << 10;
/// More certificates than any chain has.
const LONGEST_CHAIN: usize = 10;

/// Why a chain and a key are not taken.
///
/// No variant holds anything of the key.
#[derive(Debug, thiserror::Error)]
pub enum PairFault {
    /// Not PEM, or not of a certificate.
    #[error("the chain is not readable as certificates in PEM: {0}")]
    Chain(String),
    /// There is nothing in it.
    #[error("the chain has no certificate in it")]
    NoCertificate,
    /// The order is wrong, or one is missing.
    #[error("certificate {at} of the chain was not issued by the one after it")]
    ChainOrder {
        /// Counted from one.
        at: usize,
    },
    /// It names nothing that a browser could ask for.
    #[error(
        "the first certificate of the chain is for no DNS name (it has none as a subject alternative name)"
    )]
    NoNames,
    /// Too late.
    #[error("the certificate ended on {0}")]
    Expired(String),
    /// Too early.
    #[error("the certificate is not valid before {0}")]
    NotYetValid(String),
    /// It has a pass phrase.
    #[error("the key is encrypted with a pass phrase")]
    EncryptedKey,
    /// Not PEM, or of no kind that TLS knows.
    #[error("the key is not readable as a private key in PEM")]
    Key,
    /// It belongs to another certificate.
    #[error("the key is not the one of the first certificate of the chain")]
    AnotherKey,
    /// Longer than any.
    #[error("the chain or the key has more than {} KiB", LONGEST_PEM >> 10)]
    TooLong,
}

impl Hint for PairFault {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::EncryptedKey => {
                "decrypt it first: `openssl pkey -in key.pem -out plain.pem`; dozen keeps it encrypted with its \
                 own key"
            }
            Self::ChainOrder { .. } | Self::NoCertificate => {
                "put the server's own certificate first, and after each one the certificate that issued it"
            }
            Self::Chain(_) => "give the chain as PEM, `-----BEGIN CERTIFICATE-----` and so on",
            Self::Key => "give a key as PEM: PKCS#8, PKCS#1 (RSA) or SEC1 (EC)",
            Self::Expired(_) => "get a new one from whoever issued it",
            Self::NotYetValid(_) => "look at the clock of the server, or add it again once it is valid",
            _ => return None,
        };
        Some(text.into())
    }
}

/// A chain with the key of its first certificate.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    /// The names of the first certificate.
    pub(crate) names: Vec<CertificateName>,
    /// The chain in PEM.
    pub(crate) chain: String,
    /// The key in PEM.
    pub(crate) key: PrivateKey,
    /// Unix seconds.
    pub(crate) not_before: i64,
    /// Unix seconds.
    pub(crate) not_after: i64,
}

impl Pair {
    /// Reads a chain and its key, and looks that they belong together.
    ///
    /// # Errors
    /// [`PairFault`]; whether it is valid at this time is another question ([`Pair::valid_at`]).
    pub(crate) fn read(chain: &str, key: &PrivateKey) -> Result<Self, PairFault> {
        if chain.len() > LONGEST_PEM || key.expose().len() > LONGEST_PEM {
            return Err(PairFault::TooLong);
        }
        let certificates = certificates(chain)?;
        let leaf = &certificates[0];
        let parsed = certificates.iter().map(parsed).collect::<Result<Vec<_>, _>>()?;
        for (at, pair) in parsed.windows(2).enumerate() {
            if pair[0].issuer().as_raw() != pair[1].subject().as_raw() {
                return Err(PairFault::ChainOrder { at: at + 1 });
            }
        }
        let names = dns_names(&parsed[0]);
        if names.is_empty() {
            return Err(PairFault::NoNames);
        }
        let validity = parsed[0].validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        belongs_to(key, leaf)?;
        Ok(Self { names, chain: plain(&certificates), key: key.clone(), not_before, not_after })
    }

    /// The same, if it is valid now.
    pub(crate) fn valid_at(self, now: i64) -> Result<Self, PairFault> {
        if self.not_after <= now {
            return Err(PairFault::Expired(day(self.not_after)));
        }
        if now < self.not_before {
            return Err(PairFault::NotYetValid(day(self.not_before)));
        }
        Ok(self)
    }
}

/// A moment as a person reads it.
pub(crate) fn day(unix_seconds: i64) -> String {
    jiff::Timestamp::from_second(unix_seconds).map_or_else(|_| unix_seconds.to_string(), |at| at.to_string())
}

fn certificates(chain: &str) -> Result<Vec<CertificateDer<'static>>, PairFault> {
    let found = CertificateDer::pem_slice_iter(chain.as_bytes())
        .take(LONGEST_CHAIN)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| PairFault::Chain(error.to_string()))?;
    if found.is_empty() { Err(PairFault::NoCertificate) } else { Ok(found) }
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, PairFault> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(PairFault::Chain("there is more behind a certificate".into())),
        Err(error) => Err(PairFault::Chain(error.to_string())),
    }
}

/// The names that a client can ask for; an address or an odd name is none of them.
fn dns_names(certificate: &X509Certificate<'_>) -> Vec<CertificateName> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => name.parse().ok(),
        _ => None,
    });
    let mut names: Vec<CertificateName> = dns.collect();
    names.sort();
    names.dedup();
    names
}

fn belongs_to(key: &PrivateKey, leaf: &CertificateDer<'static>) -> Result<(), PairFault> {
    let text = key.expose();
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(PairFault::EncryptedKey);
    }
    let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| PairFault::Key)?;
    let signing = aws_lc_rs::sign::any_supported_type(&der).map_err(|_| PairFault::Key)?;
    match CertifiedKey::new(vec![leaf.clone()], signing).keys_match() {
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(PairFault::AnotherKey),
        Err(error @ rustls::Error::InvalidCertificate(_)) => Err(PairFault::Chain(error.to_string())),
        _ => Ok(()),
    }
}

/// The chain without what else was in the text: comments, and a key that was put beside it.
fn plain(certificates: &[CertificateDer<'_>]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(certificate);
        for line in encoded.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// A certificate of these names, signed by itself, valid around now.
    fn made(names: &[&str]) -> (String, PrivateKey) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), PrivateKey::new(key.serialize_pem()))
    }

    #[test]
    fn the_names_of_a_certificate_are_its_dns_names() {
        let (chain, key) = made(&["*.Example.org", "example.org", "127.0.0.1"]);
        let pair = Pair::read(&format!("a comment\n{chain}{}", key.expose()), &key).unwrap();
        let names: Vec<&str> = pair.names.iter().map(CertificateName::as_str).collect();
        assert_eq!(names, ["*.example.org", "example.org"]);
        assert_eq!(pair.chain.trim(), chain.replace("\r\n", "\n").trim(), "the key beside it is not kept");
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let (chain, key) = made(&["a.example.org"]);
        let (other_chain, other_key) = made(&["a.example.org"]);
        let fault = |chain: &str, key: &PrivateKey| Pair::read(chain, key).unwrap_err().to_string();
        assert!(fault(&chain, &other_key).contains("not the one"));
        assert!(fault("", &key).contains("no certificate"));
        assert!(
            fault("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key).contains("PEM")
        );
        assert!(fault(&chain, &PrivateKey::new("hunter2")).contains("not readable as a private key"));
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(fault(&chain, &PrivateKey::new(encrypted)).contains("encrypted"));
        // Both have the same empty issuer, so only another name shows the order.
        let issued = {
            let mut params = CertificateParams::new(vec!["b.example.org".to_owned()]).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, "b");
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
        };
        assert!(fault(&format!("{chain}{issued}"), &key).contains("certificate 1"));
        assert!(Pair::read(&format!("{chain}{other_chain}"), &key).is_ok());
        assert!(matches!(Pair::read(&made(&["127.0.0.1"]).0, &key), Err(PairFault::NoNames)));
    }

    #[test]
    fn a_certificate_out_of_its_time_is_refused() {
        let (chain, key) = made(&["a.example.org"]);
        let pair = Pair::read(&chain, &key).unwrap();
        assert!(matches!(pair.clone().valid_at(pair.not_after), Err(PairFault::Expired(_))));
        assert!(matches!(pair.clone().valid_at(pair.not_before - 1), Err(PairFault::NotYetValid(_))));
        assert!(pair.clone().valid_at(pair.not_before).is_ok());
    }
}
