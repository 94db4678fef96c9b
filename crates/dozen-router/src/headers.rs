//! Which headers cross the router.
//!
//! Hop-by-hop headers end here, those we vouch for are overwritten, and whatever else speaks of the
//! client, or could be mistaken for a word of ours, goes too: an app believes its router. Framing (Content-Length, Transfer-Encoding) is decided by hyper from the typed
//! body, and a `Connection` header can never remove it.

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
        TRANSFER_ENCODING, UPGRADE,
    },
};

use crate::forwarded::{Origin, X_FORWARDED_FOR, X_FORWARDED_PORT, X_FORWARDED_PROTO};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// CGI-like servers turn it into HTTP_PROXY, which client libraries obey.
const PROXY: HeaderName = HeaderName::from_static("proxy");
/// Belongs to an upgrade to HTTP/2, which ends here.
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Never removed on the word of a `Connection` header.
const KEPT: [HeaderName; 3] = [CONTENT_LENGTH, HOST, TRANSFER_ENCODING];

/// Removes what concerns only one hop. `Trailer` stays: it announces what crosses.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .filter(|name| !KEPT.contains(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [
        KEEP_ALIVE,
        PROXY_CONNECTION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
        HTTP2_SETTINGS,
        PROXY_AUTHORIZATION,
        PROXY_AUTHENTICATE,
    ] {
        headers.remove(name);
    }
}

/// The protocol a request wants to change to, if it may: HTTP/1.1, no body, both headers, and one
/// protocol that is not HTTP again: behind `h2c` requests would pass unseen. Of several the app
/// would choose, so none is passed on.
pub(crate) fn wanted_upgrade<B>(request: &Request<B>) -> Option<HeaderValue> {
    let headers = request.headers();
    let protocol = only_protocol(headers)?;
    let has_body = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    let name = protocol.as_bytes().to_ascii_lowercase();
    let is_http = [&b"h2"[..], b"http", b"tls"].iter().any(|start| name.starts_with(start));
    let asks = has_token(headers, &CONNECTION, b"upgrade");
    (asks && !has_body && !is_http && request.version() == Version::HTTP_11).then(|| protocol.clone())
}

/// The one protocol that an `Upgrade` header names.
pub(crate) fn only_protocol(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(UPGRADE).iter();
    let is_one = |value: &&HeaderValue| {
        let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._/+".contains(byte);
        !value.is_empty() && value.as_bytes().iter().all(is_token)
    };
    values.next().filter(is_one).filter(|_| values.next().is_none())
}

/// Whether the headers of this name list `token`.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

/// Makes a client's headers those that the app gets.
pub(crate) fn to_app(
    headers: &mut HeaderMap,
    origin: &Origin,
    id: &HeaderValue,
    upgrade: Option<&HeaderValue>,
) {
    let takes_trailers = headers.contains_key(TE) && has_token(headers, &TE, b"trailers");
    strip_hop_by_hop(headers);
    strip_lookalikes(headers);
    // hyper answers `100-continue` itself, as soon as the app's connection takes the body.
    headers.remove(EXPECT);
    headers.remove(FORWARDED);
    headers.remove(PROXY);
    strip_words_about_the_client(headers);
    headers.insert(X_FORWARDED_FOR, origin.path.clone());
    headers
        .insert(X_FORWARDED_PROTO, HeaderValue::from_static(if origin.is_https { "https" } else { "http" }));
    headers.insert(X_FORWARDED_PORT, origin.port.clone());
    if let Some(host) = headers.get(HOST).cloned() {
        headers.insert(X_FORWARDED_HOST, host);
    }
    headers.insert(X_REQUEST_ID, id.clone());
    headers.insert(X_REQUEST_START, request_start());
    if takes_trailers {
        headers.insert(TE, TRAILERS);
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(UPGRADE, protocol.clone());
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// Whether a header is a proxy's word about its client, of ours or another maker's: Rack believes
/// `X-Forwarded-Ssl` before `X-Forwarded-Proto`, and gunicorn refuses requests in which the two differ.
fn is_about_the_client(name: &str) -> bool {
    const OTHERS: [&str; 6] =
        ["front-end-https", "x-client-ip", "x-cluster-client-ip", "x-real-ip", "x-scheme", "x-url-scheme"];
    name.starts_with("x-forwarded-") || OTHERS.contains(&name)
}

/// Removes what a client, or the proxy before us, says in a router's place. What a trusted proxy
/// says has been read by then, and is said again in our words.
fn strip_words_about_the_client(headers: &mut HeaderMap) {
    let is_one = |name: &&HeaderName| is_about_the_client(name.as_str());
    let names: Vec<HeaderName> = headers.keys().filter(is_one).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Removes names that differ from ours only in `_` for `-`: CGI-like servers (WSGI, Rack) fold
/// both into one variable, and a client could speak in our name.
fn strip_lookalikes(headers: &mut HeaderMap) {
    let is_ours = |name: &str| {
        let name = name.replace('_', "-");
        let framing = matches!(name.as_str(), "content-length" | "transfer-encoding" | "host" | "forwarded");
        // gunicorn takes these two from whoever connects from the same machine: from us.
        let place = matches!(name.as_str(), "script-name" | "path-info");
        framing || place || is_about_the_client(&name) || name.starts_with("x-request-")
    };
    if headers.keys().any(|name| memchr::memchr(b'_', name.as_str().as_bytes()).is_some()) {
        let alike = |name: &&HeaderName| name.as_str().contains('_') && is_ours(name.as_str());
        let names: Vec<HeaderName> = headers.keys().filter(alike).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
}

fn request_start() -> HeaderValue {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    HeaderValue::try_from(format!("t={}", now.as_millis())).expect("digits are a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_connection_header_cannot_remove_framing_or_host() {
        let mut headers = map(&[
            ("connection", "content-length, Host, x-private"),
            ("connection", "keep-alive"),
            ("content-length", "2"),
            ("host", "a"),
            ("x-private", "1"),
            ("keep-alive", "5"),
            ("trailer", "x-sum"),
        ]);
        strip_hop_by_hop(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "trailer"]);
    }

    #[test]
    fn names_that_an_app_could_take_for_ours_are_removed() {
        let mut headers = map(&[
            ("x_forwarded_for", "6.6.6.6"),
            ("x-request_id", "x"),
            ("content_length", "9"),
            ("x_real_ip", "6.6.6.6"),
            ("script_name", "/admin"),
            ("my_header", "kept"),
        ]);
        strip_lookalikes(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["my_header"]);
    }

    #[test]
    fn an_upgrade_needs_both_headers_no_body_and_not_h2c() {
        let wanted = |pairs: &[(&'static str, &'static str)], version| {
            let mut request = Request::new(());
            *request.headers_mut() = map(pairs);
            *request.version_mut() = version;
            wanted_upgrade(&request).is_some()
        };
        let ws = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
        assert!(wanted(&ws, Version::HTTP_11));
        assert!(!wanted(&ws, Version::HTTP_10));
        assert!(!wanted(&ws[1..], Version::HTTP_11));
        for other in ["h2c", "websocket, h2c", "websocket,", "HTTP/2.0", "TLS/1.0", ""] {
            assert!(!wanted(&[ws[0], ("upgrade", other)], Version::HTTP_11), "{other}");
        }
        assert!(!wanted(&[ws[0], ws[1], ("upgrade", "h2c")], Version::HTTP_11));
        assert!(!wanted(&[ws[0], ws[1], ("content-length", "2")], Version::HTTP_11));
    }
}
