//! The dependency step of Node: `npm ci` into `node_modules`, as one layer or two.
//!
//! With a build script there are two layers: `full`, with what only the build needs, which the
//! asset step sees, and `production`, pruned, which the image gets. Both are cached by one key.
//! Install scripts of packages run, inside the walls like everything else.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use dozen_model::digest::Digest;

use super::{
    CACHE, base_env,
    by_hand::ByHand,
    dependencies::{Dependencies, InstallPlace, InstallSource},
    real_runtime, runtime_bin,
    session::Session,
    writable,
};
use crate::{
    cache_key::CacheKey,
    compilers::has_compiled_module,
    error::BuildError,
    plan::{NodePlan, PLAN_VERSION},
    runtime::{Installed, layer::npm_of},
    step::{AppMount, WalledStep},
    tree::Tree,
    tree_removal::remove_tree,
};

/// The layer with packages that only the build needs.
pub(crate) const FULL: &str = "full";

/// What the Node steps need to know.
pub(crate) struct NodeStep<'a> {
    pub(crate) plan: &'a NodePlan,
    pub(crate) runtime: &'a Installed,
    pub(crate) tree: &'a Tree,
    pub(crate) app_layer: &'a Digest,
}

pub(crate) fn node_dependencies(
    session: &mut Session<'_>,
    node: &NodeStep<'_>,
) -> Result<Dependencies, BuildError> {
    let npm = node.npm()?;
    let mut key = session.dependency_key();
    node.add_to(&mut key, &npm)?;
    let reason = match Dependencies::cached(session, &key) {
        Ok(dependencies) => return Ok(dependencies),
        Err(reason) => reason,
    };
    let layers = install(session, node)?;
    let mut is_compiled = false;
    for digest in layers.values() {
        is_compiled |= has_compiled_module(&session.input.store.facts(digest)?);
    }
    let decision = format!("packages installed by npm ({reason})");
    let made = Dependencies { layers, warnings: Vec::new(), cached: false, decision };
    made.keep(session, &key, is_compiled)?;
    Ok(made)
}

impl NodeStep<'_> {
    /// npm's own program; Debian keeps it elsewhere.
    fn npm(&self) -> Result<PathBuf, BuildError> {
        let places = [npm_of(self.runtime), PathBuf::from("/usr/share/nodejs/npm")];
        let found = places.into_iter().map(|place| place.join("bin/npm-cli.js")).find(|path| path.is_file());
        found.ok_or_else(|| BuildError::ToolMissing {
            tool: "npm".into(),
            reason: format!("it is not beside Node {}", self.runtime.version),
        })
    }

    fn add_to(&self, key: &mut CacheKey, npm: &Path) -> Result<(), BuildError> {
        key.with("plan", format!("node {PLAN_VERSION}"));
        key.with("runtime", format!("{} {}", self.runtime.version, self.runtime.prefix.display()));
        let package = npm.parent().and_then(Path::parent).map(|folder| folder.join("package.json"));
        let facts = package.and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let version = serde_json::from_slice::<serde_json::Value>(&facts).unwrap_or_default();
        key.with("tool", format!("npm {}", version["version"].as_str().unwrap_or("unknown")));
        for name in &self.plan.manifest_files {
            let bytes = self.tree.read(name)?.unwrap_or_default();
            // Of `package.json` only what installs: a changed script or version is no reason.
            let part = if name == "package.json" { installing_part(&bytes) } else { bytes };
            key.with_bytes(name.as_str(), &part);
        }
        key.with("build script", self.plan.has_build().to_string());
        if self.plan.needs_tree {
            key.with("source tree", self.app_layer.hex());
        }
        Ok(())
    }

    /// A step of npm: its arguments follow the program.
    pub(crate) fn step(
        &self,
        session: &Session<'_>,
        name: &str,
        app: AppMount,
    ) -> Result<WalledStep, BuildError> {
        let mut env = base_env(&["/app/node_modules/.bin".to_owned(), runtime_bin(self.runtime)]);
        // npm compares what it takes from its cache with the lock's hashes. Without a lock it takes
        // what lies there, which a script of a package may have written: see `UvCache`.
        let cache = if self.plan.locked { session.tool_cache("npm")? } else { session.own_cache("npm")? };
        let settings = [
            ("npm_config_cache", CACHE),
            ("npm_config_audit", "false"),
            ("npm_config_fund", "false"),
            ("npm_config_update_notifier", "false"),
            ("npm_config_progress", "false"),
        ];
        env.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut binds = vec![writable(cache, CACHE)];
        binds.extend(real_runtime(self.runtime));
        session.add_network(&mut env, &mut binds)?;
        let argv = vec![self.runtime.program.display().to_string(), self.npm()?.display().to_string()];
        let (name, timeout) = (name.to_owned(), Duration::MAX);
        Ok(WalledStep { name, argv, env, app, binds, network: true, timeout, build_user: None })
    }
}

/// The sections of `package.json` that `npm ci` reads.
fn installing_part(package_json: &[u8]) -> Vec<u8> {
    let json: serde_json::Value = serde_json::from_slice(package_json).unwrap_or_default();
    let sections = [
        "dependencies",
        "devDependencies",
        "optionalDependencies",
        "peerDependencies",
        "overrides",
        "bundleDependencies",
        "workspaces",
        "engines",
    ];
    let kept: BTreeMap<&str, &serde_json::Value> =
        sections.into_iter().map(|name| (name, &json[name])).collect();
    serde_json::to_vec(&kept).unwrap_or_default()
}

fn install(session: &mut Session<'_>, node: &NodeStep<'_>) -> Result<BTreeMap<String, Digest>, BuildError> {
    session.take_tool_cache("npm")?;
    forget_unchecked(session)?;
    let plan = node.plan;
    let (needs_tree, manifest_files) = (plan.needs_tree, plan.manifest_files.as_slice());
    let source = InstallSource { tree: node.tree, app_layer: node.app_layer, manifest_files, needs_tree };
    let place = InstallPlace::make(session, &source)?;
    session.give(&place.result)?;
    let by_hand = ByHand::node(plan);
    let verb = if node.plan.locked { "ci" } else { "install" };
    let with_build = node.plan.has_build();
    let mut step = node.step(session, "install", place.mount.clone())?;
    step.argv.extend([verb.to_owned(), (if with_build { "--include=dev" } else { "--omit=dev" }).to_owned()]);
    session.run_well(step, &by_hand)?;
    let mut layers = BTreeMap::new();
    if with_build {
        layers.insert(FULL.to_owned(), adopt_modules(session, &place, "full-out")?);
        let mut step = node.step(session, "prune", place.mount.clone())?;
        step.argv.extend(["prune".to_owned(), "--omit=dev".to_owned()]);
        session.run_well(step, &by_hand)?;
    }
    layers.insert(Dependencies::PRODUCTION.to_owned(), adopt_modules(session, &place, "production-out")?);
    Ok(layers)
}

/// Removes what scripts keep beside npm's own cache, such as prebuilt modules: nobody compares it
/// with a hash, and another build's scripts may have written it.
fn forget_unchecked(session: &Session<'_>) -> Result<(), BuildError> {
    let folder = session.tool_cache("npm")?;
    for entry in std::fs::read_dir(folder).map_err(BuildError::io("list npm's cache"))?.flatten() {
        if entry.file_name() != "_cacache" {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Makes a layer of `node_modules`, or of all that was written over the tree.
fn adopt_modules(session: &mut Session<'_>, place: &InstallPlace, out: &str) -> Result<Digest, BuildError> {
    let store = session.input.store;
    let (digest, lease) = if place.lowers.is_empty() {
        let (out, modules) = (session.folder(out)?, place.result.join("node_modules"));
        let moved = out.join("node_modules");
        if modules.is_dir() {
            std::fs::rename(&modules, &moved).map_err(BuildError::io("take `node_modules`"))?;
        }
        let adopted = store.adopt(&out, place.adoption())?;
        if moved.is_dir() {
            // Pruning goes on from it.
            std::fs::rename(&moved, &modules).map_err(BuildError::io("put `node_modules` back"))?;
        }
        adopted
    } else {
        store.adopt(&place.result, place.adoption())?
    };
    session.leases.push(lease);
    Ok(digest)
}
