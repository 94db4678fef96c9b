//! Removes Pythons that builds had installed and that nothing needs any more.
//!
//! Only builds use them: an image carries a copy of its own. So what goes is installed again by the
//! next build that wants it; the promise is only that none goes while a build may be using it, and
//! that nothing goes that we did not install.
//!
//! Start reading at [`LayerStore::prune_pythons`].

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use dozen_model::image::Image;

use crate::{
    error::{BuildError, shown_path},
    runtime::OWN_PYTHONS,
    store::LayerStore,
    tree_removal::remove_tree,
};

/// The Pythons of ours that these images were built with, as [`LayerStore::prune_pythons`] takes them.
pub fn own_pythons_of<'a>(images: impl IntoIterator<Item = &'a Image>) -> BTreeSet<String> {
    let prefixes = images.into_iter().filter_map(|image| Some(image.runtime.as_ref()?.prefix.as_str()));
    let names = prefixes.filter_map(|prefix| prefix.strip_prefix(OWN_PYTHONS)?.strip_prefix('/'));
    names.map(str::to_owned).collect()
}

impl LayerStore {
    /// Removes the Pythons of ours that are not in `keep` and have been here for longer than
    /// `spare_for`, and returns their names. While a build is under way it removes none.
    pub fn prune_pythons(
        &self,
        keep: &BTreeSet<String>,
        spare_for: Duration,
    ) -> Result<Vec<String>, BuildError> {
        let Some(no_build) = self.pythons_in_use().try_write() else { return Ok(Vec::new()) };
        let mut removed = Vec::new();
        let mut doomed = Vec::new();
        for (name, path) in installed(&self.pythons())? {
            if keep.contains(&name) || !is_older(&path, spare_for) {
                continue;
            }
            let aside = self.tmp().join(format!("python-{name}"));
            let doing = || format!("remove `{}`", shown_path(&path));
            fs::rename(&path, &aside).map_err(BuildError::io(doing()))?;
            doomed.push(aside);
            removed.push(name);
        }
        // What is set aside no build can find, and the next start empties the folder.
        drop(no_build);
        doomed.iter().try_for_each(|path| remove_tree(path))?;
        Ok(removed)
    }
}

/// The folders that uv made, by name.
fn installed(folder: &Path) -> Result<Vec<(String, PathBuf)>, BuildError> {
    let entries = match fs::read_dir(folder) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(BuildError::io("list the installed Pythons"))?,
    };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let named = folders.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
    Ok(named.filter(|(name, _)| name.starts_with("cpython-")).collect())
}

/// Whether a folder came to its place longer ago than that: a rename changes the inode, and what
/// was unpacked has any other time.
fn is_older(path: &Path, than: Duration) -> bool {
    let Ok(facts) = fs::symlink_metadata(path) else { return false };
    let since = Duration::from_secs(u64::try_from(facts.ctime()).unwrap_or(0));
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + since).is_ok_and(|age| age >= than)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_python_goes_when_nobody_names_it_no_build_runs_and_it_is_no_longer_new() {
        let home = tempfile::tempdir().unwrap();
        let store = LayerStore::open(home.path()).unwrap();
        let keep = BTreeSet::from(["cpython-3.13.1-linux".to_owned()]);
        assert_eq!(store.prune_pythons(&keep, Duration::ZERO).unwrap(), [""; 0], "there is no folder yet");
        for name in ["cpython-3.13.1-linux", "cpython-3.9.25-linux", "mine"] {
            fs::create_dir_all(home.path().join("pythons").join(name).join("bin")).unwrap();
        }
        std::os::unix::fs::symlink("/usr", home.path().join("pythons/cpython-3.13")).unwrap();
        let all = names(&store.pythons());

        store.prune_pythons(&keep, Duration::from_secs(3600)).unwrap();
        assert_eq!(names(&store.pythons()), all, "it is new: the build that wanted it may be tried again");
        let build = store.use_pythons();
        store.prune_pythons(&keep, Duration::ZERO).unwrap();
        assert_eq!(names(&store.pythons()), all, "a build may be using it");
        drop(build);

        assert_eq!(store.prune_pythons(&keep, Duration::ZERO).unwrap(), ["cpython-3.9.25-linux"]);
        let left = ["cpython-3.13", "cpython-3.13.1-linux", "mine"].map(str::to_owned);
        assert_eq!(names(&store.pythons()), left.into());
        assert_eq!(names(&store.tmp()), BTreeSet::new());
    }
}
