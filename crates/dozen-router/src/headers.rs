//! Which headers cross the router, and the heads it writes.
//!
//! Hop-by-hop headers end here, those we vouch for are overwritten, and whatever else speaks of the
//! client, or could be mistaken for a word of ours, goes too: an app believes its router. A head is
//! written from what was understood of it: its framing comes from [`Framing`] alone, so a
//! `Connection` header can never remove it.

use std::time::UNIX_EPOCH;

use http::{HeaderName, StatusCode};

use crate::{
    exchange::Exchange,
    forwarded::Origin,
    http1::{
        Framing,
        fields::{Field, Fields, Name, items},
        request::{RequestHead, Version},
        response::ResponseHead,
    },
};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Whether a `Connection` header among these names this one.
pub(crate) fn is_named(fields: Fields<'_>, name: &[u8]) -> bool {
    let mut lists = fields.iter().filter(|field| field.known == Name::Connection);
    lists.any(|list| items(list.value).any(|item| item.eq_ignore_ascii_case(name)))
}

/// The protocol a request wants to change to, if it may: HTTP/1.1, no body, both headers, and one
/// protocol that is not HTTP again: behind `h2c` requests would pass unseen. Of several the app
/// would choose, so none is passed on.
pub(crate) fn wanted_upgrade(head: &RequestHead<'_>) -> Option<String> {
    if !head.hop.upgrade || head.version != Version::Http11 || head.framing != Framing::None {
        return None;
    }
    let protocol = head.fields.only(Name::Upgrade)?;
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._/+".contains(byte);
    let name = protocol.to_ascii_lowercase();
    let is_http = [&b"h2"[..], b"http", b"tls"].iter().any(|start| name.starts_with(start));
    let is_one = !protocol.is_empty() && protocol.iter().all(is_token) && !is_http;
    is_one.then(|| String::from_utf8_lossy(protocol).into_owned())
}

/// Writes the head that the app gets.
pub(crate) fn write_request(
    out: &mut Vec<u8>,
    head: &RequestHead<'_>,
    exchange: &Exchange,
    upgrade: Option<&str>,
) {
    for part in [head.method.as_str(), " ", head.target, " HTTP/1.1\r\nHost: ", head.host_text, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for Field { known, name, value } in head.fields.iter() {
        match known {
            Name::Accept | Name::Date | Name::IfNoneMatch | Name::Other => {
                let ends_here = head.hop.names_headers && is_named(head.fields, name);
                if !ends_here && !Name::is_lookalike(name) {
                    write_field(out, name, value);
                }
            }
            Name::Traceparent | Name::Tracestate if exchange.trace.is_passed() => {
                write_field(out, name, value)
            }
            _ => {}
        }
    }
    write_origin(out, head.host_text, &exchange.origin);
    write_framing(out, head.framing);
    exchange.trace.write(out);
    write_field(out, b"X-Request-ID", exchange.id.as_bytes());
    let now = exchange.at().duration_since(UNIX_EPOCH).unwrap_or_default();
    write_number(out, "X-Request-Start: t=", u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    if let Some(protocol) = upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        write_field(out, b"Upgrade", protocol.as_bytes());
    } else if head.hop.takes_trailers {
        out.extend_from_slice(b"Connection: te\r\nTE: trailers\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

const CONTENT_LENGTH: &str = "Content-Length: ";

/// A field whose value ends with a number.
fn write_number(out: &mut Vec<u8>, before: &str, number: u64) {
    for part in [before, itoa::Buffer::new().format(number), "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn write_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) => write_number(out, CONTENT_LENGTH, length),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::None | Framing::UntilClose => {}
    }
}

/// The word of the router: who the client is, and how it came.
fn write_origin(out: &mut Vec<u8>, host: &str, origin: &Origin) {
    let proto: &[u8] = if origin.is_https { b"https" } else { b"http" };
    for (name, value) in [
        (&b"X-Forwarded-For"[..], origin.path.as_bytes()),
        (b"X-Forwarded-Proto", proto),
        (b"X-Forwarded-Port", origin.port.as_bytes()),
        (b"X-Forwarded-Host", host.as_bytes()),
    ] {
        write_field(out, name, value);
    }
}

/// How an answer goes to a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery<'a> {
    pub(crate) version: Version,
    pub(crate) framing: Framing,
    /// The connection ends with it.
    pub(crate) closes: bool,
    pub(crate) id: &'a str,
    /// The time of day, for an answer without.
    pub(crate) date: &'a [u8],
    /// What the client is told about HTTPS, where the answer does not say it itself.
    pub(crate) hsts: Option<&'a [u8]>,
}

/// Writes the head of an app's answer. The protocol it changes to stands in `upgrade`.
pub(crate) fn write_response(
    out: &mut Vec<u8>,
    said: &ResponseHead,
    fields: Fields<'_>,
    delivery: &Delivery<'_>,
) {
    write_status(out, said.status);
    let is_upgrade = said.status == StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in for_client(said, fields) {
        write_field(out, name, value);
    }
    for Field { name, value, .. } in fields.iter().filter(|field| is_upgrade && field.known == Name::Upgrade)
    {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        write_field(out, name, value);
    }
    match (delivery.framing, said.length) {
        // What a GET would have brought, or what a cached answer has.
        (Framing::None, Some(length)) if says_length_without_body(said.status) => {
            write_number(out, CONTENT_LENGTH, length);
        }
        (framing, _) => write_framing(out, framing),
    }
    if !said.has_date && !is_upgrade {
        write_field(out, b"Date", delivery.date);
    }
    if !is_upgrade {
        write_connection(out, delivery);
    }
    if let Some(hsts) = delivery.hsts.filter(|_| !is_upgrade) {
        let name = b"Strict-Transport-Security";
        if !fields.iter().any(|field| field.name.eq_ignore_ascii_case(name)) {
            write_field(out, name, hsts);
        }
    }
    write_field(out, b"X-Request-ID", delivery.id.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The headers of an app's answer that concern its client, but for those that frame it.
pub(crate) fn for_client<'a>(
    said: &ResponseHead,
    fields: Fields<'a>,
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let names_headers = said.names_headers;
    let passes =
        move |one: &Field<'a>| passes_to_client(one.known) && !(names_headers && is_named(fields, one.name));
    fields.iter().filter(passes).map(|one| (one.name, one.value))
}

/// Whether a header of an app's answer concerns the client.
pub(crate) fn passes_to_client(known: Name) -> bool {
    !matches!(
        known,
        Name::Connection
            | Name::ContentLength
            | Name::OneHop
            | Name::RequestId
            | Name::Te
            | Name::TransferEncoding
            | Name::Upgrade
    )
}

fn says_length_without_body(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT
}

/// Writes the head of an answer of our own.
pub(crate) fn write_own(
    out: &mut Vec<u8>,
    status: StatusCode,
    headers: &http::HeaderMap,
    length: u64,
    delivery: &Delivery<'_>,
) {
    write_status(out, status);
    for (name, value) in headers {
        write_field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    if status != StatusCode::NOT_MODIFIED {
        write_number(out, CONTENT_LENGTH, length);
    }
    write_field(out, b"Date", delivery.date);
    write_connection(out, delivery);
    out.extend_from_slice(b"\r\n");
}

fn write_status(out: &mut Vec<u8>, status: StatusCode) {
    for part in ["HTTP/1.1 ", status.as_str(), " ", status.canonical_reason().unwrap_or(""), "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn write_connection(out: &mut Vec<u8>, delivery: &Delivery<'_>) {
    if delivery.closes {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if delivery.version == Version::Http10 {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
}

/// Writes the trailers that may cross: none that frames, routes or speaks in our name.
pub(crate) fn write_trailers(out: &mut Vec<u8>, trailers: &[u8]) {
    for line in trailers.split_inclusive(|byte| *byte == b'\n') {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if Name::of(name) == Name::Other && !Name::is_lookalike(name) && !is_about_access(name) {
            out.extend_from_slice(line);
        }
    }
}

/// What must be known before a body is read (RFC 9110, 6.5.1).
fn is_about_access(name: &[u8]) -> bool {
    [
        "authorization",
        "cookie",
        "set-cookie",
        "content-type",
        "content-encoding",
        "content-range",
        "trailer",
        "cache-control",
    ]
    .iter()
    .any(|one| name.eq_ignore_ascii_case(one.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_that_frame_or_vouch_do_not_cross() {
        let mut out = Vec::new();
        let trailers = b"X-Sum: 1\r\nContent-Length: 5\r\nHost: b\r\nX-Forwarded-For: x\r\nx_real_ip: y\r\nCookie: z\r\nEnd: 2\r\n";
        write_trailers(&mut out, trailers);
        assert_eq!(out, b"X-Sum: 1\r\nEnd: 2\r\n");
    }
}
