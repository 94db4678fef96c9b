//! The Host header: exactly one, and exactly a name or an address.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A host as a request named it: in lower case, without port and final dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostName {
    name: String,
    is_address: bool,
    /// The port as written, with its colon, or nothing.
    port: String,
}

impl HostName {
    /// Reads `name`, `name:port`, `1.2.3.4:port` or `[::1]:port`.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() <= 261)?;
        let end = match text.strip_prefix('[') {
            Some(inner) => inner.find(']')? + 2,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at(end);
        if !is_port(port) {
            return None;
        }
        let port = port.to_owned();
        if let Some(inner) = host.strip_prefix('[') {
            inner.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?;
            return Some(Self { name: host.to_ascii_lowercase(), is_address: true, port });
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let is_name = !name.is_empty() && name.bytes().all(is_plain) && !name.split('.').any(str::is_empty);
        let is_address = name.parse::<Ipv4Addr>().is_ok();
        is_name.then_some(Self { name, is_address, port })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_address(&self) -> bool {
        self.is_address
    }

    /// The port as written, with its colon, or nothing.
    pub(crate) fn port(&self) -> &str {
        &self.port
    }
}

fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        None => text.is_empty(),
        Some(digits) => {
            digits.len() <= 5
                && digits.bytes().all(|b| b.is_ascii_digit())
                && (digits.is_empty() || digits.parse::<u16>().is_ok())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_loses_its_port_its_case_and_its_dot() {
        for (text, name, is_address) in [
            ("Blog.Example.org", "blog.example.org", false),
            ("blog.example.org:8080", "blog.example.org", false),
            ("blog.example.org.", "blog.example.org", false),
            ("localhost:1212", "localhost", false),
            ("127.0.0.1:1212", "127.0.0.1", true),
            ("[::1]:80", "[::1]", true),
        ] {
            let host = HostName::parse(text.as_bytes()).unwrap();
            assert_eq!((host.name(), host.is_address()), (name, is_address), "{text}");
        }
    }

    #[test]
    fn an_odd_host_is_refused() {
        for bad in [
            "", ":80", "a b", "a/b", "a@b", "a:b", "a:99999", "a:+1", "[::1", "[x]", "a..b", ".", "a,b", "é",
            "a%20", "[::1]x",
        ] {
            assert_eq!(HostName::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
