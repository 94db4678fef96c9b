//! Whose request it is: the peer's, or that of whom a trusted proxy speaks for.
//!
//! A proxy that is trusted appends the address it was asked from to what it was told. So the list
//! is read from its end: behind each trusted address stands who that one was asked by, and the
//! first address that is not trusted is the client. What stands further on was written by the
//! client and counts for nothing; the app does not get it either.
//!
//! `X-Forwarded-For` goes before `Forwarded` (RFC 7239): a proxy that knows only the former passes
//! the latter on as a client wrote it. Who trusts a proxy that speaks `Forwarded` has to see to it
//! that it removes `X-Forwarded-For`.
//!
//! Start reading at [`Origin::of`].

use std::net::{IpAddr, SocketAddr};

use dozen_model::address_range::AddressRange;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{FORWARDED, GetAll},
};

use crate::http1::fields::{Field, Fields, Name};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const HTTPS_PORT: HeaderValue = HeaderValue::from_static("443");

/// The most proxies between a client and us.
const MOST_HOPS: usize = 32;

/// The other end of a connection, the same for all of its requests.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// The same as a header and in the log.
    pub(crate) text: HeaderValue,
    /// The port it connected to.
    pub(crate) port: HeaderValue,
    /// Whether it is a proxy whose word about its own client counts.
    pub(crate) is_trusted: bool,
    /// Whether the connection itself is TLS.
    pub(crate) is_tls: bool,
}

/// Where a request comes from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The client.
    pub(crate) client: IpAddr,
    /// The same for the log.
    pub(crate) text: HeaderValue,
    /// `X-Forwarded-For` for the app: the client, then the trusted proxies in the order they were
    /// passed.
    pub(crate) path: HeaderValue,
    /// Whether the client spoke TLS, to us or to a trusted proxy.
    pub(crate) is_https: bool,
    /// The port the client connected to.
    pub(crate) port: HeaderValue,
}

impl Peer {
    /// The other end of a connection that was accepted at `local`.
    pub(crate) fn new(peer: SocketAddr, local: SocketAddr, is_tls: bool, trusted: &[AddressRange]) -> Self {
        let address = peer.ip().to_canonical();
        Self {
            address,
            text: as_header(address),
            port: HeaderValue::from(local.port()),
            is_trusted: is_in(trusted, address),
            is_tls,
        }
    }
}

impl Origin {
    /// Where a request comes from. Only a trusted peer's words are looked at.
    pub(crate) fn of_request(peer: &Peer, trusted: &[AddressRange], fields: Fields<'_>) -> Self {
        let mut told = HeaderMap::new();
        if peer.is_trusted {
            for Field { known, value, .. } in fields.iter() {
                let name = match known {
                    Name::Forwarded => FORWARDED,
                    Name::XForwardedFor => X_FORWARDED_FOR,
                    Name::XForwardedPort => X_FORWARDED_PORT,
                    Name::XForwardedProto => X_FORWARDED_PROTO,
                    _ => continue,
                };
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    told.append(name, value);
                }
            }
        }
        Self::of(peer, trusted, &told)
    }

    /// Where a request with these headers comes from.
    fn of(peer: &Peer, trusted: &[AddressRange], headers: &HeaderMap) -> Self {
        let own = Self {
            client: peer.address,
            text: peer.text.clone(),
            path: peer.text.clone(),
            is_https: peer.is_tls,
            port: peer.port.clone(),
        };
        if peer.is_trusted { own.told(trusted, &Told::by(headers)) } else { own }
    }

    /// The same with a trusted peer's word about it.
    fn told(self, trusted: &[AddressRange], told: &Told<'_>) -> Self {
        let (mut hops, mut proto) = (vec![self.client], None);
        for hop in told.hops.iter().take(MOST_HOPS) {
            let Some(address) = hop.address.map(|address| address.to_canonical()) else { break };
            hops.push(address);
            proto = hop.proto.clone().or(proto);
            if !is_in(trusted, address) {
                break;
            }
        }
        let proto = told.proto.map(<[u8]>::to_vec).or(proto);
        let is_https = proto.map_or(self.is_https, |proto| proto.eq_ignore_ascii_case(b"https"));
        let port = match told.port {
            Some(port) => port.clone(),
            None if is_https && !self.is_https => HTTPS_PORT,
            None => self.port,
        };
        let client = hops[hops.len() - 1];
        let path: Vec<String> = hops.iter().rev().map(IpAddr::to_string).collect();
        let path = HeaderValue::try_from(path.join(", ")).unwrap_or(self.path);
        Self { client, text: as_header(client), path, is_https, port }
    }
}

/// What a trusted peer says.
struct Told<'a> {
    /// Who asked, the nearest first.
    hops: Vec<Hop>,
    proto: Option<&'a [u8]>,
    port: Option<&'a HeaderValue>,
}

/// One step of a request on its way here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hop {
    /// Absent where it cannot be read or is not said.
    address: Option<IpAddr>,
    proto: Option<Vec<u8>>,
}

impl<'a> Told<'a> {
    fn by(headers: &'a HeaderMap) -> Self {
        let only = |name: &HeaderName| {
            let mut values = headers.get_all(name).iter();
            values.next().filter(|_| values.next().is_none())
        };
        let is_port = |value: &&HeaderValue| {
            (1..=5).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_digit)
        };
        let lists = headers.get_all(&X_FORWARDED_FOR);
        let hops = if headers.contains_key(&X_FORWARDED_FOR) {
            from_the_end(lists).map(|item| Hop { address: node(item), proto: None }).collect()
        } else if headers.contains_key(&X_FORWARDED_PROTO) {
            // It speaks the X- words, and had no client to name.
            Vec::new()
        } else {
            from_the_end(headers.get_all(FORWARDED)).map(element).collect()
        };
        Self {
            hops,
            proto: only(&X_FORWARDED_PROTO).map(HeaderValue::as_bytes),
            port: only(&X_FORWARDED_PORT).filter(is_port),
        }
    }
}

/// The items of a header's lists, the last one first.
fn from_the_end(values: GetAll<'_, HeaderValue>) -> impl Iterator<Item = &[u8]> {
    let lists: Vec<&[u8]> = values.iter().map(HeaderValue::as_bytes).collect();
    lists.into_iter().rev().flat_map(|list| split_from_the_end(list, b',')).take(MOST_HOPS)
}

/// The parts of `text` between separators that stand in no quotes, the last one first.
///
/// Quotes are counted from the end: what a client wrote, an open quote too, stands before what its
/// proxy appended and must not swallow it.
fn split_from_the_end(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let (mut parts, mut end, mut is_quoted) = (Vec::new(), text.len(), false);
    for at in (0..text.len()).rev() {
        let byte = text[at];
        if byte == b'"' {
            let escapes = text[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
            is_quoted ^= escapes % 2 == 0;
        } else if byte == separator && !is_quoted {
            parts.push(text[at + 1..end].trim_ascii());
            end = at;
        }
        if parts.len() > MOST_HOPS {
            return parts;
        }
    }
    parts.push(text[..end].trim_ascii());
    parts
}

/// One element of `Forwarded`: `for=192.0.2.1;proto=https;by=…`.
fn element(text: &[u8]) -> Hop {
    let mut hop = Hop::default();
    for pair in split_from_the_end(text, b';') {
        let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { return Hop::default() };
        let (name, value) = (&pair[..equals], &pair[equals + 1..]);
        let Some(value) = unquoted(value) else { return Hop::default() };
        if name.eq_ignore_ascii_case(b"for") {
            hop.address = node(&value);
        } else if name.eq_ignore_ascii_case(b"proto") {
            hop.proto = Some(value);
        }
    }
    hop
}

/// A token as it is, a quoted string without its quotes and escapes.
fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        return Some(value.to_vec()).filter(|value| !value.contains(&b'"'));
    };
    let mut inner = inner.strip_suffix(b"\"")?.iter();
    let mut out = Vec::new();
    while let Some(byte) = inner.next() {
        match byte {
            b'"' => return None,
            b'\\' => out.push(*inner.next()?),
            other => out.push(*other),
        }
    }
    Some(out)
}

/// An address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `::1`, `[::1]`, `[::1]:80`.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    text.parse().ok().map(|address: SocketAddr| address.ip()).or_else(bracketed)
}

fn is_in(ranges: &[AddressRange], address: IpAddr) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

fn as_header(address: IpAddr) -> HeaderValue {
    HeaderValue::try_from(address.to_string()).expect("an address is printable ASCII")
}

#[cfg(test)]
mod tests;
