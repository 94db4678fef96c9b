//! The head of an app's answer.
//!
//! An app's words are trusted less than they seem: two lengths, or a length beside chunks, are no
//! answer. Line ends are forgiven (the head is written anew), and so is a status without a reason.

use std::mem::MaybeUninit;

use http::StatusCode;

use super::{
    Framing, MAX_HEADERS, Malformed,
    fields::{Field, FieldRange, Fields, Name, items, length},
};

/// What an answer's head says of itself; its headers stand in the ranges that were filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    pub(crate) framing: Framing,
    /// The `Content-Length`, which an answer without a body may have as well.
    pub(crate) length: Option<u64>,
    /// Whether the connection can be used again afterwards.
    pub(crate) keeps_open: bool,
    /// It names headers that end here.
    pub(crate) names_headers: bool,
    pub(crate) has_date: bool,
}

/// Where a head ends in `bytes`, which begin with it; line ends may lack their CR.
pub(crate) fn end(bytes: &[u8], searched: &mut usize) -> Option<usize> {
    while let Some(found) = memchr::memchr(b'\n', &bytes[*searched..]) {
        let at = *searched + found;
        *searched = at + 1;
        let before = bytes[..at].strip_suffix(b"\r").unwrap_or(&bytes[..at]);
        if before.ends_with(b"\n") {
            return Some(at + 1);
        }
    }
    *searched = bytes.len();
    None
}

/// Reads a whole head. `is_head` says whether the request was HEAD, whose answers have no body.
pub(crate) fn parse(
    head: &[u8],
    is_head: bool,
    ranges: &mut Vec<FieldRange>,
) -> Result<ResponseHead, Malformed> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        head,
        &mut headers,
    );
    if !matches!(parsed, Ok(httparse::Status::Complete(length)) if length == head.len()) {
        return Err(Malformed);
    }
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed)?;
    let is_http_10 = response.version == Some(0);
    ranges.clear();
    ranges.extend(response.headers.iter().map(|header| FieldRange::of(head, header)));
    let said = Said::by(Fields::new(head, ranges))?;
    if said.is_chunked && (said.length.is_some() || is_http_10) {
        return Err(Malformed);
    }
    let has_no_body = is_head
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = match said.length {
        _ if has_no_body => Framing::None,
        _ if said.is_chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    let wants_open = if is_http_10 { said.keep_alive } else { true };
    Ok(ResponseHead {
        status,
        framing,
        length: said.length,
        keeps_open: wants_open && !said.close && framing != Framing::UntilClose,
        names_headers: said.names_headers,
        has_date: said.has_date,
    })
}

#[derive(Default)]
struct Said {
    length: Option<u64>,
    is_chunked: bool,
    close: bool,
    keep_alive: bool,
    names_headers: bool,
    has_date: bool,
}

impl Said {
    fn by(fields: Fields<'_>) -> Result<Self, Malformed> {
        let mut said = Self::default();
        for Field { known, value, .. } in fields.iter() {
            match known {
                Name::ContentLength => {
                    let length = length(value).ok_or(Malformed)?;
                    if said.length.replace(length).is_some_and(|other| other != length) {
                        return Err(Malformed);
                    }
                }
                Name::TransferEncoding => {
                    let is_second = std::mem::replace(&mut said.is_chunked, true);
                    if is_second || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Malformed);
                    }
                }
                Name::Connection => said.connection(value),
                Name::Date => said.has_date = true,
                _ => {}
            }
        }
        Ok(said)
    }

    fn connection(&mut self, value: &[u8]) {
        for item in items(value) {
            match item.to_ascii_lowercase().as_slice() {
                b"close" => self.close = true,
                b"keep-alive" => self.keep_alive = true,
                b"upgrade" => {}
                _ => self.names_headers = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(head: &str, is_head: bool) -> Result<(Framing, bool), Malformed> {
        parse(head.as_bytes(), is_head, &mut Vec::new()).map(|head| (head.framing, head.keeps_open))
    }

    #[test]
    fn an_answer_ends_where_its_head_says() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", (Framing::Length(5), true)),
            ("HTTP/1.1 200\nContent-Length: 5\nContent-Length: 5\n\n", (Framing::Length(5), true)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", (Framing::Chunked, true)),
            ("HTTP/1.1 200 OK\r\n\r\n", (Framing::UntilClose, false)),
            ("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", (Framing::None, true)),
            ("HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n", (Framing::None, true)),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", (Framing::Length(5), false)),
            (
                "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 5\r\n\r\n",
                (Framing::Length(5), true),
            ),
            (
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                (Framing::Length(0), false),
            ),
        ] {
            assert_eq!(judge(head, false), Ok(expected), "{head:?}");
        }
        assert_eq!(judge("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true), Ok((Framing::None, true)));
    }

    #[test]
    fn an_answer_that_could_be_read_in_two_ways_is_none() {
        for bad in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "hello\r\n\r\n",
        ] {
            assert_eq!(judge(bad, false), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn the_end_of_a_head_is_found_with_both_line_ends() {
        for (bytes, expected) in [
            ("a\r\n\r\nb", Some(5)),
            ("a\n\nb", Some(3)),
            ("a\n\r\nb", Some(4)),
            ("a\r\nb", None),
            ("", None),
        ] {
            assert_eq!(end(bytes.as_bytes(), &mut 0), expected, "{bytes:?}");
        }
    }
}
