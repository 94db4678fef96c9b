//! Why no plan could be made for a backing service.

use dozen_model::{hint::Hint, manifest::ServiceKind, names::ServiceName};

use crate::NotAServiceUrl;

/// Why no plan could be made for a backing service.
///
/// No variant holds a URL or a part of one: it carries a password, and errors reach logs and
/// screens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The kind exists, but nothing here can create one.
    #[error("no driver for `{kind}` on this server yet")]
    NoDriver {
        /// The kind.
        kind: ServiceKind,
    },
    /// An external service without its URL.
    #[error("`{service}` is external and needs the URL it is reached by")]
    UrlMissing {
        /// The service.
        service: ServiceName,
    },
    /// A URL that cannot be attached.
    #[error("the URL of `{service}` cannot be used")]
    BadUrl {
        /// The service.
        service: ServiceName,
        /// What is wrong with it.
        source: NotAServiceUrl,
    },
    /// Something was asked for that the kind does not have.
    #[error("`{service}` takes no {what}, its kind is `{kind}`")]
    NotTaken {
        /// The service.
        service: ServiceName,
        /// Its kind.
        kind: ServiceKind,
        /// What was asked for.
        what: &'static str,
    },
}

impl Hint for ServiceError {
    fn hint(&self) -> Option<String> {
        let url = "`dozen services create external NAME --url URL`";
        match self {
            Self::NoDriver { .. } => Some(format!("attach an existing one by its URL: {url}")),
            Self::UrlMissing { service } => {
                Some(format!("give it: `dozen services create external {service} --url URL`"))
            }
            Self::BadUrl { source, .. } => source.hint(),
            Self::NotTaken { .. } => None,
        }
    }
}
