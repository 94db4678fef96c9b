//! Builds with the real tools: git, uv, pip, npm, and real walls.
//!
//! What needs the package registries is in `with_registries`, so that it can be filtered.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "a test says by panicking what went wrong")]

mod archives;
mod bench;
mod detection;
mod differences;
mod export;
mod hostile;
mod index;
mod layer_store;
mod locks;
mod pythons;
mod secrets;
mod tools;
mod walls;
mod with_registries;
