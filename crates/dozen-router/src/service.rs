//! What happens to one request, whichever version of HTTP brought it: routed to an app, or answered
//! by the server itself.
//!
//! This is the narrow waist of the data path: what speaks to clients ([`front_http1`](crate::front_http1))
//! gives a [`RequestHead`] and a [`BodySource`](crate::body_source::BodySource) and gets an
//! [`Answer`], whatever way the request went.

use std::{rc::Rc, sync::Arc};

use crate::{
    answer, app_list,
    attempt::{self, Outgoing},
    board::{Found, Stage},
    connection::Client,
    exchange::Exchange,
    forward::{Answer, forward},
    headers,
    host::HostName,
    http1::{Framing, request::RequestHead},
    policy::{Facts, Verdict},
    redirect,
};

/// A request that was taken: what was decided by its head alone.
pub(crate) enum Taken {
    /// It goes to the stage of this name.
    Forward { exchange: Box<Exchange>, stage: Arc<Stage>, upgrade: Option<String> },
    /// It is answered already.
    Answered(Answer),
}

enum Route {
    Stage(Arc<Stage>),
    Server(app_list::AppList),
    Nowhere,
}

/// Takes a request by its head; the head that an app gets is written to `out`.
pub(crate) fn take(client: &Rc<Client>, head: &RequestHead<'_>, out: &mut Vec<u8>) -> Taken {
    let counters = &client.room.counters;
    let mut exchange = Exchange::begin(client, head);
    if !client.peer.is_tls
        && let Some(proof) = client.room.tls.certificates.answer_to(&head.method, exchange.path())
    {
        return Taken::Answered(Answer::Own(answer::plain(proof, exchange)));
    }
    match find(client, &head.host) {
        Route::Stage(stage) => {
            exchange.enter(&stage);
            let facts = Facts {
                client: exchange.origin.client,
                content_length: length_of(head.framing),
                method: &head.method,
                host: &head.host,
                target: head.target,
                is_https: exchange.origin.is_https,
                https_port: redirect::https_port(client, head, &exchange, &stage.policy),
            };
            if let Verdict::Instead(instead) = stage.policy.verdict(&facts) {
                return Taken::Answered(Answer::Own(answer::instead(instead, exchange)));
            }
            let upgrade = headers::wanted_upgrade(head);
            headers::write_request(out, head, &exchange, upgrade.as_deref());
            Taken::Forward { exchange, stage, upgrade }
        }
        Route::Server(apps) => Taken::Answered(Answer::Own(apps.answer(exchange))),
        Route::Nowhere => {
            counters.refusals.note_unknown_host(&exchange);
            Taken::Answered(Answer::Own(answer::not_found(exchange)))
        }
    }
}

/// Brings a request that was taken to its answer.
pub(crate) async fn answer(
    taken: Taken,
    head: &[u8],
    framing: Framing,
    mut client: attempt::Client<'_>,
) -> Answer {
    match taken {
        Taken::Answered(answer) => answer,
        Taken::Forward { exchange, stage, upgrade } => {
            let mut request = Outgoing::new(head, framing, &exchange.method, upgrade);
            request.max_body = stage.policy.max_body();
            forward(exchange, Arc::clone(&stage.name), &request, &mut client).await
        }
    }
}

/// The length of a body that is known beforehand.
fn length_of(framing: Framing) -> Option<u64> {
    match framing {
        Framing::None => Some(0),
        Framing::Length(length) => Some(length),
        Framing::Chunked | Framing::UntilClose => None,
    }
}

fn find(client: &Client, host: &HostName) -> Route {
    let routes = client.room.board.routes();
    match routes.find(host) {
        Found::Stage(stage) => Route::Stage(Arc::clone(stage)),
        Found::Server => Route::Server(app_list::AppList::of(&routes, host)),
        Found::Nothing => Route::Nowhere,
    }
}
