//! The control plane: store, config, release engine, reconciler, API.
//!
//! One process that may be killed at any time: every fact is in the store before it is acted on,
//! and apps, router and logs go on without it. At its start it finds everything again.
//!
//! ```text
//! api  ->  worker (one a stage)  ->  engine: source, build, assemble, release phase, start, route
//!                                \-> reconcile: what runs becomes what the store wants
//! store <- all of them            routes -> router_link -> the router
//! ```
//!
//! It relies on dozen-run for processes, dozen-build for images, dozen-logs for what apps print,
//! dozen-services for plans, and on the router's client. It prints nothing and reads no
//! environment: settings come as [`ServerOptions`].
//!
//! Start reading at [`server::run`], then [`engine`].

#![forbid(unsafe_code)]

mod advice;
pub mod api;
mod attachments;
pub mod barrier;
mod certs;
mod control;
pub mod destroy;
mod doctor;
mod drain;
mod ending;
pub mod engine;
mod error;
mod hints;
mod history;
mod home;
mod key_file;
mod launcher;
mod one_off;
mod patience;
mod port_holder;
mod progress;
mod reconcile;
mod release_config;
mod requests;
mod router_folders;
mod router_link;
mod router_listeners;
mod router_process;
mod routes;
mod seal;
pub mod server;
mod service_requests;
#[cfg(test)]
mod stand;
mod status;
mod store;
mod strays;
mod traffic;
mod watch;
mod worker;

pub use certs::{AcmeSettings, PairFault};
pub use control::{Control, ServerOptions};
pub use doctor::local_checks;
pub use error::ControlError;
pub use home::Home;
pub use key_file::KeyFault;
