//! The answers of a connection, read by the letter.

use super::upstream::{find, read_chunks};

/// One answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Its head, as it came.
    pub(crate) head: String,
    pub(crate) body: String,
    /// Whether all of it came.
    pub(crate) is_whole: bool,
}

/// Reads what a connection has answered to requests of these methods until it ended; 1xx answers
/// are left out. `Err` for what no client may be sent.
pub(crate) fn answers(mut bytes: &[u8], methods: &[&str]) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    let mut methods = methods.iter();
    while !bytes.is_empty() {
        let Some(end) = find(bytes, b"\r\n\r\n") else {
            return Err(format!("no answer: {:?}", String::from_utf8_lossy(bytes)));
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = read_status(&head)?;
        bytes = &bytes[end + 4..];
        let has_framing = !matches!(framing(&head)?, Framing::ToTheEnd);
        if has_framing && (status == 204 || (100..200).contains(&status)) {
            return Err(format!("a body that cannot be: {head:?}"));
        }
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let is_head = methods.next() == Some(&"HEAD");
        let (body, used, is_whole) = match framing(&head)? {
            _ if is_head || matches!(status, 101 | 204 | 304) => (Vec::new(), 0, true),
            Framing::Length(length) => {
                let have = length.min(bytes.len());
                (bytes[..have].to_vec(), have, have == length)
            }
            Framing::Chunked => match read_chunks(bytes)? {
                Some((body, used)) => (body, used, true),
                None => (bytes.to_vec(), bytes.len(), false),
            },
            Framing::ToTheEnd => (bytes.to_vec(), bytes.len(), true),
        };
        bytes = &bytes[used..];
        let body = String::from_utf8_lossy(&body).into_owned();
        answers.push(Answer { status, head, body, is_whole });
    }
    Ok(answers)
}

enum Framing {
    Length(usize),
    Chunked,
    ToTheEnd,
}

fn read_status(head: &str) -> Result<u16, String> {
    let first = head.split("\r\n").next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.1 ").or_else(|| first.strip_prefix("HTTP/1.0 "));
    let status =
        status.and_then(|rest| rest.get(..3)).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    status.and_then(|digits| digits.parse().ok()).ok_or_else(|| format!("a status line {first:?}"))
}

fn framing(head: &str) -> Result<Framing, String> {
    let mut found = Vec::new();
    for line in head.split("\r\n").skip(1) {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("a header {line:?}"))?;
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) || value.contains(['\r', '\n', '\0']) {
            return Err(format!("a header {line:?}"));
        }
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                found.push(Framing::Length(value.trim().parse().map_err(|_| format!("a header {line:?}"))?))
            }
            "transfer-encoding" if value.trim() == "chunked" => found.push(Framing::Chunked),
            "transfer-encoding" => return Err(format!("a header {line:?}")),
            _ => {}
        }
    }
    match found.len() {
        0 => Ok(Framing::ToTheEnd),
        1 => Ok(found.remove(0)),
        _ => Err(format!("two framings: {head:?}")),
    }
}
