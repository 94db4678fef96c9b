//! What a client would rather have: a page, or JSON (RFC 9110, 12.5.1).
//!
//! Of the ranges that fit a kind the most exact counts, with its weight. Browsers name HTML, programs
//! JSON; who names neither, or both alike, gets HTML.
//!
//! Start reading at [`prefers_json`].

use std::cmp::Ordering;

use memchr::{memchr2, memmem};

use crate::http1::fields::items;

/// How a list of ranges fits a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    /// 0 nothing, 1 `*/*`, 2 `text/*`, 3 the kind itself.
    exactness: u8,
    /// In thousandths.
    weight: u16,
}

/// Whether the value of an `Accept` header asks for JSON before HTML.
pub(crate) fn prefers_json(accept: &[u8]) -> bool {
    // Most clients do not name it: they are not to pay for those that do.
    if memchr2(b'j', b'J', accept).is_none() && memmem::find(accept, b"application/*").is_none() {
        return false;
    }
    let (mut json, mut html) = (Fit::default(), Fit::default());
    for range in items(accept) {
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let Some(weight) = weight(parts) else { continue };
        let fit = |exactness| Fit { exactness, weight };
        match kind.as_slice() {
            b"*/*" => (json, html) = (json.max(fit(1)), html.max(fit(1))),
            b"application/*" => json = json.max(fit(2)),
            b"text/*" => html = html.max(fit(2)),
            b"text/html" | b"application/xhtml+xml" => html = html.max(fit(3)),
            kind if kind.starts_with(b"application/") && is_json(kind) => json = json.max(fit(3)),
            _ => {}
        }
    }
    match json.weight.cmp(&html.weight) {
        Ordering::Greater => true,
        Ordering::Equal => json.weight > 0 && json.exactness > html.exactness,
        Ordering::Less => false,
    }
}

fn is_json(kind: &[u8]) -> bool {
    kind.ends_with(b"/json") || kind.ends_with(b"+json")
}

/// The weight among a range's parameters; `None` when it is none.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a [u8]>) -> Option<u16> {
    let is_weight = |part: &&[u8]| matches!(part, [b'q' | b'Q', b'=', ..]);
    let Some(part) = parameters.find(is_weight) else { return Some(1000) };
    let (whole, digits) = match &part[2..] {
        [whole] => (whole, &[][..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    if !is_digit(whole) || !digits.iter().all(is_digit) {
        return None;
    }
    let digit = |index: usize| digits.get(index).map_or(0, |byte| u16::from(byte - b'0'));
    let weight = u16::from(whole - b'0') * 1000 + digit(0) * 100 + digit(1) * 10 + digit(2);
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_for_who_asks_for_it_before_html() {
        for (accept, is_json) in [
            ("application/json", true),
            ("application/problem+json", true),
            ("APPLICATION/JSON;charset=utf-8", true),
            ("application/json, text/plain, */*", true),
            ("application/*", true),
            ("text/html;q=0.5, application/json", true),
            ("text/html;q=0.899, application/json;q=0.9", true),
            ("text/html;q=0, */*, application/json;q=0.001", true),
            ("application/json;q=0.9, text/html", false),
            ("text/html, application/json", false),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false),
            ("application/json;q=0", false),
            ("application/json;q=0.5, */*;q=0.8", false),
            ("application/json;q=2", false),
            ("application/json;q=x", false),
            ("application/json;q=0.1234", false),
            ("text/json-ish", false),
            ("*/*", false),
            ("json", false),
            ("", false),
        ] {
            assert_eq!(prefers_json(accept.as_bytes()), is_json, "{accept}");
        }
    }
}
