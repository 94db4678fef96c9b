//! HTTP-01 (RFC 8555, 8.3): an ACME server asks a domain for what only its owner can put there.
//!
//! It asks in the clear, on port 80, and for a host that may be no app's yet. What is not one of the
//! open challenges is a path like any other: an app may answer challenges of its own.

use bytes::Bytes;
use http::Method;

use crate::certificates::Certificates;

const FOLDER: &str = "/.well-known/acme-challenge/";

/// Whether a path may be a challenge's, whoever answers it: those are asked for in the clear, on the
/// very host that they are about.
pub(crate) fn is_challenge(path: &str) -> bool {
    path.starts_with(FOLDER)
}

impl Certificates {
    /// The answer to a request in the clear, if it is for an open challenge.
    pub(crate) fn answer_to(&self, method: &Method, path: &str) -> Option<Bytes> {
        let token = path.strip_prefix(FOLDER)?;
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        is_read.then(|| self.index().http_challenge(token).cloned()).flatten()
    }
}
