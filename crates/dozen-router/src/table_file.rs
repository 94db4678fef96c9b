//! The last route table on disk, so that a router whose control is dead knows where to route.

use std::{io, path::Path};

use dozen_model::route_table::RouteTable;

use crate::{error::RouterError, state_file};

const NAME: &str = "table.json";

/// Reads the stored table; `None` when there is none yet.
pub(crate) fn load(state_dir: &Path) -> io::Result<Option<RouteTable>> {
    let Some(text) = state_file::load(state_dir, NAME)? else { return Ok(None) };
    let table: RouteTable = serde_json::from_slice(&text)?;
    table.check().map_err(io::Error::other)?;
    Ok(Some(table))
}

/// Stores a table: after it returns, neither kill -9 nor a power cut brings the old one back.
pub(crate) fn store(state_dir: &Path, table: &RouteTable) -> Result<(), RouterError> {
    let stored = serde_json::to_vec(table)
        .map_err(Into::into)
        .and_then(|text| state_file::replace(state_dir, NAME, &text));
    stored.map_err(|source| RouterError::Persist { path: state_dir.join(NAME), source })
}
