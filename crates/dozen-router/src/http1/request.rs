//! The head of a request, judged.
//!
//! The parser (httparse) knows the characters; what a head may say as a whole is decided here: one
//! valid Host, one way to read where the body ends, a target in a form that fits its method.

use std::mem::MaybeUninit;

use http::Method;

use super::{
    Framing, MAX_HEADERS,
    fields::{Field, FieldRange, Fields, Name, items, length},
};
use crate::host::HostName;

/// The longest method.
const MAX_METHOD: usize = 32;

/// Why a request is not served; the connection ends with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It breaks a rule: 400.
    Malformed,
    /// Its head has too many bytes or headers: 431.
    TooLarge,
    /// It is not HTTP/1.0 or 1.1: 505.
    Version,
    /// It expects something that nobody here can do: 417.
    Expectation,
    /// It asks for a tunnel: 405.
    Connect,
    /// Its head did not arrive in time: 408.
    Late,
    /// Its client has too many connections: 503.
    Crowded,
}

impl Refusal {
    /// All of them in their order, with their names.
    pub(crate) const ALL: [(Self, &str); 7] = [
        (Self::Malformed, "malformed"),
        (Self::TooLarge, "too_large"),
        (Self::Version, "version"),
        (Self::Expectation, "expectation"),
        (Self::Connect, "connect"),
        (Self::Late, "late"),
        (Self::Crowded, "crowded"),
    ];
}

/// The version that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
}

/// What a request's own connection is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Hop {
    /// `Connection: close`.
    pub(crate) close: bool,
    /// `Connection: keep-alive`.
    pub(crate) keep_alive: bool,
    /// `Connection: upgrade`.
    pub(crate) upgrade: bool,
    /// It names headers that end here.
    pub(crate) names_headers: bool,
    /// `Expect: 100-continue`.
    pub(crate) expects_continue: bool,
    /// `TE: trailers`.
    pub(crate) takes_trailers: bool,
}

/// A request's head, whichever version brought it.
#[derive(Debug)]
pub(crate) struct RequestHead<'a> {
    pub(crate) method: Method,
    /// In origin form, or `*`.
    pub(crate) target: &'a str,
    pub(crate) host: HostName,
    /// The host as it was written, with its port.
    pub(crate) host_text: &'a str,
    pub(crate) version: Version,
    pub(crate) framing: Framing,
    pub(crate) hop: Hop,
    pub(crate) fields: Fields<'a>,
}

/// Reads a whole head, which ends in its empty line and may have `most` headers. `ranges` is room
/// for the headers' places.
pub(crate) fn parse<'a>(
    head: &'a [u8],
    most: usize,
    ranges: &'a mut Vec<FieldRange>,
) -> Result<RequestHead<'a>, Refusal> {
    let mut few = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut many = vec![MaybeUninit::uninit(); if most > MAX_HEADERS { most } else { 0 }];
    let headers = if most > MAX_HEADERS { &mut many[..] } else { &mut few[..most] };
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, headers) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Err(httparse::Error::Version) => return Err(version_refusal(head)),
        _ => return Err(Refusal::Malformed),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Refusal::Malformed);
    };
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let method = Method::from_bytes(method.as_bytes()).ok().filter(|one| one.as_str().len() <= MAX_METHOD);
    let method = method.ok_or(Refusal::Malformed)?;
    ranges.clear();
    ranges.extend(request.headers.iter().map(|header| FieldRange::of(head, header)));
    let fields = Fields::new(head, ranges);
    let said = Said::by(fields, version)?;
    let (host_text, host) = said.host.ok_or(Refusal::Malformed)?;
    if method == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    let target = origin_form(target, &method, &host).ok_or(Refusal::Malformed)?;
    let framing =
        if said.is_chunked { Framing::Chunked } else { said.length.map_or(Framing::None, Framing::Length) };
    Ok(RequestHead { method, target, host, host_text, version, framing, hop: said.hop, fields })
}

/// Another version of HTTP, or something else altogether.
fn version_refusal(head: &[u8]) -> Refusal {
    let line = head.split(|byte| *byte == b'\r').find(|line| !line.is_empty()).unwrap_or_default();
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    match version {
        // The parser stopped at something else before it.
        b"HTTP/1.0" | b"HTTP/1.1" => Refusal::Malformed,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Refusal::Version,
        _ => Refusal::Malformed,
    }
}

/// What the headers say of the message itself.
#[derive(Default)]
struct Said<'a> {
    host: Option<(&'a str, HostName)>,
    length: Option<u64>,
    is_chunked: bool,
    hop: Hop,
}

impl<'a> Said<'a> {
    fn by(fields: Fields<'a>, version: Version) -> Result<Self, Refusal> {
        let mut said = Self::default();
        for Field { known, value, .. } in fields.iter() {
            match known {
                Name::Host => {
                    let text = std::str::from_utf8(value).map_err(|_| Refusal::Malformed)?;
                    let host = HostName::parse(value).ok_or(Refusal::Malformed)?;
                    if said.host.replace((text, host)).is_some() {
                        return Err(Refusal::Malformed);
                    }
                }
                Name::ContentLength => {
                    let length = length(value).ok_or(Refusal::Malformed)?;
                    if said.length.replace(length).is_some() {
                        return Err(Refusal::Malformed);
                    }
                }
                Name::TransferEncoding => {
                    let is_second = std::mem::replace(&mut said.is_chunked, true);
                    let is_known = value.eq_ignore_ascii_case(b"chunked") && version == Version::Http11;
                    if is_second || !is_known {
                        return Err(Refusal::Malformed);
                    }
                }
                Name::Connection => said.hop.connection(value),
                Name::Expect if version == Version::Http10 => {}
                Name::Expect if value.eq_ignore_ascii_case(b"100-continue") => {
                    said.hop.expects_continue = true
                }
                Name::Expect => return Err(Refusal::Expectation),
                Name::Te => said.hop.takes_trailers |= takes_trailers(value),
                _ => {}
            }
        }
        let is_clear = said.length.is_none() || !said.is_chunked;
        if is_clear { Ok(said) } else { Err(Refusal::Malformed) }
    }
}

impl Hop {
    fn connection(&mut self, value: &[u8]) {
        for item in items(value) {
            match item.to_ascii_lowercase().as_slice() {
                b"close" => self.close = true,
                b"keep-alive" => self.keep_alive = true,
                b"upgrade" => self.upgrade = true,
                b"te" => {}
                _ => self.names_headers = true,
            }
        }
    }
}

/// Whether a `TE` header lists `trailers`.
pub(crate) fn takes_trailers(value: &[u8]) -> bool {
    items(value).any(|item| item.eq_ignore_ascii_case(b"trailers"))
}

/// A target as an app gets it: `/path?query`, or `*` for OPTIONS. One that names a host must name
/// the one that the Host header does.
fn origin_form<'a>(target: &'a str, method: &Method, host: &HostName) -> Option<&'a str> {
    let is_plain = target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !is_plain {
        return None;
    }
    if target.starts_with('/') {
        return Some(target);
    }
    if target == "*" {
        return (method == Method::OPTIONS).then_some(target);
    }
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let named = HostName::parse(authority.as_bytes())?;
    if named.name() != host.name() {
        return None;
    }
    match path {
        "" if method == Method::OPTIONS => Some("*"),
        "" => Some("/"),
        path if path.starts_with('/') => Some(path),
        // `http://host?query`: a path is missing, and no app expects a target without one.
        _ => None,
    }
}

#[cfg(test)]
mod tests;
