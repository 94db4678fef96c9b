//! Answers of the router's own: true statuses, small pages, JSON for who asks for it.

use std::fmt::Write as _;

use bytes::Bytes;
use dozen_model::error_pages::PageKind;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, STRICT_TRANSPORT_SECURITY},
};

use crate::{
    exchange::Exchange, h_code::HCode, headers::X_REQUEST_ID, http1::request::Refusal, policy::Instead,
    redirect::Redirection, static_file::FileBody,
};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// After which an answer that says so may be asked for again.
pub(crate) const RETRY_SECONDS: u16 = 5;
const MAINTENANCE_RETRY_SECONDS: u16 = 60;

/// An answer that no app gave.
#[derive(Debug)]
pub(crate) struct OwnAnswer {
    pub(crate) response: Response<OwnBody>,
    pub(crate) exchange: Box<Exchange>,
    /// Whether the connection ends with it, where a connection has one request at a time.
    pub(crate) closes: bool,
}

/// What an answer of our own is made of.
#[derive(Debug)]
pub(crate) enum OwnBody {
    Page(Bytes),
    File(FileBody),
}

impl OwnBody {
    /// Its bytes, all of them.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Page(page) => page.len() as u64,
            Self::File(file) => file.left(),
        }
    }
}

/// The status of a request that is not served, and a word on why.
pub(crate) fn refusal(refusal: Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::Malformed => (StatusCode::BAD_REQUEST, "This request is not one the server can read."),
        Refusal::TooLarge => {
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The head of this request is too large.")
        }
        Refusal::Version => {
            (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "The server speaks HTTP/1.1 and HTTP/1.0 here.")
        }
        Refusal::Expectation => {
            (StatusCode::EXPECTATION_FAILED, "The server knows no expectation but `100-continue`.")
        }
        Refusal::Connect => (StatusCode::METHOD_NOT_ALLOWED, "The server makes no tunnels."),
        Refusal::Crowded => (StatusCode::SERVICE_UNAVAILABLE, "This client has too many connections open."),
        Refusal::Late => (StatusCode::REQUEST_TIMEOUT, "The request did not arrive in time."),
    }
}

/// 404: no app has this host, or the site has no such page.
pub(crate) fn not_found(exchange: Box<Exchange>) -> OwnAnswer {
    explain(StatusCode::NOT_FOUND, "Not found", "There is nothing at this address.", exchange)
}

/// 405 for files, which can only be read.
pub(crate) fn read_only(exchange: Box<Exchange>) -> OwnAnswer {
    let text = "This page can only be read.";
    let mut answer = explain(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", text, exchange);
    answer.response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}

/// What a stage's policy has decided in the app's place.
pub(crate) fn instead(instead: Instead, mut exchange: Box<Exchange>) -> OwnAnswer {
    match instead {
        Instead::Forbidden => {
            let text = "This address is not one that the app answers.";
            explain(StatusCode::FORBIDDEN, "Forbidden", text, exchange)
        }
        Instead::Maintenance => {
            exchange.blame(HCode::Maintenance);
            let text = "The app is being looked after. Please try again in a few minutes.";
            let mut answer = explain(StatusCode::SERVICE_UNAVAILABLE, "Maintenance", text, exchange);
            answer.response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(MAINTENANCE_RETRY_SECONDS));
            answer
        }
        Instead::Redirect(to) => redirect(to, exchange),
        Instead::TooLarge => {
            let text = "The request's body is larger than the app takes.";
            let mut answer = explain(StatusCode::PAYLOAD_TOO_LARGE, "Too large", text, exchange);
            // What is left of it is not worth reading.
            answer.closes = true;
            answer
        }
    }
}

/// What an app did not answer, with the reason in the log.
pub(crate) fn failure(status: StatusCode, code: HCode, mut exchange: Box<Exchange>) -> OwnAnswer {
    exchange.blame(code);
    let (title, text) = match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            ("Not available", "The app is not running right now. Please try again in a moment.")
        }
        StatusCode::GATEWAY_TIMEOUT => ("Too slow", "The app did not answer in time."),
        StatusCode::REQUEST_TIMEOUT => ("Too slow", "The request did not arrive in time."),
        StatusCode::BAD_REQUEST => ("Bad request", "The request could not be read to its end."),
        _ => ("No answer", "The app ended the connection without a complete answer."),
    };
    let mut answer = explain(status, title, text, exchange);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
    }
    // What is left of a body that nobody takes is not worth reading.
    answer.closes = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::BAD_REQUEST);
    answer
}

/// Sends the client to another address.
fn redirect(to: Redirection, mut exchange: Box<Exchange>) -> OwnAnswer {
    exchange.blame(to.code);
    let Ok(location) = HeaderValue::try_from(&to.location) else { return not_found(exchange) };
    let text = format!("<p>This is at <a href=\"{}\">another address</a>.</p>", escape(&to.location));
    let mut moved = html(to.status, page("Moved", &text, None), exchange);
    let headers = moved.response.headers_mut();
    headers.insert(LOCATION, location);
    if to.is_declared_for_good {
        // For good, but not for longer than the next release may take to take it back.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    }
    moved
}

/// An error: the app's own page for it, or one of ours.
fn explain(status: StatusCode, title: &str, text: &str, exchange: Box<Exchange>) -> OwnAnswer {
    let (page_kind, kind) = if exchange.wants_json { (PageKind::Json, JSON) } else { (PageKind::Html, HTML) };
    let is_maintenance = exchange.code == Some(HCode::Maintenance);
    let pages = exchange.stage.as_ref().and_then(|stage| stage.policy.pages());
    let own = pages.and_then(|pages| pages.find((status.as_u16(), is_maintenance), page_kind, &exchange.id));
    if let Some(own) = own {
        return respond(status, kind, own, exchange);
    }
    if exchange.wants_json {
        let code = title.to_ascii_lowercase().replace(' ', "_");
        let error = serde_json::json!({ "code": code, "message": text, "request_id": exchange.id });
        return json(status, &serde_json::json!({ "error": error }), exchange);
    }
    let heading = format!("{} {title}", status.as_u16());
    let body = page(&heading, &format!("<p>{text}</p>"), Some(&exchange.id));
    respond(status, HTML, body, exchange)
}

/// 200 with a text of somebody else's.
pub(crate) fn plain(text: Bytes, exchange: Box<Exchange>) -> OwnAnswer {
    respond(StatusCode::OK, PLAIN, text, exchange)
}

/// An HTML answer; `body` is a whole page.
pub(crate) fn html(status: StatusCode, body: String, exchange: Box<Exchange>) -> OwnAnswer {
    respond(status, HTML, body, exchange)
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: &serde_json::Value, exchange: Box<Exchange>) -> OwnAnswer {
    respond(status, JSON, body.to_string(), exchange)
}

fn respond(
    status: StatusCode,
    kind: HeaderValue,
    body: impl Into<Bytes>,
    exchange: Box<Exchange>,
) -> OwnAnswer {
    let mut response = Response::new(OwnBody::Page(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    finish(response, exchange)
}

/// Any answer: the exchange gets its status, the answer the exchange's id.
pub(crate) fn finish(mut response: Response<OwnBody>, mut exchange: Box<Exchange>) -> OwnAnswer {
    exchange.status = response.status().as_u16();
    if let Ok(id) = HeaderValue::try_from(exchange.id.as_str()) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    if let Some(hsts) = exchange.hsts() {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    OwnAnswer { response, exchange, closes: false }
}

/// A page in the router's plain style. `content` is HTML; the heading and the id are escaped.
pub(crate) fn page(heading: &str, content: &str, id: Option<&str>) -> String {
    let mut page = String::with_capacity(1024 + content.len());
    let heading = escape(heading);
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{heading}</title><style>\
         body{{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:18vh auto 0;padding:0 1rem;\
         color:#222;background:#fff}}small{{color:#767676}}a{{color:#0b57d0}}\
         @media(prefers-color-scheme:dark){{body{{color:#ddd;background:#161616}}a{{color:#8ab4f8}}}}\
         </style></head><body><h1>{heading}</h1>{content}"
    );
    if let Some(id) = id {
        let _ = write!(page, "<p><small>Request {}</small></p>", escape(id));
    }
    page.push_str("</body></html>\n");
    page
}

/// Text as HTML shows it.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
