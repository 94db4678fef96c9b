//! What travels of certificates. A key goes to the server and never back.

use dozen_model::{certificates::PrivateKey, names::Domain};
use serde::{Deserialize, Serialize};

/// `POST` [`super::paths::CERTIFICATES`]: a certificate of the user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddCertificate {
    /// The chain in PEM, the server's own certificate first.
    pub chain: String,
    /// Its key in PEM.
    pub key: PrivateKey,
}

/// `POST` [`super::paths::CERTIFICATES_ACME`]: one from the ACME server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmeDomain {
    /// A domain of an app.
    pub domain: Domain,
}

/// `POST` [`super::paths::CERTIFICATES_RENEW`]: certificates of the ACME server, now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewCertificates {
    /// A name that it is for, or its number; all without it.
    pub which: Option<String>,
}

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateEntry {
    /// Its number on this server.
    pub id: i64,
    /// `acme`, `file` or `local`.
    pub source: String,
    /// The names it is for.
    pub names: Vec<String>,
    /// How it stands.
    pub state: CertificateState,
    /// Unix seconds; absent while there is none.
    pub not_before: Option<i64>,
    /// Unix seconds; absent while there is none.
    pub not_after: Option<i64>,
    /// When it is tried for again, unix seconds.
    pub next_try: Option<i64>,
    /// Why the last try failed.
    pub error: Option<String>,
    /// Tries that failed since the last that did not.
    pub failures: u32,
    /// Tries that have ended, a good one with the first client that is shown its certificate.
    pub tries: u32,
}

/// How a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateState {
    /// It is valid.
    Valid,
    /// It was asked for and has not come yet.
    Pending,
    /// It is valid, but the last try to renew it failed.
    Failing,
    /// There is none: every try failed.
    Failed,
    /// Its time is over.
    Expired,
    /// It is not renewed: no app has its domain, or nobody asks for it any more.
    Resting,
}

/// The certificate that clients of a domain are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainCertificate {
    /// `acme`, `file` or `local`.
    pub source: String,
    /// How it stands.
    pub state: CertificateState,
    /// Unix seconds; absent while there is none.
    pub not_after: Option<i64>,
    /// Why the last try failed.
    pub error: Option<String>,
}

/// The authority of local names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalAuthority {
    /// Its certificate in PEM.
    pub certificate: String,
    /// The domain that it signs for, beside `localhost`.
    pub domain: String,
    /// Unix seconds.
    pub not_after: i64,
}
