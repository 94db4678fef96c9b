//! The result of a build: a small manifest that names layers by digest.
//!
//! A layer is a read-only directory tree; layers are shared by images. An image is never
//! edited: its name is the digest of its manifest, so the same input gives the same name.
//! Nothing that differs between two builds of one input belongs here (no times, no commit, no
//! host name); the build's record in the store keeps those.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{digest::Digest, manifest::AppManifest, names::ProcessType};

/// An image: what to mount, what to run, what the app declared about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Version of this format, [`Image::FORMAT`].
    pub format: u32,
    /// Machine architecture the layers were built for, such as `x86_64`.
    pub arch: String,
    /// The language whose plan built it.
    pub language: Language,
    /// The language runtime, absent for a static site or a Procfile of plain executables.
    pub runtime: Option<Runtime>,
    /// Layers, lowest first.
    pub layers: Vec<Layer>,
    /// Process types and their command lines, as the Procfile says (or as the build chose);
    /// `release` is not among them.
    pub processes: BTreeMap<ProcessType, String>,
    /// The `release:` line.
    pub release_command: Option<String>,
    /// Environment that the layers need (`PATH`, `VIRTUAL_ENV` …); config vars win over it.
    pub env: BTreeMap<String, String>,
    /// What the app declared in `dozen.toml` or `app.json`.
    pub manifest: AppManifest,
    /// The folder below `/app` that the router serves itself (a static site), `.` for the root.
    pub static_root: Option<String>,
    /// Whether a Django project was recognised, for hints.
    #[serde(default)]
    pub django: bool,
    /// Whether that project has migrations of its own or of its packages to apply.
    #[serde(default)]
    pub has_migrations: bool,
}

impl Image {
    /// The format this version writes and reads.
    pub const FORMAT: u32 = 1;

    /// The manifest's canonical bytes: what is stored and what the digest is taken of.
    ///
    /// Maps are ordered and there are no floats, so equal images give equal bytes.
    pub fn canonical(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an image has string keys only")
    }

    /// The image's name.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.canonical())
    }
}

/// The language whose plan built an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// CPython and its packages.
    Python,
    /// Node.js and npm packages.
    Node,
    /// Files that the router serves itself.
    Static,
    /// Executables in the tree, started by a Procfile.
    Procfile,
}

/// The language runtime that an image carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// `python` or `node`.
    pub name: String,
    /// Exact version, such as `3.11.7`.
    pub version: String,
    /// Where it is mounted inside the walls: the prefix it was built for.
    pub prefix: String,
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// What the layer holds.
    pub role: LayerRole,
    /// Its name in the layer store.
    pub digest: Digest,
    /// Absolute paths inside the walls at which the layer's tree is mounted, each the same path
    /// below the layer's root; empty for a layer of the `/app` overlay.
    pub mounts: Vec<String>,
}

/// What a layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerRole {
    /// The language runtime, mounted at its own prefix.
    Runtime,
    /// The app's source tree, the lowest part of `/app`.
    App,
    /// Installed packages: `.venv` or `node_modules`, part of `/app`.
    Dependencies,
    /// What the asset step wrote: collected static files, bundles; the top of `/app`.
    Assets,
}
