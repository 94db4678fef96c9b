//! One probe: the bytes of a client, and what may become of them.

/// What ends every probe's bytes: a request that is served if, and only if, the connection lives on.
pub(crate) const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n";
const LAST_SEEN: &str = "GET /last";

/// What became of a connection's bytes: the statuses of its answers without 1xx, and the requests
/// that the app got whole, each as `METHOD target[ framing body]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) statuses: Vec<u16>,
    pub(crate) seen: Vec<String>,
}

/// A probe.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Without [`LAST`].
    pub(crate) bytes: Vec<u8>,
    /// Any of these is right.
    pub(crate) right: Vec<Verdict>,
    /// What the app must not get, in lower case.
    pub(crate) never: Vec<&'static str>,
    /// What the app must get, in lower case.
    pub(crate) always: Vec<&'static str>,
}

impl Case {
    fn new(name: impl Into<String>, bytes: Vec<u8>, verdict: Verdict) -> Self {
        let right = vec![verdict];
        Self { name: name.into(), bytes, right, never: Vec::new(), always: Vec::new() }
    }

    /// Answered by 400 alone, and nothing of it or behind it reaches the app.
    pub(crate) fn refused(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self::new(name, bytes, Verdict { statuses: vec![400], seen: Vec::new() })
    }

    /// Refused as above, with another status.
    pub(crate) fn refused_by(status: u16, name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self::new(name, bytes, Verdict { statuses: vec![status], seen: Vec::new() })
    }

    /// Refused as above behind requests that are served.
    pub(crate) fn refused_after(name: impl Into<String>, bytes: Vec<u8>, seen: &[&str]) -> Self {
        let mut statuses = vec![200; seen.len()];
        statuses.push(400);
        Self::new(name, bytes, Verdict { statuses, seen: owned(seen) })
    }

    /// Served, and the connection goes on.
    pub(crate) fn served(name: impl Into<String>, bytes: Vec<u8>, seen: &[&str]) -> Self {
        let (statuses, mut seen) = (vec![200; seen.len() + 1], owned(seen));
        seen.push(LAST_SEEN.to_owned());
        Self::new(name, bytes, Verdict { statuses, seen })
    }

    /// Served, and the connection ends.
    pub(crate) fn served_last(name: impl Into<String>, bytes: Vec<u8>, seen: &[&str]) -> Self {
        Self::new(name, bytes, Verdict { statuses: vec![200; seen.len()], seen: owned(seen) })
    }

    /// Another answer that is right as well: refused with this status.
    pub(crate) fn or_refused_by(mut self, status: u16) -> Self {
        self.right.push(Verdict { statuses: vec![status], seen: Vec::new() });
        self
    }

    /// Another answer that is right as well: served.
    pub(crate) fn or_served(mut self, seen: &[&str]) -> Self {
        self.right.append(&mut Self::served("", Vec::new(), seen).right);
        self
    }

    /// These answers and requests, and nothing else.
    pub(crate) fn with_statuses(mut self, statuses: &[u16], seen: &[&str]) -> Self {
        self.right = vec![Verdict { statuses: statuses.to_vec(), seen: owned(seen) }];
        self
    }

    pub(crate) fn never(mut self, texts: &[&'static str]) -> Self {
        self.never.extend(texts);
        self
    }

    pub(crate) fn always(mut self, texts: &[&'static str]) -> Self {
        self.always.extend(texts);
        self
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A `POST` with these header lines, parted by CRLF, and what follows its head.
pub(crate) fn with(headers: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Vec<u8> {
    let start: &[u8] = b"POST / HTTP/1.1\r\nHost: one.test\r\n";
    [start, headers.as_ref(), b"\r\n\r\n", body.as_ref()].concat()
}

/// A `GET` with these header lines.
pub(crate) fn get(headers: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nHost: one.test\r\n", headers.as_ref(), b"\r\n\r\n"].concat()
}

/// A request with this first line.
pub(crate) fn line(line: impl AsRef<[u8]>) -> Vec<u8> {
    [line.as_ref(), b"\r\nHost: one.test\r\n\r\n"].concat()
}

/// A `POST` with a chunked body that is written like this. The app may get the start of a request
/// that says so, and nothing more, when its body turns out to break a rule.
pub(crate) fn chunked(body: impl AsRef<[u8]>) -> Vec<u8> {
    with(format!("{MAY_BREAK}: 1\r\nTransfer-Encoding: chunked"), body)
}

/// See [`chunked`].
pub(crate) const MAY_BREAK: &str = "x-may-break";
