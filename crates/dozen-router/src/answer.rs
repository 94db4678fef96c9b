//! Answers of the router's own: true statuses, small pages, JSON for who asks for it.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER},
};

use crate::{
    exchange::Exchange, h_code::HCode, headers::X_REQUEST_ID, policy::Instead, response_body::ResponseBody,
};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const RETRY_SECONDS: u16 = 5;
const MAINTENANCE_RETRY_SECONDS: u16 = 60;

/// Whether a client asks for JSON and not for a page.
pub(crate) fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("json") && !accept.contains("text/html")
}

/// 400, and the connection ends: what follows on it may be framed as anything.
pub(crate) fn bad_request(exchange: Box<Exchange>) -> Response<ResponseBody> {
    let text = "This request is not one the server can read.";
    let mut response = explain(StatusCode::BAD_REQUEST, "Bad request", text, exchange);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// 404: no app has this host, or the site has no such page.
pub(crate) fn not_found(exchange: Box<Exchange>) -> Response<ResponseBody> {
    explain(StatusCode::NOT_FOUND, "Not found", "There is nothing at this address.", exchange)
}

/// 405 for files, which can only be read.
pub(crate) fn read_only(exchange: Box<Exchange>) -> Response<ResponseBody> {
    let text = "This page can only be read.";
    let mut response = explain(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", text, exchange);
    response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// What a stage's policy has decided in the app's place.
pub(crate) fn instead(instead: Instead, mut exchange: Box<Exchange>) -> Response<ResponseBody> {
    match instead {
        Instead::Forbidden => {
            let text = "This address is not one that the app answers.";
            explain(StatusCode::FORBIDDEN, "Forbidden", text, exchange)
        }
        Instead::Maintenance => {
            exchange.blame(HCode::Maintenance);
            let text = "The app is being looked after. Please try again in a few minutes.";
            let mut response = explain(StatusCode::SERVICE_UNAVAILABLE, "Maintenance", text, exchange);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(MAINTENANCE_RETRY_SECONDS));
            response
        }
        Instead::TooLarge => {
            let text = "The request's body is larger than the app takes.";
            let mut response = explain(StatusCode::PAYLOAD_TOO_LARGE, "Too large", text, exchange);
            // What is left of it is not worth reading.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}

/// What an app did not answer, with the reason in the log.
pub(crate) fn failure(
    status: StatusCode,
    code: HCode,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
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
    let mut response = explain(status, title, text, exchange);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
    }
    // What is left of a body that nobody takes is not worth reading.
    if matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::BAD_REQUEST) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn explain(status: StatusCode, title: &str, text: &str, exchange: Box<Exchange>) -> Response<ResponseBody> {
    if exchange.wants_json {
        let id = exchange.id.to_str().unwrap_or_default();
        let body = serde_json::json!({ "status": status.as_u16(), "title": title, "detail": text, "request_id": id });
        return respond(status, JSON, body.to_string(), exchange);
    }
    let heading = format!("{} {title}", status.as_u16());
    let body = page(&heading, &format!("<p>{text}</p>"), exchange.id.to_str().ok());
    respond(status, HTML, body, exchange)
}

/// An HTML answer; `body` is a whole page.
pub(crate) fn html(status: StatusCode, body: String, exchange: Box<Exchange>) -> Response<ResponseBody> {
    respond(status, HTML, body, exchange)
}

/// A JSON answer.
pub(crate) fn json(
    status: StatusCode,
    body: &serde_json::Value,
    exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    respond(status, JSON, body.to_string(), exchange)
}

fn respond(
    status: StatusCode,
    kind: HeaderValue,
    body: String,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    exchange.status = status.as_u16();
    let id = exchange.id.clone();
    let mut response = Response::new(ResponseBody::page(Bytes::from(body), exchange));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_REQUEST_ID, id);
    response
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
