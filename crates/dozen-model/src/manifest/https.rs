//! How an app wants its visitors to come by HTTPS.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whether requests in the clear are sent to HTTPS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpsRedirect {
    /// Where the router itself answers HTTPS for the host: it listens for it and has a certificate.
    #[default]
    Auto,
    /// Always: also where something before the router answers HTTPS.
    Redirect,
    /// Never.
    Off,
}

/// HTTP Strict Transport Security (RFC 6797): browsers that have seen it ask by HTTPS alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hsts {
    /// For how long; zero makes browsers forget it.
    pub max_age: Duration,
    /// Whether it holds for all hosts below, too.
    #[serde(default)]
    pub include_subdomains: bool,
    /// Whether browsers may be delivered with it.
    #[serde(default)]
    pub preload: bool,
}

impl Hsts {
    /// The longest time: ten years.
    pub const LONGEST: Duration = Duration::from_secs(3650 * 86_400);
    /// The shortest with which browsers take a host into their lists.
    pub const SHORTEST_PRELOAD: Duration = Duration::from_secs(365 * 86_400);

    /// The header's value.
    pub fn value(&self) -> String {
        let subdomains = if self.include_subdomains { "; includeSubDomains" } else { "" };
        let preload = if self.preload { "; preload" } else { "" };
        format!("max-age={}{subdomains}{preload}", self.max_age.as_secs())
    }
}
