//! Numbers for Prometheus: the router's, which control passes on as they are, and two of its own.
//!
//! A router that does not answer costs its numbers and no more: what asks is told so by a number.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{Api, ApiError, blocking};

/// Prometheus' text format.
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn metrics(State(api): State<Api>) -> Result<Response, ApiError> {
    let control = api.control;
    let counted = blocking(move || Ok(control.router.metrics())).await?;
    Ok(([(header::CONTENT_TYPE, FORMAT)], text(counted)).into_response())
}

fn text(counted: Option<String>) -> String {
    let (version, is_up) = (env!("CARGO_PKG_VERSION"), u8::from(counted.is_some()));
    let own = format!(
        "# HELP dozen_build_info The version of the server.\n# TYPE dozen_build_info gauge\n\
         dozen_build_info{{version=\"{version}\"}} 1\n\
         # HELP dozen_router_up Whether the router answers.\n# TYPE dozen_router_up gauge\n\
         dozen_router_up {is_up}\n"
    );
    own + &counted.unwrap_or_default()
}
