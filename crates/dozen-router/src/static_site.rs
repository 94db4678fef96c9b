//! Static sites: requests answered with files, by the router itself.
//!
//! Names that begin with a dot are not part of a site (`.well-known` is). A layer never changes,
//! so a layer's path and a file's path name its content: that is the entity tag.

use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

use dozen_model::{digest::Digest, route_table::StaticSite};
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{CONTENT_TYPE, ETAG, LOCATION, X_CONTENT_TYPE_OPTIONS},
};

use crate::{
    answer::{self, OwnAnswer, OwnBody},
    content_type,
    exchange::Exchange,
    h_code::HCode,
    http1::fields::items,
    static_file::{Entry, FileBody, find},
    telling::Telling,
};

/// What went wrong with files.
static UNREADABLE: Telling = Telling::new();

/// Answers with the file that the request's path names.
pub(crate) fn answer(site: &StaticSite, exchange: Box<Exchange>) -> OwnAnswer {
    if !matches!(exchange.method, Method::GET | Method::HEAD) {
        return answer::read_only(exchange);
    }
    let outcome = match decode(exchange.path()) {
        None => page_for_missing(site),
        Some(path) => look_up(site, &path, exchange.path().ends_with('/')),
    };
    match outcome {
        Ok(Outcome::Found(file)) => file.respond(StatusCode::OK, exchange),
        Ok(Outcome::Missing(Some(file))) => file.respond(StatusCode::NOT_FOUND, exchange),
        Ok(Outcome::Missing(None)) => answer::not_found(exchange),
        Ok(Outcome::NeedsSlash) => redirect_to_folder(exchange),
        Err(error) => {
            if let Some(untold) = UNREADABLE.turn() {
                tracing::error!(%error, untold, "a static file cannot be read");
            }
            answer::failure(StatusCode::INTERNAL_SERVER_ERROR, HCode::ServerInterrupted, exchange)
        }
    }
}

enum Outcome {
    Found(SiteFile),
    /// With the site's own page for it.
    Missing(Option<SiteFile>),
    NeedsSlash,
}

struct SiteFile {
    body: FileBody,
    tag: HeaderValue,
    kind: HeaderValue,
}

fn look_up(site: &StaticSite, path: &Path, ends_in_slash: bool) -> std::io::Result<Outcome> {
    let below = clean(&site.root).join(path);
    match find(&site.layers, or_dot(&below))? {
        Entry::File(file, layer) if !ends_in_slash => {
            Ok(Outcome::Found(SiteFile::new(file, &layer, &below)?))
        }
        Entry::Folder => {
            let index = below.join("index.html");
            match find(&site.layers, &index)? {
                Entry::File(..) if !ends_in_slash => Ok(Outcome::NeedsSlash),
                Entry::File(file, layer) => Ok(Outcome::Found(SiteFile::new(file, &layer, &index)?)),
                _ => page_for_missing(site),
            }
        }
        _ => page_for_missing(site),
    }
}

fn page_for_missing(site: &StaticSite) -> std::io::Result<Outcome> {
    let name = site.not_found.as_deref().unwrap_or(Path::new("404.html"));
    let path = clean(&site.root).join(clean(name));
    Ok(Outcome::Missing(match find(&site.layers, &path)? {
        Entry::File(file, layer) => Some(SiteFile::new(file, &layer, &path)?),
        _ => None,
    }))
}

/// A path without `.` parts; the table was checked to have no others but names.
fn clean(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

fn or_dot(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

impl SiteFile {
    fn new(file: std::fs::File, layer: &Path, path: &Path) -> std::io::Result<Self> {
        let mut named = layer.as_os_str().as_bytes().to_vec();
        named.push(0);
        named.extend_from_slice(path.as_os_str().as_bytes());
        let tag = format!("\"{}\"", &Digest::of(&named).hex()[..24]);
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        Ok(Self {
            body: FileBody::new(file)?,
            tag: HeaderValue::try_from(tag).expect("hexadecimal digits are a header value"),
            kind: content_type::of(&name),
        })
    }

    fn respond(self, status: StatusCode, exchange: Box<Exchange>) -> OwnAnswer {
        let is_missing = status == StatusCode::NOT_FOUND;
        let is_known = !is_missing && exchange.known_tags.as_ref().is_some_and(|tags| lists(tags, &self.tag));
        let body = if is_known { OwnBody::Page(bytes::Bytes::new()) } else { OwnBody::File(self.body) };
        let mut response = Response::new(body);
        *response.status_mut() = if is_known { StatusCode::NOT_MODIFIED } else { status };
        let headers = response.headers_mut();
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if !is_missing {
            headers.insert(ETAG, self.tag);
        }
        if !is_known {
            headers.insert(CONTENT_TYPE, self.kind);
        }
        answer::finish(response, exchange)
    }
}

fn lists(known: &[u8], tag: &HeaderValue) -> bool {
    items(known).any(|one| one == b"*" || one.strip_prefix(b"W/").unwrap_or(one) == tag.as_bytes())
}

/// The folder's address with its slash. Relative, and never one that starts with two slashes:
/// browsers would take the first name for a host.
fn redirect_to_folder(exchange: Box<Exchange>) -> OwnAnswer {
    let path = exchange.path().trim_start_matches('/');
    let query = exchange.query().map(|query| format!("?{query}")).unwrap_or_default();
    let Ok(to) = HeaderValue::try_from(format!("/{path}/{query}")) else {
        return answer::not_found(exchange);
    };
    let body = answer::page("Moved", "<p>This page is a folder.</p>", None);
    let mut moved = answer::html(StatusCode::MOVED_PERMANENTLY, body, exchange);
    moved.response.headers_mut().insert(LOCATION, to);
    moved
}

/// A URL's path as a relative path of plain names; `None` for one that no site has.
fn decode(path: &str) -> Option<PathBuf> {
    let mut decoded = PathBuf::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let name = percent_decode(part)?;
        let is_hidden = name.starts_with(b".") && name != b".well-known";
        if is_hidden || name.contains(&b'/') || name.contains(&0) || name.contains(&b'\\') {
            return None;
        }
        decoded.push(std::ffi::OsStr::from_bytes(&name));
    }
    Some(decoded)
}

fn percent_decode(part: &str) -> Option<Vec<u8>> {
    let mut bytes = part.bytes();
    let mut out = Vec::with_capacity(part.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_of_plain_names() {
        for (url, path) in [
            ("/", ""),
            ("/a/b.txt", "a/b.txt"),
            ("//a//", "a"),
            ("/%61%20b", "a b"),
            ("/.well-known/x", ".well-known/x"),
        ] {
            assert_eq!(decode(url), Some(PathBuf::from(path)), "{url}");
        }
        for bad in [
            "/..",
            "/a/../b",
            "/%2e%2e/x",
            "/.%2e/x",
            "/.env",
            "/.",
            "/a%2fb",
            "/a%00",
            "/a%5cb",
            "/%",
            "/%2",
            "/%zz",
        ] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
