//! The router: the HTTP data plane, a process of its own.
//!
//! It owns the public listeners and the route table in memory, and promises that no request is
//! lost while the table changes: a request that was never sent to an app goes to another instance
//! or is held, bounded, until one is there. Control gives it tables over a unix socket and may die
//! at any time: the last table is on disk, and the router serves by it.
//!
//! ```text
//! listener -> connection -> front_http1 -> service -> forward -> attempt -> pool -> app
//!                                             \-> static_site, answer (pages of our own)
//! control  -> protocol -> board (swap, in-flight counts) <- every thread
//! ```
//!
//! It relies on its starter for bound listeners (see [`bind_listeners`] and [`Launch`]) and for
//! being restarted. It knows no store, starts no process and reads no environment.
//!
//! Start reading at [`router_main`], then `front_http1`, `service` and `forward`.

#![forbid(unsafe_code)]

mod accept;
mod access_files;
mod access_log;
mod answer;
mod app_list;
mod attempt;
mod board;
mod body_source;
mod certificate_index;
mod certificates;
pub mod client;
mod client_stream;
mod connection;
mod content_type;
mod control_socket;
mod crowd;
mod date;
mod download;
mod error;
mod error_page;
mod exchange;
mod fast_map;
mod fd_passing;
mod forward;
mod forwarded;
mod front_h2;
mod front_http1;
#[doc(hidden)]
pub mod fuzzing;
mod h2_answer;
mod h2_body;
mod h2_request;
mod h2_traffic;
mod h_code;
mod headers;
mod host;
mod http1;
mod http_challenge;
mod launch;
mod lingering;
mod listen;
mod meter;
mod metrics;
mod options;
mod outbox;
mod policy;
mod pool;
mod privilege;
mod prober;
mod protocol;
mod redirect;
mod refusals;
mod request_id;
mod rotation;
mod service;
mod start;
mod state_file;
mod static_file;
mod static_site;
mod status;
mod table_file;
mod telling;
mod tls;
mod trace;
mod tunnel;
mod upload;
mod upstream;
mod watchdog;
mod websocket;
mod worker;

pub use certificate_index::CertificateError;
pub use error::RouterError;
pub use launch::{Launch, LaunchSettings};
pub use listen::{Listener, ListenerKind, bind_listeners};
pub use options::{DropTo, Limits, RouterOptions};
pub use protocol::{EndpointLoad, ListenerStatus, RouterStatus};
pub use start::router_main;
