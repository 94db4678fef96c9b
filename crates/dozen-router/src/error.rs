//! Why the router could not start or do what control asked.

use std::{io, path::PathBuf};

use dozen_model::{hint::Hint, route_table::RouteTableError};

use crate::certificate_index::CertificateError;

/// Why the router could not start, or control could not talk to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouterError {
    /// The starter handed over no listeners.
    #[error("the router was given no listener")]
    NoListener,
    /// Standard input is not a launch message.
    #[error("standard input is not a launch message of control")]
    NoLaunch(#[source] io::Error),
    /// A uid or gid could not be taken.
    #[error("could not become uid {uid}")]
    Privilege {
        /// The uid to run as.
        uid: u32,
        /// Why.
        source: io::Error,
    },
    /// A system call at the start.
    #[error("could not {what}")]
    Start {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The table could not be stored.
    #[error("could not store the route table in `{}`", path.display())]
    Persist {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The table is not one to route by.
    #[error("the route table is not usable")]
    Table(#[from] RouteTableError),
    /// The table is older than the current one.
    #[error("route table {offered} is older than the current {current}")]
    Stale {
        /// Its generation.
        offered: u64,
        /// The generation in use.
        current: u64,
    },
    /// A different table has the same number.
    #[error("a different route table {0} is already in use")]
    Conflict(u64),
    /// The certificates could not be stored.
    #[error("could not store the certificates in `{}`", path.display())]
    PersistCertificates {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate of a set is not one to show.
    #[error("the certificates are not usable")]
    Certificates(#[from] CertificateError),
    /// The set is older than the one in use.
    #[error("certificate set {offered} is older than the current {current}")]
    StaleCertificates {
        /// Its generation.
        offered: u64,
        /// The generation in use.
        current: u64,
    },
    /// A different set has the same number.
    #[error("a different certificate set {0} is already in use")]
    OtherCertificates(u64),
    /// The router's control socket did not answer as it should.
    #[error("the router did not answer")]
    Unreachable(#[source] io::Error),
    /// The router refused a request.
    #[error("the router refused: {0}")]
    Refused(String),
}

impl Hint for RouterError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoLaunch(_) => Some("the server starts its router: run `dozen server start`".to_owned()),
            _ => None,
        }
    }
}
