//! The last route table on disk, so that a router whose control is dead knows where to route.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use dozen_model::route_table::RouteTable;

use crate::error::RouterError;

const NAME: &str = "table.json";

/// Reads the stored table; `None` when there is none yet.
pub(crate) fn load(state_dir: &Path) -> io::Result<Option<RouteTable>> {
    match fs::read(state_dir.join(NAME)) {
        Ok(text) => {
            let table: RouteTable = serde_json::from_slice(&text)?;
            table.check().map_err(io::Error::other)?;
            Ok(Some(table))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Stores a table: after it returns, neither kill -9 nor a power cut brings the old one back.
pub(crate) fn store(state_dir: &Path, table: &RouteTable) -> Result<(), RouterError> {
    let path = state_dir.join(NAME);
    replace(state_dir, &path, table).map_err(|source| RouterError::Persist { path, source })
}

fn replace(state_dir: &Path, path: &PathBuf, table: &RouteTable) -> io::Result<()> {
    let fresh = state_dir.join("table.json.new");
    let mut file = File::create(&fresh)?;
    file.write_all(&serde_json::to_vec(table)?)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(state_dir)?.sync_all()
}
