//! Problem documents (RFC 7807) with the types of RFC 8555, 6.7.

use serde_json::{Value, json};

/// Why a request is refused, or what went wrong with a validation.
#[derive(Debug, Clone)]
pub struct Problem {
    pub status: u16,
    /// Without the common prefix.
    pub kind: &'static str,
    pub detail: String,
    /// Seconds that the client is asked to wait.
    pub retry_after: Option<u64>,
}

impl Problem {
    pub fn new(status: u16, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), retry_after: None }
    }

    /// The request is not what the protocol says.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(400, "malformed", detail)
    }

    /// It is somebody else's.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(403, "unauthorized", detail)
    }

    /// There are too many; come back after so many seconds.
    pub fn rate_limited(seconds: u64) -> Self {
        let detail = "too many certificates for this domain";
        Self { retry_after: Some(seconds), ..Self::new(429, "rateLimited", detail) }
    }

    pub fn json(&self) -> Value {
        let mut value = json!({
            "type": format!("urn:ietf:params:acme:error:{}", self.kind),
            "detail": self.detail,
            "status": self.status,
        });
        if self.kind == "badSignatureAlgorithm" {
            value["algorithms"] = json!(["ES256", "RS256", "EdDSA"]);
        }
        value
    }
}
