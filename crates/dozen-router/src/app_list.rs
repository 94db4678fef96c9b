//! The bare address of a server that has several apps, or none: a page that lists them.

use http::StatusCode;

use crate::{
    answer::{self, OwnAnswer},
    board::Routes,
    exchange::Exchange,
    host::HostName,
};

/// The apps of a server, with their addresses.
#[derive(Debug)]
pub(crate) struct AppList {
    /// `app/stage` and its URL.
    apps: Vec<(String, Option<String>)>,
}

impl AppList {
    /// The list, with links to the port that the client came by.
    pub(crate) fn of(routes: &Routes, host: &HostName) -> Self {
        let link = |domain: &String| format!("http://{domain}{}/", host.port());
        let app = |stage: &std::sync::Arc<crate::board::Stage>| {
            let shown = stage.name.strip_suffix("/production").unwrap_or(&stage.name);
            (shown.to_owned(), stage.domain.as_ref().map(link))
        };
        Self { apps: routes.stages.iter().map(app).collect() }
    }

    /// Answers a request for the bare address.
    pub(crate) fn answer(&self, exchange: Box<Exchange>) -> OwnAnswer {
        if exchange.path() != "/" {
            return answer::not_found(exchange);
        }
        if exchange.wants_json {
            let apps: Vec<_> =
                self.apps.iter().map(|(name, url)| serde_json::json!({ "app": name, "url": url })).collect();
            return answer::json(StatusCode::OK, &serde_json::Value::Array(apps), exchange);
        }
        answer::html(StatusCode::OK, self.page(), exchange)
    }

    fn page(&self) -> String {
        if self.apps.is_empty() {
            return answer::page("No apps yet", "<p>This server runs, and has no app to show.</p>", None);
        }
        let item = |(name, url): &(String, Option<String>)| match url {
            Some(url) => {
                let url = answer::escape(url);
                format!("<li><a href=\"{url}\">{}</a></li>", answer::escape(name))
            }
            None => format!("<li>{}</li>", answer::escape(name)),
        };
        let items: String = self.apps.iter().map(item).collect();
        answer::page("Apps", &format!("<ul>{items}</ul>"), None)
    }
}
