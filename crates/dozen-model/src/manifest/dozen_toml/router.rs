//! `[router]` of `dozen.toml`.

use super::{
    super::{ByteSize, ManifestError, RouterSettings},
    section::{Entry, Section},
    time_limit,
};
use crate::address_range::AddressRange;

/// The most ranges that one list may have: each request is compared with all of them.
const MOST_RANGES: usize = 1000;

/// The section of the app, or of one stage.
pub(super) fn settings(section: &Section<'_>) -> Result<RouterSettings, ManifestError> {
    section.only(&["max_body", "first_byte", "idle", "hold_limit", "allow"])?;
    Ok(RouterSettings {
        max_body: section.parsed("max_body", str::parse::<ByteSize>)?,
        first_byte: time_limit(section, "first_byte")?,
        idle: time_limit(section, "idle")?,
        hold_limit: time_limit(section, "hold_limit")?,
        allow: section.entry("allow").map(|entry| ranges(&entry)).transpose()?.unwrap_or_default(),
    })
}

fn ranges(entry: &Entry<'_>) -> Result<Vec<AddressRange>, ManifestError> {
    let ranges = entry.list(|text| text.parse::<AddressRange>().map_err(|error| error.to_string()))?;
    match ranges.len() {
        0 => Err(entry.bad("list who is let in, or leave it out to let everybody in")),
        1..=MOST_RANGES => Ok(ranges),
        _ => Err(entry.bad(format!("list up to {MOST_RANGES} ranges"))),
    }
}
