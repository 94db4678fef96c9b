//! Builds: a commit or an archive in, an image of read-only layers out.
//!
//! ```text
//! source::export::export_git  as the calling user: a repository becomes a tar stream
//! source::unpack, ::archive   as the server: a stream or archive becomes a tree
//! build::build                a tree becomes layers and an image in the store
//! ```
//!
//! The same input gives the same image digest. Nothing of a repository is trusted: files are read
//! without following links, and every command of a build runs inside walls, through a
//! [`step::StepRunner`], as a user of its own. The store's owner copies the results in.
//!
//! This crate knows no releases, stages or config: a build gets placeholders, never a stage's value.
//!
//! Start reading at [`build::build`]; the way in is [`source`], the way out [`store`].

#![forbid(unsafe_code)]

pub mod build;
pub mod build_secrets;
mod cache_key;
mod compilers;
mod elf;
mod error;
pub mod events;
pub mod libraries;
pub mod network_settings;
mod overlay_upper;
pub mod plan;
pub mod redaction;
pub mod runner;
pub mod runtime;
pub mod source;
pub mod spare_pythons;
pub mod step;
mod steps;
pub mod store;
pub mod tree;
mod tree_copy;
mod tree_removal;
mod uv_tool;
pub mod version;

pub use build::{BuildInput, BuiltImage, build};
pub use error::BuildError;
pub use steps::site_packages::installed_version;
pub use tree_copy::Adoption;
pub use tree_removal::remove_tree;
