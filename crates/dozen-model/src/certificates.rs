//! What the router shows to TLS clients, and how it answers those who check who owns a domain.
//!
//! Control makes a whole set at each change and numbers it; the router keeps the last one it was
//! given, on disk too, and swaps it in the running process. Where a certificate comes from (one's
//! own files, an ACME server, a local authority) is control's business alone.
//!
//! Start reading at [`CertificateSet`].

use std::fmt;

use serde::{Deserialize, Serialize};

/// All certificates and open challenges of a server at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateSet {
    /// Grows with each set; the router refuses one that is older than its own.
    pub generation: u64,
    /// The certificates. Of several that cover a name, an exact name comes before a wildcard, and
    /// among equals the first.
    pub certificates: Vec<Certificate>,
    /// Answers to HTTP-01 challenges (RFC 8555, 8.3), for any host.
    #[serde(default)]
    pub http_challenges: Vec<HttpChallenge>,
    /// Certificates for TLS-ALPN-01 challenges (RFC 8737): shown only to clients that offer
    /// `acme-tls/1` and nothing else.
    #[serde(default)]
    pub tls_challenges: Vec<Certificate>,
}

/// A certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The names it is shown for: `www.example.org`, or `*.example.org` for one label more.
    pub names: Vec<CertificateName>,
    /// The chain in PEM, the leaf first.
    pub chain: String,
    /// The leaf's private key.
    pub key: PrivateKey,
    /// Whether only those believe it who were told to trust this machine's own authority.
    #[serde(default)]
    pub is_local: bool,
}

/// The answer to one HTTP-01 challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpChallenge {
    /// The last part of `/.well-known/acme-challenge/TOKEN`.
    pub token: String,
    /// The key authorization, sent as the whole body.
    pub answer: String,
}

/// A private key in PEM (PKCS#8, PKCS#1 or SEC1). Its text is in no log: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrivateKey(String);

impl PrivateKey {
    /// Takes a key's PEM text.
    pub fn new(pem: impl Into<String>) -> Self {
        Self(pem.into())
    }

    /// The PEM text: for the store and the TLS library, never for a person.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(hidden)")
    }
}

/// A DNS name in a certificate, in lower case; the first label may be `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CertificateName(String);

/// Why a text is no [`CertificateName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a name for a certificate", .0.escape_default())]
pub struct CertificateNameError(String);

impl CertificateName {
    /// The name as it stands in a certificate.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part below which it covers all names with one label more; `None` for an exact name.
    pub fn wildcard_of(&self) -> Option<&str> {
        self.0.strip_prefix("*.")
    }

    /// Whether a client that asks for `host` (lower case, no final dot) may be shown it.
    pub fn covers(&self, host: &str) -> bool {
        match self.wildcard_of() {
            None => self.0 == host,
            Some(parent) => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
            }
        }
    }
}

impl std::str::FromStr for CertificateName {
    type Err = CertificateNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.to_ascii_lowercase();
        let plain = name.strip_prefix("*.").unwrap_or(&name);
        let is_label = |label: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=63).contains(&label.len())
                && label.bytes().all(is_plain)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let is_name = name.len() <= 253 && plain.split('.').all(is_label);
        if is_name { Ok(Self(name)) } else { Err(CertificateNameError(text.to_owned())) }
    }
}

impl TryFrom<String> for CertificateName {
    type Error = CertificateNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<CertificateName> for String {
    fn from(name: CertificateName) -> Self {
        name.0
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label_and_not_its_parent() {
        let name: CertificateName = "*.Example.org".parse().unwrap();
        assert_eq!(name.as_str(), "*.example.org");
        for (host, is_covered) in [
            ("a.example.org", true),
            ("example.org", false),
            ("a.b.example.org", false),
            (".example.org", false),
            ("a.example.com", false),
        ] {
            assert_eq!(name.covers(host), is_covered, "{host}");
        }
        let exact: CertificateName = "example.org".parse().unwrap();
        assert!(exact.covers("example.org") && !exact.covers("a.example.org"));
    }

    #[test]
    fn an_odd_name_is_refused() {
        for bad in
            ["", "*", "*.", "a..b", "a.*.b", "-a.org", "a-.org", "a b.org", "a/b", "1.2.3.4:80", "é.org"]
        {
            assert!(bad.parse::<CertificateName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = PrivateKey::new("-----BEGIN PRIVATE KEY-----");
        assert_eq!(format!("{key:?}"), "PrivateKey(hidden)");
    }
}
