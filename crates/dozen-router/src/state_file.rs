//! Files of the router's state folder: replaced whole, readable by the router alone.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// Reads a file; `None` when there is none yet.
pub(crate) fn load(state_dir: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    match fs::read(state_dir.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file: after it returns, neither kill -9 nor a power cut brings the old one back, and
/// before, neither leaves a part of the new one.
pub(crate) fn replace(state_dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let fresh = state_dir.join(format!("{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    // One that was left by a kill keeps its mode, whatever that was.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, state_dir.join(name))?;
    File::open(state_dir)?.sync_all()
}
