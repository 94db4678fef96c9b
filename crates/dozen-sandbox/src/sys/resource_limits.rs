//! Resource limits of a process, lowered and never raised above what is inherited.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;

/// Sets both limits to `limit`, or to the inherited hard limit where that is lower.
pub(crate) fn lower(resource: Resource, limit: u64) -> io::Result<()> {
    let hard = getrlimit(resource).maximum.map_or(limit, |hard| hard.min(limit));
    setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })?;
    Ok(())
}
