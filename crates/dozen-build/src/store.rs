//! The layer store: read-only directory trees, each named by the digest of what is in it.
//!
//! ```text
//! HOME/layers/HEX/       a tree: files 0444 or 0555, folders 0555, one fixed time
//! HOME/layers/HEX.json   its size and the shared libraries in it; its own time is the last use
//! HOME/images/HEX.json   an image's manifest
//! HOME/pythons/          Pythons that builds had installed
//! HOME/tmp/              what is being made; emptied by open
//! ```
//!
//! The promise: a name in `layers` or `images` stands for a complete, synced tree or file. Work is
//! done in `tmp` and renamed, so a kill at any moment leaves nothing half made. A build's result is
//! copied in by the store's owner, never linked: no build or app can write a file of the store.
//!
//! One process uses a store at a time; the home's lock is the caller's matter.
//!
//! Start reading at [`LayerStore::adopt`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use dozen_model::{digest::Digest, image::Image, names::AppName};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use rustix::fs::{Mode, OFlags, RenameFlags};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    cache_key::forget_layers,
    elf::ElfFile,
    error::{BuildError, shown_path},
    tree::Tree,
    tree_copy::{Adoption, TreeCopy},
    tree_removal::remove_tree,
};

/// Tools that have a download cache for each app.
const TOOLS: [&str; 2] = ["uv", "npm"];

/// What is known of a layer without reading its tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerFacts {
    /// Bytes of all files.
    pub bytes: u64,
    /// Files, folders and links.
    pub entries: u64,
    /// The programs and shared libraries in it.
    pub elf_files: Vec<ElfFile>,
    /// Whether there were more than are kept.
    #[serde(default)]
    pub has_more_elf_files: bool,
}

/// What [`LayerStore::prune`] removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The layers.
    pub removed: Vec<Digest>,
    /// Their bytes.
    pub bytes: u64,
}

/// The store of layers and images below one home.
#[derive(Debug, Clone)]
pub struct LayerStore {
    home: PathBuf,
    leases: Arc<Mutex<BTreeMap<Digest, u32>>>,
    pythons_in_use: Arc<RwLock<()>>,
}

/// Keeps one layer from being pruned while it lives.
#[derive(Debug)]
pub struct Lease {
    digest: Digest,
    leases: Arc<Mutex<BTreeMap<Digest, u32>>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut leases = self.leases.lock();
        if let Some(count) = leases.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                leases.remove(&self.digest);
            }
        }
    }
}

impl LayerStore {
    /// Opens the store, makes its folders, and removes what an earlier process left half made.
    pub fn open(home: &Path) -> Result<Self, BuildError> {
        let store = Self { home: home.to_owned(), leases: Arc::default(), pythons_in_use: Arc::default() };
        for folder in ["layers", "images", "tmp", "cache"] {
            let path = home.join(folder);
            let doing = || format!("make `{}`", shown_path(&path));
            let is_new = !path.exists();
            fs::create_dir_all(&path).map_err(BuildError::io(doing()))?;
            // Source code and packages are nobody's business but the owner's; a build user reaches
            // what it needs through its mounts. Who else may read layers that are there is the
            // home's to decide: a router may be reading them in this moment.
            if is_new || folder != "layers" {
                set_mode(&path, 0o700)?;
            }
        }
        let tmp = store.tmp();
        for entry in fs::read_dir(&tmp).map_err(BuildError::io("list `tmp`"))?.flatten() {
            // Without it the server would not start; it is tried again the next time.
            if let Err(error) = remove_tree(&entry.path()) {
                tracing::warn!(%error, "what an earlier build left stays until the next start");
            }
        }
        store.remove_orphans();
        Ok(store)
    }

    /// The folder for what is being made; on the same file system as the layers.
    pub fn tmp(&self) -> PathBuf {
        self.home.join("tmp")
    }

    /// The folder of caches.
    pub fn cache(&self) -> PathBuf {
        self.home.join("cache")
    }

    /// The folder of Pythons that builds had installed.
    pub fn pythons(&self) -> PathBuf {
        self.home.join("pythons")
    }

    /// Keeps the Pythons there that are there, for a build.
    pub(crate) fn use_pythons(&self) -> RwLockReadGuard<'_, ()> {
        self.pythons_in_use.read()
    }

    /// Read by each build, written by whoever removes one.
    pub(crate) fn pythons_in_use(&self) -> &RwLock<()> {
        &self.pythons_in_use
    }

    /// Removes what only builds of this app use: its download caches, and which layers it had built.
    pub fn forget_app(&self, app: &AppName) -> Result<(), BuildError> {
        for tool in TOOLS {
            remove_tree(&self.cache().join(tool).join(app.as_str()))?;
        }
        forget_layers(self, app)
    }

    /// Where a layer's tree is; whether it is there is [`LayerStore::has`]'s question.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.home.join("layers").join(digest.hex())
    }

    /// Whether the store has the layer.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_dir() && self.facts_path(digest).is_file()
    }

    /// Keeps the layer until the lease is dropped.
    pub fn lease(&self, digest: &Digest) -> Lease {
        *self.leases.lock().entry(digest.clone()).or_default() += 1;
        Lease { digest: digest.clone(), leases: Arc::clone(&self.leases) }
    }

    /// Copies `tree` in and returns its name; a layer that is there already is used.
    pub fn adopt(&self, tree: &Path, adoption: Adoption) -> Result<(Digest, Lease), BuildError> {
        let staging = tempfile::Builder::new()
            .prefix("layer-")
            .tempdir_in(self.tmp())
            .map_err(BuildError::io("make a folder in `tmp`"))?
            .keep();
        let result = self.adopt_into(tree, &staging, adoption);
        // Gone when it became the layer.
        let _ = remove_tree(&staging);
        result
    }

    /// As [`LayerStore::adopt`], for a tree that is most often what it was the last time: it is read
    /// first, and copied only where it is new.
    pub fn adopt_if_new(&self, tree: &Path, adoption: Adoption) -> Result<(Digest, Lease), BuildError> {
        let mut reading = TreeCopy::new(adoption);
        reading.read(Tree::open(tree)?.root())?;
        let (digest, _) = reading.finish();
        // From here on nobody prunes it.
        let lease = self.lease(&digest);
        if !self.has(&digest) {
            return self.adopt(tree, adoption);
        }
        self.keep(&digest)?;
        Ok((digest, lease))
    }

    /// Uses a layer that is there: whoever made it may have been killed before its last line.
    fn keep(&self, digest: &Digest) -> Result<(), BuildError> {
        set_mode(&self.path(digest), 0o555)?;
        self.touch(digest);
        Ok(())
    }

    fn adopt_into(
        &self,
        tree: &Path,
        staging: &Path,
        adoption: Adoption,
    ) -> Result<(Digest, Lease), BuildError> {
        let source = Tree::open(tree)?;
        let target = open_folder(staging)?;
        let mut copy = TreeCopy::new(adoption);
        copy.copy(source.root(), target.as_fd())?;
        let (digest, facts) = copy.finish();
        let lease = self.lease(&digest);
        if self.has(&digest) {
            self.keep(&digest)?;
            return Ok((digest, lease));
        }
        // One call for the whole file system: a sync for each of thousands of files takes minutes.
        rustix::fs::syncfs(&target).map_err(BuildError::os("write the layer to disk"))?;
        write_json(&self.facts_path(&digest), &facts)?;
        let (here, path) = (rustix::fs::CWD, self.path(&digest));
        // Instances run as other users; from its first moment on the layer can be entered.
        set_mode(staging, 0o755)?;
        match rustix::fs::renameat_with(here, staging, here, &path, RenameFlags::NOREPLACE) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(BuildError::os("name the layer")(errno)),
        }
        // Only now: a folder that its owner cannot write cannot be moved by an ordinary user.
        set_mode(&path, 0o555)?;
        sync_folder(&self.home.join("layers"))?;
        Ok((digest, lease))
    }

    /// What is known of a layer.
    pub fn facts(&self, digest: &Digest) -> Result<LayerFacts, BuildError> {
        let damaged = || BuildError::DamagedLayer { digest: digest.clone() };
        read_json(&self.facts_path(digest)).ok_or_else(damaged)
    }

    /// Reads the whole layer and compares it with its name.
    pub fn verify(&self, digest: &Digest) -> Result<(), BuildError> {
        let damaged = || BuildError::DamagedLayer { digest: digest.clone() };
        let tree = Tree::open(&self.path(digest)).map_err(|_| damaged())?;
        let mut copy = TreeCopy::new(Adoption { whiteouts: true, ..Adoption::default() });
        copy.read(tree.root()).map_err(|_| damaged())?;
        if copy.finish().0 == *digest { Ok(()) } else { Err(damaged()) }
    }

    /// Notes that the layer was used now.
    pub(crate) fn touch(&self, digest: &Digest) {
        // Only the order of pruning depends on it.
        if let Ok(file) = fs::File::options().append(true).open(self.facts_path(digest)) {
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// Removes layers that are not in `keep`, the longest unused first, until those that stay
    /// besides `keep` have at most `budget` bytes. A leased layer stays.
    pub fn prune(&self, keep: &BTreeSet<Digest>, budget: u64) -> Result<Pruned, BuildError> {
        let mut spare: Vec<(SystemTime, Digest, u64)> = Vec::new();
        for digest in self.layers()? {
            if keep.contains(&digest) {
                continue;
            }
            let used = fs::metadata(self.facts_path(&digest)).and_then(|facts| facts.modified());
            let bytes = self.facts(&digest).map_or(0, |facts| facts.bytes);
            spare.push((used.unwrap_or(SystemTime::UNIX_EPOCH), digest, bytes));
        }
        spare.sort();
        let mut held: u64 = spare.iter().map(|(_, _, bytes)| bytes).sum();
        let mut pruned = Pruned::default();
        for (_, digest, bytes) in spare {
            if held <= budget {
                break;
            }
            if self.remove(&digest)? {
                held -= bytes;
                pruned.bytes += bytes;
                pruned.removed.push(digest);
            }
        }
        Ok(pruned)
    }

    /// Removes one layer unless it is leased.
    fn remove(&self, digest: &Digest) -> Result<bool, BuildError> {
        let doomed = self.tmp().join(format!("pruned-{}", digest.hex()));
        {
            // Held over the rename: a build that takes a lease meanwhile would find the layer gone.
            let leases = self.leases.lock();
            if leases.contains_key(digest) {
                return Ok(false);
            }
            let path = self.path(digest);
            set_mode(&path, 0o755)?;
            fs::rename(&path, &doomed).map_err(BuildError::io("take a layer out of the store"))?;
            let _ = fs::remove_file(self.facts_path(digest));
        }
        remove_tree(&doomed)?;
        Ok(true)
    }

    /// The names of all layers.
    pub fn layers(&self) -> Result<Vec<Digest>, BuildError> {
        let folder = self.home.join("layers");
        let entries = fs::read_dir(folder).map_err(BuildError::io("list the layers"))?.flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter_map(|name| format!("sha256:{name}").parse().ok()).collect())
    }

    /// Stores an image's manifest under its digest; one that is there but damaged is replaced.
    pub fn put_image(&self, image: &Image) -> Result<Digest, BuildError> {
        let digest = image.digest();
        let path = self.image_path(&digest);
        if self.image(&digest).is_none() {
            write_synced(&path, &image.canonical())?;
        }
        Ok(digest)
    }

    /// The image of that name, or `None`; one whose content does not match its name counts as gone.
    pub fn image(&self, digest: &Digest) -> Option<Image> {
        let bytes = fs::read(self.image_path(digest)).ok()?;
        if Digest::of(&bytes) == *digest { serde_json::from_slice(&bytes).ok() } else { None }
    }

    /// The names of all images.
    pub fn images(&self) -> Result<Vec<Digest>, BuildError> {
        let folder = self.home.join("images");
        let entries = fs::read_dir(folder).map_err(BuildError::io("list the images"))?.flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter_map(|name| format!("sha256:{}", name.strip_suffix(".json")?).parse().ok()).collect())
    }

    /// Removes an image's manifest unless a build holds one of its layers: it may have written that
    /// image in this moment, and nobody names it yet.
    pub fn remove_unleased_image(&self, digest: &Digest) -> Result<(), BuildError> {
        let layers = self.image(digest).map(|image| image.layers).unwrap_or_default();
        // Held over the removal: a build leases its layers before it writes its image.
        let leases = self.leases.lock();
        if layers.iter().any(|layer| leases.contains_key(&layer.digest)) {
            return Ok(());
        }
        self.remove_image(digest)
    }

    /// Removes an image's manifest; its layers go when [`LayerStore::prune`] is next called.
    pub fn remove_image(&self, digest: &Digest) -> Result<(), BuildError> {
        match fs::remove_file(self.image_path(digest)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(BuildError::io("remove an image")(error))
            }
            _ => Ok(()),
        }
    }

    fn image_path(&self, digest: &Digest) -> PathBuf {
        self.home.join("images").join(format!("{}.json", digest.hex()))
    }

    fn facts_path(&self, digest: &Digest) -> PathBuf {
        self.home.join("layers").join(format!("{}.json", digest.hex()))
    }

    /// Facts without a layer: the process died between the two.
    fn remove_orphans(&self) {
        for entry in fs::read_dir(self.home.join("layers")).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|end| end == "json") && !path.with_extension("").is_dir() {
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn open_folder(path: &Path) -> Result<std::os::fd::OwnedFd, BuildError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(BuildError::os(format!("open `{}`", shown_path(path))))
}

pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<(), BuildError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(BuildError::io(format!("set the mode of `{}`", shown_path(path))))
}

fn sync_folder(path: &Path) -> Result<(), BuildError> {
    fs::File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(BuildError::io("write a folder to disk"))
}

/// Writes a file so that after a crash there is the old one, none, or the whole new one.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let doing = || format!("write `{}`", shown_path(path));
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(BuildError::io(doing()))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(BuildError::io(doing()))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(BuildError::io(doing()))?;
    file.persist(path).map_err(|error| BuildError::io(doing())(error.error))?;
    sync_folder(folder)
}

pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), BuildError> {
    let bytes = serde_json::to_vec(value)
        .map_err(|error| BuildError::io(format!("write `{}`", shown_path(path)))(error.into()))?;
    write_synced(path, &bytes)
}

/// A file of ours, or `None` when it is not there or not understood: then it is made anew.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
