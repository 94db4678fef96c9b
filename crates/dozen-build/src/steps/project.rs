//! Installs a Python project that is itself a package, on top of its dependencies, as a layer.
//!
//! It needs the source, so it runs for each change of it; the dependencies below stay as they are.

use std::path::PathBuf;

use dozen_model::digest::Digest;
use rustix::fs::FileType;

use super::{
    by_hand::ByHand,
    python::{PythonStep, UvCache},
    session::Session,
    site_packages,
};
use crate::{
    cache_key::{LayerCache, Lookup},
    compilers::compilers,
    error::BuildError,
    overlay_upper,
    plan::PLAN_VERSION,
    step::AppMount,
    tree::Tree,
    tree_copy::Adoption,
};

pub(crate) fn install_project(
    session: &mut Session<'_>,
    python: &PythonStep<'_>,
    dependencies: &Digest,
) -> Result<Digest, BuildError> {
    let mut key = session.dependency_key();
    key.with("plan", format!("project {PLAN_VERSION}"));
    python.add_tools(&mut key);
    key.with("source tree", python.app_layer.hex());
    key.with("dependencies", dependencies.hex());
    let app = session.input.app.clone();
    let cache = LayerCache::new(session.input.store, "project", app.as_str());
    if let Lookup::Hit(layers, leases, _) = cache.look_up(&key)
        && let Some(digest) = layers.get("project")
    {
        session.leases.extend(leases);
        return Ok(digest.clone());
    }
    let store = session.input.store;
    let lower: Vec<PathBuf> = [python.app_layer, dependencies].map(|digest| store.path(digest)).to_vec();
    let (upper, work) = (session.folder("project/upper")?, session.folder("project/work")?);
    let packages = PathBuf::from(python.site_packages().trim_start_matches("/app/"));
    overlay_upper::prepare(&upper, &lower[0], &[packages.clone(), ".venv/bin".into()])?;
    session.give(&upper)?;
    session.give(&work)?;
    let mount = AppMount::Layers { lower: lower.clone(), upper: Some(upper.clone()) };
    let mut step = python.step(session, "install", mount.clone(), UvCache::OfTheBuild)?;
    step.argv.extend(["sync", "--locked", "--no-dev", "--no-editable"].map(str::to_owned));
    session.run_well(step, &ByHand::python(&python.plan.lock))?;
    // Only what this step brought: the rest is compiled.
    let new = Tree::open(&upper)?.list(packages.to_str().unwrap_or_default());
    let folders: Vec<String> = new
        .into_iter()
        .filter(|(name, kind)| *kind == FileType::Directory || name.ends_with(".py"))
        .map(|(name, _)| format!("{}/{name}", python.site_packages()))
        .collect();
    if !folders.is_empty() {
        python.compile(session, mount, folders)?;
    }
    let brought = site_packages::tidy(&upper.join(".venv"))?;
    overlay_upper::settle(&upper, &lower)?;
    let (digest, lease) = store.adopt(&upper, Adoption { whiteouts: true, ..Adoption::default() })?;
    session.leases.push(lease);
    let compiled_with = brought.iter().any(|package| package.is_compiled_here).then(compilers);
    cache.put(&key, &[("project".to_owned(), digest.clone())].into(), &[], compiled_with)?;
    Ok(digest)
}
