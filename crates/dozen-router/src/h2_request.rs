//! What an HTTP/2 request must be, beyond what the frames already made sure of, and the same request
//! as the head that an HTTP/1.1 client would send: from there on it is judged like any other.
//!
//! The `h2` crate has refused by then, each with a reset of its stream: unknown, missing, repeated
//! and late pseudo-headers, names with capitals, connection-specific headers, `te` other than
//! `trailers`, lengths that differ from each other or from the body.
//!
//! Start reading at [`write_head`].

use std::sync::Arc;

use http::{
    HeaderValue, Method, Request,
    header::{CONTENT_LENGTH, COOKIE, HOST},
};
use hyper::body::Body;

use crate::{certificate_index::Shown, http1::request::Refusal};

/// For which hosts a connection may be asked.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// The name that the client asked for in its handshake.
    pub(crate) asked_for: Option<String>,
    /// What it was shown.
    pub(crate) shown: Option<Arc<Shown>>,
}

impl Reach {
    /// Whether the connection is for `host` too. A client that named nobody was promised nothing, and
    /// the name that it asked for is always fine.
    pub(crate) fn includes(&self, host: &str) -> bool {
        let Some(name) = &self.asked_for else { return true };
        name == host || self.shown.as_ref().is_some_and(|shown| shown.covers(host))
    }
}

/// Writes a request's head with a single `Host`, one `Cookie` and its framing.
pub(crate) fn write_head<B: Body>(request: &Request<B>) -> Result<Vec<u8>, Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    let host = host(request).ok_or(Refusal::Malformed)?;
    let target = target(request).ok_or(Refusal::Malformed)?;
    let mut out = Vec::with_capacity(1 << 10);
    for part in [request.method().as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    field(&mut out, b"host", host);
    for (name, value) in request.headers() {
        if !is_trimmed(value) {
            return Err(Refusal::Malformed);
        }
        if name != HOST && name != COOKIE {
            field(&mut out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    // Clients split cookies so that they compress well (RFC 9113, 8.2.3); an app knows one field.
    let crumbs: Vec<&[u8]> = request.headers().get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if !crumbs.is_empty() {
        field(&mut out, b"cookie", &crumbs.join(&b"; "[..]));
    }
    if !request.body().is_end_stream() && !request.headers().contains_key(CONTENT_LENGTH) {
        field(&mut out, b"transfer-encoding", b"chunked");
    }
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// The one host: `:authority`, a `host` field, or both when they say the same.
fn host<B>(request: &Request<B>) -> Option<&[u8]> {
    let mut fields = request.headers().get_all(HOST).iter().map(HeaderValue::as_bytes);
    let field = fields.next();
    if fields.next().is_some() {
        return None;
    }
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    match (authority, field) {
        (Some(authority), Some(field)) => authority.eq_ignore_ascii_case(field).then_some(field),
        (one, other) => one.or(other),
    }
}

/// The path with its query, or `*`. Without an authority the scheme is not kept.
fn target<B>(request: &Request<B>) -> Option<&str> {
    let is_http = request.uri().scheme_str().is_none_or(|scheme| matches!(scheme, "https" | "http"));
    let path = request.uri().path_and_query()?.as_str();
    (is_http && (path.starts_with('/') || path == "*")).then_some(path)
}

/// Whether no space stands around a value, which a reader of HTTP/1.1 would take away.
fn is_trimmed(value: &HeaderValue) -> bool {
    value.as_bytes().trim_ascii().len() == value.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{Empty, Full};

    use super::*;

    type Given<'a> = &'a [(&'static str, &'static str)];

    fn request<B>(uri: &str, fields: Given<'_>, body: B) -> Request<B> {
        let mut request = Request::builder().uri(uri).body(body).unwrap();
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request
    }

    fn head(uri: &str, fields: Given<'_>) -> Result<String, Refusal> {
        let head = write_head(&request(uri, fields, Empty::<Bytes>::new()))?;
        Ok(String::from_utf8(head).unwrap())
    }

    #[test]
    fn authority_and_host_are_one() {
        let line = |host| Ok(format!("GET /x?y HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        assert_eq!(head("https://a.org:443/x?y", &[]), line("a.org:443"));
        assert_eq!(head("https://a.org/x?y", &[("host", "A.org")]), line("A.org"));
        assert_eq!(head("/x?y", &[("host", "a.org")]), line("a.org"));
        let bad: &[(&str, Given<'_>)] = &[
            ("/x?y", &[]),
            ("https://a.org/x?y", &[("host", "b.org")]),
            ("https://a.org/x?y", &[("host", "a.org:443")]),
            ("https://a.org/x?y", &[("host", "a.org"), ("host", "a.org")]),
            ("ftp://a.org/x?y", &[]),
            ("https://a.org/x?y", &[("x", " y")]),
        ];
        for (uri, fields) in bad {
            assert_eq!(head(uri, fields), Err(Refusal::Malformed), "{uri} {fields:?}");
        }
    }

    #[test]
    fn cookies_are_joined_and_bodies_are_framed() {
        let crumbs = head("https://a.org/", &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]);
        assert_eq!(crumbs.unwrap(), "GET / HTTP/1.1\r\nhost: a.org\r\nx: y\r\ncookie: a=1; b=2\r\n\r\n");
        let framed = |fields| {
            let head = write_head(&request("https://a.org/", fields, Full::new(Bytes::from("hi")))).unwrap();
            String::from_utf8(head).unwrap().lines().nth(2).unwrap().to_owned()
        };
        assert_eq!(framed(&[]), "transfer-encoding: chunked");
        assert_eq!(framed(&[("content-length", "2")]), "content-length: 2");
    }

    #[test]
    fn a_connection_reaches_what_it_was_opened_for() {
        let reach = Reach { asked_for: Some("a.org".into()), shown: None };
        assert!(reach.includes("a.org") && !reach.includes("b.org"));
        assert!(Reach::default().includes("b.org"));
        let mut tunnel = request("https://a.org/", &[], Empty::<Bytes>::new());
        *tunnel.method_mut() = Method::CONNECT;
        assert_eq!(write_head(&tunnel), Err(Refusal::Connect));
    }
}
