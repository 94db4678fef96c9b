//! What the dependency steps of all languages share: their result, its cache, and where they work.
//!
//! Only the files that decide are there while packages are installed, in a folder of their own. Where
//! parts of the tree itself are installed, the whole tree is there, as a layer below.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use dozen_model::digest::Digest;

use super::session::Session;
use crate::{
    cache_key::{CacheKey, LayerCache, Lookup},
    compilers::compilers,
    error::BuildError,
    overlay_upper,
    step::AppMount,
    tree::Tree,
    tree_copy::Adoption,
};

/// The dependency layers of an app and what to say about them.
pub(crate) struct Dependencies {
    /// Layers by name; Python has one, Node may have a second for its build.
    pub(crate) layers: BTreeMap<String, Digest>,
    /// Warnings about what was installed.
    pub(crate) warnings: Vec<String>,
    /// Whether they came from the cache.
    pub(crate) cached: bool,
    /// One line for the log.
    pub(crate) decision: String,
}

impl Dependencies {
    /// The layer that the image gets.
    pub(crate) const PRODUCTION: &str = "production";

    /// The layers of the key; else why there are none.
    pub(crate) fn cached(session: &mut Session<'_>, key: &CacheKey) -> Result<Self, String> {
        match Self::cache(session).look_up(key) {
            Lookup::Hit(layers, leases, warnings) => {
                session.leases.extend(leases);
                let decision = "cached: nothing that decides about packages changed".to_owned();
                Ok(Self { layers, warnings, cached: true, decision })
            }
            Lookup::Miss(reason) => {
                session.say(&format!("installing, because {reason}"));
                Err(reason)
            }
        }
    }

    /// Remembers the layers.
    pub(crate) fn keep(
        &self,
        session: &Session<'_>,
        key: &CacheKey,
        is_compiled: bool,
    ) -> Result<(), BuildError> {
        let cache = Self::cache(session);
        cache.put(key, &self.layers, &self.warnings, is_compiled.then(compilers))
    }

    fn cache<'s>(session: &Session<'s>) -> LayerCache<'s> {
        let input = session.input;
        LayerCache::new(input.store, "dependencies", input.app.as_str())
    }
}

/// Where packages are installed.
pub(crate) struct InstallPlace {
    /// What stands at `/app`.
    pub(crate) mount: AppMount,
    /// The folder that takes what is written there.
    pub(crate) result: PathBuf,
    /// The layers below it.
    pub(crate) lowers: Vec<PathBuf>,
}

/// What an install starts from: the tree, its layer, and the files that decide.
pub(crate) struct InstallSource<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) app_layer: &'a Digest,
    pub(crate) manifest_files: &'a [String],
    pub(crate) needs_tree: bool,
}

impl InstallPlace {
    /// Makes the place; [`Session::give`] it when nothing more is put there.
    pub(crate) fn make(session: &Session<'_>, source: &InstallSource<'_>) -> Result<Self, BuildError> {
        let place = session.folder("dependencies")?;
        if !source.needs_tree {
            for name in source.manifest_files {
                copy_in(source.tree, name, &place)?;
            }
            return Ok(Self { mount: AppMount::Writable(place.clone()), result: place, lowers: Vec::new() });
        }
        let lowers = vec![session.input.store.path(source.app_layer)];
        let (result, work) = (session.folder("dependencies/upper")?, session.folder("dependencies/work")?);
        overlay_upper::prepare(&result, &lowers[0], &[])?;
        session.give(&work)?;
        let mount = AppMount::Layers { lower: lowers.clone(), upper: Some(result.clone()) };
        Ok(Self { mount, result, lowers })
    }

    /// What is allowed in the layer that is made of it.
    pub(crate) fn adoption(&self) -> Adoption {
        Adoption { whiteouts: !self.lowers.is_empty(), ..Adoption::default() }
    }
}

/// Copies one file of the tree to the same place below `folder`.
fn copy_in(tree: &Tree, name: &str, folder: &Path) -> Result<(), BuildError> {
    let Some(bytes) = tree.read(name)? else { return Ok(()) };
    let target = folder.join(name);
    if let Some(above) = target.parent() {
        std::fs::create_dir_all(above).map_err(BuildError::io("make a folder of the build"))?;
    }
    std::fs::write(target, bytes).map_err(BuildError::io("copy a file for the dependency step"))
}
