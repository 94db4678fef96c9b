//! The name of an app whose folder is all that is known of it: `up` and `create` without a name.
//!
//! `[app] name` of the folder's `dozen.toml`, else the folder's own name made fit. A `dozen.toml`
//! that cannot be read is no obstacle here: the build says what is wrong with it.

use std::path::Path;

use dozen_model::names::AppName;

use crate::{cli_error::CliError, context::sanitised, git};

/// A larger `dozen.toml` is not looked into.
const LIMIT: u64 = 1 << 20;

/// The app's name; `advice` is how the verb takes one that is given.
pub(crate) fn of_folder(folder: &Path, advice: &'static str) -> Result<AppName, CliError> {
    if let Some(name) = declared(folder) {
        let what = || "`[app] name` of `dozen.toml`".to_owned();
        return name.parse().map_err(|source| CliError::Name { what: what(), advice, source });
    }
    let absolute = std::fs::canonicalize(folder).map_err(|source| CliError::File {
        action: "read",
        path: folder.to_owned(),
        source,
    })?;
    let name = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let what = format!("the folder's name `{}`", name.escape_default());
    sanitised(&name).parse().map_err(|source| CliError::Name { what, advice, source })
}

/// The app of a folder that is plainly an app's: it says its name, or is the top of a repository.
pub(crate) fn of_project(folder: &Path) -> Option<AppName> {
    let is_top = || git::top_of(folder).is_some() && git::folder_in_repository(folder).is_none();
    if declared(folder).is_some() || is_top() { of_folder(folder, "").ok() } else { None }
}

/// `[app] name`, when the file says so.
fn declared(folder: &Path) -> Option<String> {
    let path = folder.join("dozen.toml");
    std::fs::symlink_metadata(&path).ok().filter(|about| about.is_file() && about.len() <= LIMIT)?;
    let document: toml_edit::DocumentMut = std::fs::read_to_string(path).ok()?.parse().ok()?;
    Some(document.get("app")?.get("name")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dozen_toml_names_the_app_and_the_folder_does_otherwise() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("My Site");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(of_folder(&folder, "").unwrap().as_str(), "my-site");
        std::fs::write(folder.join("dozen.toml"), "[app]\nname = \"shop\"\n").unwrap();
        assert_eq!(of_folder(&folder, "").unwrap().as_str(), "shop");
        std::fs::write(folder.join("dozen.toml"), "not toml [").unwrap();
        assert_eq!(of_folder(&folder, "").unwrap().as_str(), "my-site");
        std::fs::write(folder.join("dozen.toml"), "[app]\nname = \"No Name\"\n").unwrap();
        assert!(of_folder(&folder, "").is_err());
    }
}
