//! `[router]` of `dozen.toml`.

use std::time::Duration;

use super::{
    super::{ByteSize, ManifestError, RouterSettings, value_rules},
    section::{Entry, Section},
    time_limit,
};
use crate::address_range::AddressRange;

/// The most ranges that one list may have: each request is compared with all of them.
const MOST_RANGES: usize = 1000;

/// The most probes that an instance may fail before it goes.
const MOST_FAILURES: u32 = 100;

/// The section of the app, or of one stage.
pub(super) fn settings(section: &Section<'_>) -> Result<RouterSettings, ManifestError> {
    section.only(&[
        "max_body",
        "first_byte",
        "idle",
        "hold_limit",
        "probe",
        "probe_interval",
        "probe_timeout",
        "probe_failures",
        "allow",
    ])?;
    Ok(RouterSettings {
        max_body: section.parsed("max_body", str::parse::<ByteSize>)?,
        first_byte: time_limit(section, "first_byte")?,
        idle: time_limit(section, "idle")?,
        hold_limit: time_limit(section, "hold_limit")?,
        probe: section.text("probe", value_rules::request_path)?,
        probe_interval: interval(section)?,
        probe_timeout: time_limit(section, "probe_timeout")?,
        probe_failures: section
            .entry("probe_failures")
            .map(|entry| entry.whole_number(1, MOST_FAILURES))
            .transpose()?,
        allow: section.entry("allow").map(|entry| ranges(&entry)).transpose()?.unwrap_or_default(),
    })
}

/// Every instance is asked as often: more would be load.
fn interval(section: &Section<'_>) -> Result<Option<Duration>, ManifestError> {
    let interval = time_limit(section, "probe_interval")?;
    match (interval, section.entry("probe_interval")) {
        (Some(said), Some(entry)) if said < Duration::from_secs(1) => {
            Err(entry.bad("write a second at least"))
        }
        _ => Ok(interval),
    }
}

fn ranges(entry: &Entry<'_>) -> Result<Vec<AddressRange>, ManifestError> {
    let ranges = entry.list(|text| text.parse::<AddressRange>().map_err(|error| error.to_string()))?;
    match ranges.len() {
        0 => Err(entry.bad("list who is let in, or leave it out to let everybody in")),
        1..=MOST_RANGES => Ok(ranges),
        _ => Err(entry.bad(format!("list up to {MOST_RANGES} ranges"))),
    }
}
