//! `cargo xtask bench`: the speeds that `docs/benchmarks.md` names, measured anew.
//!
//! Each benchmark builds the release binary, starts a server in a folder of its own with stock
//! Blango in it, and prints one table. Nothing is compared with an earlier run: what stands beside
//! our figures was measured in the same run.

mod by_hand;
mod clock;
pub(crate) mod deploy;
pub(crate) mod idle;
pub(crate) mod revival;
pub(crate) mod router;
mod stand;
