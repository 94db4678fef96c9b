//! One file a verb: its arguments, one call, one line of result.
//!
//! Deciding belongs to the control plane. What several verbs share is not here but in the file
//! that is named after it: `context`, `follow`, `upload`, `table`.

pub(crate) mod api_bridge;
pub(crate) mod apps;
pub(crate) mod builds;
pub(crate) mod certs;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod create;
pub(crate) mod deploy;
pub(crate) mod destroy;
pub(crate) mod doctor;
pub(crate) mod domains;
pub(crate) mod down;
pub(crate) mod hook;
pub(crate) mod logs;
pub(crate) mod maintenance;
pub(crate) mod pause;
pub(crate) mod ps;
pub(crate) mod receive_pack;
pub(crate) mod reference;
pub(crate) mod releases;
pub(crate) mod resume;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod server;
pub(crate) mod services;
pub(crate) mod up;
