//! The probes: what is known to be read in two ways by two programs, and what must go through.
//!
//! From RFC 9110 and 9112, the probe table of the router's first measurements, and the ways in
//! which servers and proxies have been led astray. Syntax is answered by 400, other versions by
//! 505, a head that is too large by 431; where the field knows two right answers, both are named.

mod chunks;
mod connection;
mod hosts;
mod lengths;
mod lines;
mod targets;

use super::case::Case;

/// All probes, by what they are about.
pub(crate) fn all() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("host", hosts::cases()),
        ("length and coding", lengths::cases()),
        ("lines of a head", lines::cases()),
        ("request line", targets::cases()),
        ("chunks and trailers", chunks::cases()),
        ("connection, upgrade, expect", connection::cases()),
    ]
}
