//! What an HTTP/2 request must be, beyond what the frames already made sure of, and the same request
//! as an HTTP/1.1 head would say it.
//!
//! The `h2` crate has refused by then, each with a reset of its stream: unknown, missing, repeated
//! and late pseudo-headers, names with capitals, connection-specific headers, `te` other than
//! `trailers`, lengths that differ from each other or from the body.
//!
//! Start reading at [`as_http1`].

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri,
    header::{CONTENT_LENGTH, COOKIE, HOST},
};

use crate::{certificate_index::Shown, host::HostName};

/// The most fields that a request may have.
const MAX_FIELDS: usize = 100;

/// Why a request is answered at once, and with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It could be read in two ways, or in none.
    Malformed,
    /// It wants a tunnel.
    Connect,
    /// It has more fields than a request needs.
    TooManyFields,
    /// It is for a host that the connection's certificate does not cover: it may be meant for
    /// another server, and the client is to ask over a connection of its own.
    Misdirected,
}

impl Refused {
    /// The status to answer with.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
        }
    }
}

/// For which hosts a connection may be asked.
#[derive(Debug)]
pub(crate) struct Reach {
    /// The name that the client asked for in its handshake.
    pub(crate) asked_for: Option<String>,
    /// What it was shown.
    pub(crate) shown: Option<std::sync::Arc<Shown>>,
}

impl Reach {
    /// A client that named nobody was promised nothing; the name that it asked for is always fine.
    fn includes(&self, host: &str) -> bool {
        let Some(name) = &self.asked_for else { return true };
        name == host || self.shown.as_ref().is_some_and(|shown| shown.covers(host))
    }
}

/// Makes a request one with a single `Host`, a path for its target and one `Cookie` field.
pub(crate) fn as_http1<B>(mut request: Request<B>, reach: &Reach) -> Result<Request<B>, Refused> {
    if request.method() == Method::CONNECT {
        return Err(Refused::Connect);
    }
    let host = host(&request).ok_or(Refused::Malformed)?;
    let parsed = HostName::parse(host.as_bytes()).ok_or(Refused::Malformed)?;
    let target = target(&request).ok_or(Refused::Malformed)?;
    let headers = request.headers_mut();
    join_cookies(headers);
    if headers.len() > MAX_FIELDS {
        return Err(Refused::TooManyFields);
    }
    if !headers.values().all(is_trimmed) || headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err(Refused::Malformed);
    }
    if !reach.includes(parsed.name()) {
        return Err(Refused::Misdirected);
    }
    headers.insert(HOST, host);
    *request.uri_mut() = target;
    Ok(request)
}

/// The one host: `:authority`, a `host` field, or both when they say the same.
fn host<B>(request: &Request<B>) -> Option<HeaderValue> {
    let mut fields = request.headers().get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return None;
    }
    match (request.uri().authority(), field) {
        (None, field) => field.cloned(),
        (Some(authority), None) => HeaderValue::from_str(authority.as_str()).ok(),
        (Some(authority), Some(field)) => {
            let is_same = authority.as_str().as_bytes().eq_ignore_ascii_case(field.as_bytes());
            is_same.then(|| field.clone())
        }
    }
}

/// The path with its query, or `*` for OPTIONS.
fn target<B>(request: &Request<B>) -> Option<Uri> {
    // Without an authority the scheme is not kept.
    let is_http = request.uri().scheme_str().is_none_or(|scheme| matches!(scheme, "https" | "http"));
    let path = request.uri().path_and_query().filter(|_| is_http)?;
    let is_whole = path.as_str() == "*" && request.method() == Method::OPTIONS;
    (is_whole || path.as_str().starts_with('/')).then(|| path.clone().into())
}

/// Whether no space stands around a value, which a reader of HTTP/1.1 would take away.
fn is_trimmed(value: &HeaderValue) -> bool {
    value.as_bytes().trim_ascii().len() == value.len()
}

/// Clients split cookies so that they compress well (RFC 9113, 8.2.3); an app knows one field.
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(HeaderName::from_static("cookie"), joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, fields: &[(&'static str, &'static str)]) -> Request<()> {
        let mut request = Request::builder().uri(uri).body(()).unwrap();
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request
    }

    fn anybody() -> Reach {
        Reach { asked_for: None, shown: None }
    }

    #[test]
    fn authority_and_host_are_one() {
        let host = |uri, fields: &[(&'static str, &'static str)]| {
            as_http1(request(uri, fields), &anybody()).map(|request| {
                assert_eq!(request.uri(), "/x?y");
                request.headers()[HOST].to_str().unwrap().to_owned()
            })
        };
        assert_eq!(host("https://a.org:443/x?y", &[]).unwrap(), "a.org:443");
        assert_eq!(host("https://a.org/x?y", &[("host", "A.org")]).unwrap(), "A.org");
        assert_eq!(host("/x?y", &[("host", "a.org")]).unwrap(), "a.org");
        for (uri, fields) in [
            ("/x?y", &[][..]),
            ("https://a.org/x?y", &[("host", "b.org")]),
            ("https://a.org/x?y", &[("host", "a.org:443")]),
            ("https://a.org/x?y", &[("host", "a.org"), ("host", "a.org")]),
            ("https://user@a.org/x?y", &[]),
            ("ftp://a.org/x?y", &[]),
            ("https://a.org/x?y", &[("x", " y")]),
            ("https://a.org/x?y", &[("content-length", "1"), ("content-length", "1")]),
        ] {
            assert_eq!(host(uri, fields), Err(Refused::Malformed), "{uri} {fields:?}");
        }
    }

    #[test]
    fn cookies_are_joined_before_fields_are_counted() {
        let mut crumbs = request("https://a.org/", &[]);
        for _ in 0..150 {
            crumbs.headers_mut().append(COOKIE, HeaderValue::from_static("a=b"));
        }
        let joined = as_http1(crumbs, &anybody()).unwrap();
        assert_eq!(joined.headers().get_all(COOKIE).iter().count(), 1);
        assert_eq!(joined.headers()[COOKIE].len(), 150 * 5 - 2);
        let mut many = request("https://a.org/", &[]);
        for _ in 0..=MAX_FIELDS {
            many.headers_mut().append("x", HeaderValue::from_static("y"));
        }
        assert_eq!(as_http1(many, &anybody()).unwrap_err(), Refused::TooManyFields);
    }

    #[test]
    fn a_connection_reaches_what_it_was_opened_for() {
        let reach = Reach { asked_for: Some("a.org".into()), shown: None };
        assert!(as_http1(request("https://A.org/", &[]), &reach).is_ok());
        assert_eq!(as_http1(request("https://b.org/", &[]), &reach).unwrap_err(), Refused::Misdirected);
        let mut tunnel = request("https://a.org/", &[]);
        *tunnel.method_mut() = Method::CONNECT;
        assert_eq!(as_http1(tunnel, &reach).unwrap_err(), Refused::Connect);
    }
}
