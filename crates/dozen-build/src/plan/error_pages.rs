//! Error pages of an app's own: checked before anything is built, so that a page that would not be
//! shown is found out at the deploy and not at the first error.
//!
//! The router reads them from the image's layer of the tree, so what stands here is what it finds.

use std::collections::BTreeSet;

use dozen_model::{
    error_pages::{LARGEST, PageKind, names},
    manifest::AppManifest,
};
use rustix::fs::FileType;

use super::Remarks;
use crate::{
    error::{BuildError, shown},
    tree::Tree,
};

/// The most files that a warning names.
const NAMED: usize = 5;

/// Checks the folders that the app and its stages name.
pub(super) fn check(tree: &Tree, manifest: &AppManifest, remarks: &mut Remarks) -> Result<(), BuildError> {
    let of_stages = manifest.stages.values().map(|stage| &stage.router);
    let settings = std::iter::once(&manifest.router).chain(of_stages);
    let folders: BTreeSet<&String> = settings.filter_map(|router| router.error_pages.as_ref()).collect();
    folders.into_iter().try_for_each(|folder| check_folder(tree, folder, remarks))
}

fn check_folder(tree: &Tree, folder: &str, remarks: &mut Remarks) -> Result<(), BuildError> {
    match tree.kind(folder) {
        Some(FileType::Directory) => {}
        None => return Err(bad(folder, "`[router] error_pages` names it, and the tree has no such folder")),
        Some(FileType::Symlink) => return Err(BuildError::LinkedFile { path: shown(folder.as_bytes()) }),
        Some(_) => return Err(bad(folder, "`[router] error_pages` names it, and it is not a folder")),
    }
    let found: BTreeSet<String> = tree.list(folder).into_iter().map(|(name, _)| name).collect();
    let mut pages = BTreeSet::new();
    for (name, kind) in names().filter(|(name, _)| found.contains(name)) {
        check_page(tree, &format!("{folder}/{name}"), kind)?;
        pages.insert(name);
    }
    if pages.is_empty() {
        let reason = "it holds no error page, such as `5xx.html`, `503.json` or `maintenance.html`";
        return Err(bad(folder, reason));
    }
    let others: Vec<String> = found.difference(&pages).map(|name| shown(name.as_bytes())).collect();
    if !others.is_empty() {
        let more = if others.len() > NAMED { " and more" } else { "" };
        let named = others[..others.len().min(NAMED)].join(", ");
        let folder = shown(folder.as_bytes());
        remarks
            .warnings
            .push(format!("`{folder}` holds what is no error page and is not served: {named}{more}"));
    }
    Ok(())
}

fn check_page(tree: &Tree, path: &str, kind: PageKind) -> Result<(), BuildError> {
    let page = tree.read(path)?.unwrap_or_default();
    if page.len() as u64 > LARGEST {
        return Err(bad(path, "an error page has up to 256 KiB"));
    }
    let is_json = |page: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(page).is_ok();
    if kind == PageKind::Json && !is_json(&page) {
        return Err(bad(path, "it is not JSON"));
    }
    Ok(())
}

fn bad(path: &str, reason: &str) -> BuildError {
    BuildError::BadFile { path: shown(path.as_bytes()), reason: reason.to_owned() }
}
