//! The headers of a message: where they stand in its head, and which ones we know.

/// Where one header stands in the bytes of its head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FieldRange {
    known: Name,
    name: (u32, u32),
    value: (u32, u32),
}

/// One header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) known: Name,
    pub(crate) name: &'a [u8],
    /// Without the space around it.
    pub(crate) value: &'a [u8],
}

impl FieldRange {
    /// The place of a header that was parsed out of `head`.
    pub(crate) fn of(head: &[u8], header: &httparse::Header<'_>) -> Self {
        let place = |part: &[u8]| {
            let start = (part.as_ptr() as usize).saturating_sub(head.as_ptr() as usize);
            // A head has at most 64 KiB.
            (start as u32, (start + part.len()) as u32)
        };
        let name = header.name.as_bytes();
        Self { known: Name::of(name), name: place(name), value: place(header.value) }
    }
}

/// The headers of one message: its head, and where they stand in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    head: &'a [u8],
    ranges: &'a [FieldRange],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(head: &'a [u8], ranges: &'a [FieldRange]) -> Self {
        Self { head, ranges }
    }

    /// The headers in their order.
    pub(crate) fn iter(self) -> impl Iterator<Item = Field<'a>> {
        let part = move |(start, end): (u32, u32)| &self.head[start as usize..end as usize];
        self.ranges.iter().map(move |&FieldRange { known, name, value }| Field {
            known,
            name: part(name),
            value: part(value).trim_ascii(),
        })
    }

    /// The value of the only header of this name.
    pub(crate) fn only(self, name: Name) -> Option<&'a [u8]> {
        let mut fields = self.iter().filter(|field| field.known == name);
        fields.next().filter(|_| fields.next().is_none()).map(|field| field.value)
    }
}

/// The headers that the router has an opinion on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Accept,
    Connection,
    ContentLength,
    Date,
    Expect,
    Forwarded,
    Host,
    IfNoneMatch,
    /// Concerns one hop only, and nothing is read from it.
    OneHop,
    /// CGI-like servers turn it into HTTP_PROXY, which client libraries obey.
    Proxy,
    RequestId,
    RequestStart,
    Te,
    Traceparent,
    Tracestate,
    TransferEncoding,
    Upgrade,
    XForwardedFor,
    XForwardedPort,
    XForwardedProto,
    /// A proxy's word about its client, of ours or another maker's: Rack believes `X-Forwarded-Ssl`
    /// before `X-Forwarded-Proto`, and gunicorn refuses requests in which the two differ.
    AboutClient,
    Other,
}

const FORWARDED: &[u8] = b"x-forwarded-";

impl Name {
    /// Which one `name` is, in whatever case.
    pub(crate) fn of(name: &[u8]) -> Self {
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        match name.len() {
            2 if is("te") => Self::Te,
            4 if is("host") => Self::Host,
            4 if is("date") => Self::Date,
            5 if is("proxy") => Self::Proxy,
            6 if is("accept") => Self::Accept,
            6 if is("expect") => Self::Expect,
            7 if is("upgrade") => Self::Upgrade,
            8 if is("x-scheme") => Self::AboutClient,
            9 if is("forwarded") => Self::Forwarded,
            9 if is("x-real-ip") => Self::AboutClient,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::OneHop,
            10 if is("tracestate") => Self::Tracestate,
            11 if is("traceparent") => Self::Traceparent,
            11 if is("x-client-ip") => Self::AboutClient,
            12 if is("x-request-id") => Self::RequestId,
            12 if is("x-url-scheme") => Self::AboutClient,
            13 if is("if-none-match") => Self::IfNoneMatch,
            14 if is("content-length") => Self::ContentLength,
            14 if is("http2-settings") => Self::OneHop,
            15 if is("front-end-https") => Self::AboutClient,
            15 if is("x-request-start") => Self::RequestStart,
            15 if is("x-forwarded-for") => Self::XForwardedFor,
            16 if is("x-forwarded-port") => Self::XForwardedPort,
            16 if is("proxy-connection") => Self::OneHop,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            17 if is("x-forwarded-proto") => Self::XForwardedProto,
            18 if is("proxy-authenticate") => Self::OneHop,
            19 if is("proxy-authorization") => Self::OneHop,
            19 if is("x-cluster-client-ip") => Self::AboutClient,
            12.. if name[..FORWARDED.len()].eq_ignore_ascii_case(FORWARDED) => Self::AboutClient,
            _ => Self::Other,
        }
    }

    /// Whether a header differs from one of ours only in `_` for `-`: CGI-like servers (WSGI, Rack)
    /// fold both into one variable, and a client could speak in our name.
    pub(crate) fn is_lookalike(name: &[u8]) -> bool {
        if memchr::memchr(b'_', name).is_none() {
            return false;
        }
        let folded = String::from_utf8_lossy(name).to_ascii_lowercase().replace('_', "-");
        match Self::of(folded.as_bytes()) {
            Self::ContentLength
            | Self::TransferEncoding
            | Self::Host
            | Self::Forwarded
            | Self::XForwardedFor
            | Self::XForwardedPort
            | Self::XForwardedProto
            | Self::AboutClient => true,
            // gunicorn takes these two from whoever connects from the same machine: from us.
            _ => matches!(folded.as_str(), "script-name" | "path-info") || folded.starts_with("x-request-"),
        }
    }
}

/// The items of a comma-separated value, without the space around them.
pub(crate) fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|item| !item.is_empty())
}

/// A whole `Content-Length`: digits alone.
pub(crate) fn length(value: &[u8]) -> Option<u64> {
    let is_number = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    is_number.then(|| value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_whatever_case() {
        for (name, known) in [
            ("Host", Name::Host),
            ("TRANSFER-encoding", Name::TransferEncoding),
            ("X-Forwarded-For", Name::XForwardedFor),
            ("x-forwarded-anything", Name::AboutClient),
            ("x-forwarde", Name::Other),
            ("X-Real-IP", Name::AboutClient),
            ("", Name::Other),
            ("content_length", Name::Other),
        ] {
            assert_eq!(Name::of(name.as_bytes()), known, "{name}");
        }
    }

    #[test]
    fn names_that_an_app_could_take_for_ours_are_lookalikes() {
        for ours in
            ["x_forwarded_for", "x-request_id", "content_length", "X_Real_IP", "script_name", "X_Request_Foo"]
        {
            assert!(Name::is_lookalike(ours.as_bytes()), "{ours}");
        }
        for other in ["my_header", "x-request-id", "script-name", "_"] {
            assert!(!Name::is_lookalike(other.as_bytes()), "{other}");
        }
    }
}
