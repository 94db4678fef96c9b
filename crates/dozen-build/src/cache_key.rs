//! The key of a cached layer: named parts, so that a miss can say which of them changed.
//!
//! A part's value is a digest or a short text; values of the environment enter as digests only.
//! What only a compile depends on is kept beside the key, and asked for where something was compiled.

use std::{collections::BTreeMap, fs, path::PathBuf};

use dozen_model::{digest::Digest, names::AppName};
use serde::{Deserialize, Serialize};

use crate::{
    compilers::compilers,
    error::BuildError,
    store::{LayerStore, Lease, read_json, write_json},
    tree_removal::remove_tree,
};

/// What a cached layer depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct CacheKey(BTreeMap<String, String>);

impl CacheKey {
    /// Adds a part whose value may be shown.
    pub(crate) fn with(&mut self, part: impl Into<String>, value: impl Into<String>) {
        self.0.insert(part.into(), value.into());
    }

    /// Adds a part by its digest.
    pub(crate) fn with_bytes(&mut self, part: impl Into<String>, bytes: &[u8]) {
        self.with(part, Digest::of(bytes).hex());
    }

    fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(&self.0).unwrap_or_default())
    }

    /// The names of the parts that differ.
    fn changed_since(&self, before: &Self) -> Vec<String> {
        let names = self.0.keys().chain(before.0.keys());
        let mut changed: Vec<String> =
            names.filter(|name| self.0.get(*name) != before.0.get(*name)).cloned().collect();
        changed.sort();
        changed.dedup();
        changed
    }
}

/// The kinds of cached layers, each a folder of the caches.
const KINDS: [&str; 3] = ["dependencies", "project", "assets"];

/// The part of each key that is the app's name.
pub(crate) const APP_PART: &str = "app";

/// Forgets which layers an app's builds had: a later app of that name begins anew.
pub(crate) fn forget_layers(store: &LayerStore, app: &AppName) -> Result<(), BuildError> {
    for kind in KINDS {
        let folder = store.cache().join(kind);
        for path in fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let entry = read_json::<Entry>(&path);
            if entry.is_some_and(|entry| entry.key.0.get(APP_PART).is_some_and(|of| of == app.as_str())) {
                remove_tree(&path)?;
            }
        }
        remove_tree(&folder.join("last").join(format!("{app}.json")))?;
    }
    Ok(())
}

/// One kind of cached layers, of one app.
pub(crate) struct LayerCache<'a> {
    store: &'a LayerStore,
    kind: &'static str,
    app: &'a str,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    key: CacheKey,
    layers: BTreeMap<String, Digest>,
    notes: Vec<String>,
    /// The compilers of then, where something was compiled.
    #[serde(default)]
    compiled_with: Option<CacheKey>,
}

/// What the cache answers.
pub(crate) enum Lookup {
    /// The layers by name, kept by leases, and what was noted when they were made.
    Hit(BTreeMap<String, Digest>, Vec<Lease>, Vec<String>),
    /// Why there is none, as words.
    Miss(String),
}

impl<'a> LayerCache<'a> {
    pub(crate) fn new(store: &'a LayerStore, kind: &'static str, app: &'a str) -> Self {
        debug_assert!(KINDS.contains(&kind), "{kind} is not forgotten with the app");
        Self { store, kind, app }
    }

    pub(crate) fn look_up(&self, key: &CacheKey) -> Lookup {
        if let Some(entry) = read_json::<Entry>(&self.entry_path(key)).filter(|entry| entry.key == *key) {
            let changed = entry.compiled_with.map(|before| compilers().changed_since(&before));
            if let Some(changed) = changed.filter(|changed| !changed.is_empty()) {
                return Lookup::Miss(format!("for what is compiled, changed: {}", listed(&changed)));
            }
            let leases: Vec<Lease> = entry.layers.values().map(|digest| self.store.lease(digest)).collect();
            if entry.layers.values().all(|digest| self.store.has(digest)) {
                entry.layers.values().for_each(|digest| self.store.touch(digest));
                return Lookup::Hit(entry.layers, leases, entry.notes);
            }
            return Lookup::Miss("the cached layer was pruned".into());
        }
        let Some(before) = read_json::<CacheKey>(&self.last_path()) else {
            return Lookup::Miss("nothing is cached yet".into());
        };
        let changed = key.changed_since(&before);
        Lookup::Miss(if changed.is_empty() {
            "the cached layer was pruned".into()
        } else {
            format!("changed: {}", listed(&changed))
        })
    }

    /// Remembers layers; with the compilers where something in them was compiled.
    pub(crate) fn put(
        &self,
        key: &CacheKey,
        layers: &BTreeMap<String, Digest>,
        notes: &[String],
        compiled_with: Option<CacheKey>,
    ) -> Result<(), BuildError> {
        let (layers, notes) = (layers.clone(), notes.to_vec());
        let entry = Entry { key: key.clone(), layers, notes, compiled_with };
        write_json(&self.entry_path(key), &entry)?;
        write_json(&self.last_path(), key)
    }

    fn entry_path(&self, key: &CacheKey) -> PathBuf {
        self.store.cache().join(self.kind).join(format!("{}.json", key.digest().hex()))
    }

    fn last_path(&self) -> PathBuf {
        self.store.cache().join(self.kind).join("last").join(format!("{}.json", self.app))
    }
}

/// The first few names, and how many more there are.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_destroyed_app_built_is_used_for_no_later_one() {
        let home = tempfile::tempdir().unwrap();
        let store = LayerStore::open(home.path()).unwrap();
        for kind in KINDS {
            let asked = ["one", "two"].map(|app| {
                let mut key = CacheKey::default();
                key.with(APP_PART, app);
                (LayerCache::new(&store, kind, app), key)
            });
            for (cache, key) in &asked {
                cache.put(key, &BTreeMap::new(), &[], None).unwrap();
            }
            store.forget_app(&"one".parse().unwrap()).unwrap();
            let is_known = asked.map(|(cache, key)| matches!(cache.look_up(&key), Lookup::Hit(..)));
            assert_eq!(is_known, [false, true], "{kind}");
            assert!(!home.path().join("cache").join(kind).join("last/one.json").exists());
        }
    }

    #[test]
    fn a_miss_names_the_parts_that_changed() {
        let mut before = CacheKey::default();
        before.with("lock", "a");
        before.with("runtime", "3.11.7");
        let mut after = before.clone();
        after.with("lock", "b");
        after.with("index settings", "x");
        assert_eq!(after.changed_since(&before), ["index settings", "lock"]);
        assert_ne!(after.digest(), before.digest());
    }
}
