//! A static site: the folder that the router serves.

use dozen_model::manifest::AppManifest;
use rustix::fs::FileType;

use crate::{
    error::{BuildError, shown},
    tree::Tree,
};

/// The folder, relative to the tree: `[app] root`, else `root:` of the Staticfile, else the tree.
pub(super) fn root_of(tree: &Tree, manifest: &AppManifest) -> Result<String, BuildError> {
    let staticfile = tree.text("Staticfile")?.unwrap_or_default();
    let declared = staticfile.lines().find_map(|line| line.trim().strip_prefix("root:"));
    let root = manifest.app.root.as_deref().or(declared).unwrap_or(".").trim().trim_matches('/');
    let root = if root.is_empty() { "." } else { root };
    let bad = |reason: &str| BuildError::BadFile { path: shown(root.as_bytes()), reason: reason.to_owned() };
    let inside = root == "." || root.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !inside {
        return Err(bad("the folder of a static site is inside the tree"));
    }
    if root != "." && tree.kind(root) != Some(FileType::Directory) {
        return Err(bad("the folder of the static site is not there"));
    }
    Ok(root.to_owned())
}
