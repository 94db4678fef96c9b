//! The trace that a request belongs to (W3C Trace Context).
//!
//! A client's `traceparent` that can be read is passed on as it came, with its `tracestate`, whoever
//! the client is: the router adds no span of its own, so there is nothing to change in it, and a
//! trace id opens no door. Any other one is replaced, and where there is none one is made, so that
//! each request has a trace id in the log and at the app.
//!
//! One that is made says "sampled": an app that follows its parent, as they do by default, would
//! record nothing at all behind a parent that says otherwise.

use crate::request_id::RequestIds;

/// The length of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// The trace of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace {
    /// 32 hexadecimal digits.
    id: [u8; 32],
    /// The span that it begins with, where it was made here.
    made: Option<[u8; 16]>,
}

impl Trace {
    /// The trace that a client's `traceparent` names.
    pub(crate) fn passed(traceparent: &[u8]) -> Option<Self> {
        Some(Self { id: read(traceparent)?, made: None })
    }

    /// A new one; `id` is 32 digits that nothing else has, if there are such.
    pub(crate) fn made(id: Option<[u8; 32]>, ids: &RequestIds) -> Self {
        Self { id: id.unwrap_or_else(|| ids.digits()), made: Some(ids.half()) }
    }

    /// Its id.
    pub(crate) fn id(&self) -> &str {
        // Digits, both where it was read and where it was made.
        std::str::from_utf8(&self.id).unwrap_or_default()
    }

    /// Whether the client's headers are passed on.
    pub(crate) fn is_passed(&self) -> bool {
        self.made.is_none()
    }

    /// Writes the header of a trace that was made.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if let Some(span) = &self.made {
            for part in [&b"traceparent: 00-"[..], &self.id, b"-", span, b"-01\r\n"] {
                out.extend_from_slice(part);
            }
        }
    }
}

/// The trace id of a `traceparent` that is as the specification says, of version 00 or of a later
/// one, which begins like it.
fn read(value: &[u8]) -> Option<[u8; 32]> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let (known, rest) = value.split_at_checked(LENGTH)?;
    let (version, id, span) = (&known[..2], &known[3..35], &known[36..52]);
    let is_later = version != b"00";
    let is_whole = [2, 35, 52].iter().all(|dash| known[*dash] == b'-')
        && [version, id, span, &known[53..]].iter().all(|part| part.iter().all(is_digit));
    let may_follow = rest.is_empty() || (is_later && rest[0] == b'-');
    let is_some = |part: &[u8]| part.iter().any(|digit| *digit != b'0');
    let is_valid = is_whole && version != b"ff" && may_follow && is_some(id) && is_some(span);
    is_valid.then(|| id.try_into().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_traceparent_is_read_strictly_and_later_versions_by_what_they_begin_with() {
        let span = "00f067aa0ba902b7";
        let passed = |value: &str| Trace::passed(value.as_bytes()).map(|trace| trace.id().to_owned());
        for good in [
            format!("00-{ID}-{span}-01"),
            format!("00-{ID}-{span}-00"),
            format!("00-{ID}-{span}-ff"),
            format!("cc-{ID}-{span}-01"),
            format!("01-{ID}-{span}-01-what-the-future-will-be"),
        ] {
            assert_eq!(passed(&good).as_deref(), Some(ID), "{good}");
        }
        for bad in [
            String::new(),
            format!("00-{ID}-{span}"),
            format!("00-{ID}-{span}-1"),
            format!("00-{ID}-{span}-01-"),
            format!("00-{ID}-{span}-01-more"),
            format!("01-{ID}-{span}-01.more"),
            format!("ff-{ID}-{span}-01"),
            format!("0-{ID}-{span}-001"),
            format!("00-{}-{span}-01", ID.to_uppercase()),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{ID}-{}-01", "0".repeat(16)),
            format!("00-{ID}-{span}-0g"),
            format!("00_{ID}-{span}-01"),
            format!("00-{ID}-{span}-01, 00-{ID}-{span}-01"),
        ] {
            assert_eq!(passed(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_made_trace_is_one_that_can_be_read() {
        let ids = RequestIds::new().unwrap();
        for trace in [Trace::made(None, &ids), Trace::made(ID.as_bytes().try_into().ok(), &ids)] {
            let mut line = Vec::new();
            trace.write(&mut line);
            let value = line.strip_prefix(b"traceparent: ").unwrap().strip_suffix(b"\r\n").unwrap();
            let read = Trace::passed(value).unwrap();
            assert_eq!((read.id(), read.is_passed()), (trace.id(), true));
            read.write(&mut line);
            assert_eq!(
                line.iter().filter(|byte| **byte == b'\n').count(),
                1,
                "what passes is not written twice"
            );
        }
    }
}
