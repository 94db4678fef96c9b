//! What happens to one request: refused, routed, or answered by the server itself.

use std::{rc::Rc, sync::Arc};

use http::{HeaderValue, Method, Request, Response, Uri, Version, header::TRANSFER_ENCODING};
use hyper::body::{Body as _, Incoming};

use crate::{
    answer, app_list,
    board::Found,
    connection::Client,
    exchange::Exchange,
    forward::{WantedUpgrade, forward},
    headers,
    host::HostName,
    refusals::Refusal,
    request_body::RequestBody,
    response_body::ResponseBody,
    status::Counters,
};

enum Route {
    Stage(Arc<str>),
    Server(app_list::AppList),
    Nowhere,
}

/// Answers one request of a client.
pub(crate) async fn answer(client: Rc<Client>, request: Request<Incoming>) -> Response<ResponseBody> {
    let counters = &client.room.counters;
    Counters::count(&counters.requests);
    let is_malformed = client.state.is_malformed(client.count_request());
    let host = HostName::of(request.headers(), request.uri()).filter(|_| !is_malformed);
    let Some(host) = host.filter(|_| request.method() != Method::CONNECT) else {
        let exchange = Exchange::begin(&client, &request, HostName::unknown());
        counters.refusals.note(Refusal::Malformed, &exchange);
        return answer::bad_request(exchange);
    };
    let route = find(&client, &host);
    let exchange = Exchange::begin(&client, &request, host);
    if let Some(answer) = client.room.board.challenge_at(request.uri().path()) {
        return answer::html(http::StatusCode::OK, answer, exchange);
    }
    match route {
        Route::Stage(name) => {
            let (request, upgrade) = to_app(&exchange, request);
            forward(exchange, name, request, upgrade).await
        }
        Route::Server(apps) => apps.answer(exchange),
        Route::Nowhere => {
            counters.refusals.note(Refusal::UnknownHost, &exchange);
            answer::not_found(exchange)
        }
    }
}

fn find(client: &Client, host: &HostName) -> Route {
    let routes = client.room.board.routes();
    match routes.find(host) {
        Found::Stage(stage) => Route::Stage(Arc::clone(&stage.name)),
        Found::Server => Route::Server(app_list::AppList::of(&routes, host)),
        Found::Nothing => Route::Nowhere,
    }
}

/// Makes a client's request the one the app gets.
fn to_app(
    exchange: &Exchange,
    mut request: Request<Incoming>,
) -> (Request<RequestBody>, Option<WantedUpgrade>) {
    let upgrade = headers::wanted_upgrade(&request).map(|protocol| {
        let client = hyper::upgrade::on(&mut request);
        WantedUpgrade { protocol, client }
    });
    let (mut parts, body) = request.into_parts();
    let protocol = upgrade.as_ref().map(|upgrade| &upgrade.protocol);
    headers::to_app(&mut parts.headers, &exchange.client, &exchange.id, protocol);
    if parts.uri.authority().is_some() {
        let path = parts.uri.path_and_query().cloned();
        parts.uri = path.map_or_else(|| Uri::from_static("/"), Into::into);
    }
    // hyper keeps what it needs for an upgrade here; the client's half is ours now.
    parts.extensions.clear();
    parts.version = Version::HTTP_11;
    let body = RequestBody::new(body);
    if !body.is_empty() && body.size_hint().exact().is_none() {
        // Said outright: hyper drops the body of a GET whose length nobody names.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    (Request::from_parts(parts, body), upgrade)
}
