//! The dependency step of Python: packages into a virtualenv at `/app/.venv`, as a layer.
//!
//! It sees the files that decide and is cached by them; where parts of the tree itself are
//! installed, the whole tree is in the key. uv installs; copies, since a link would let an app change uv's
//! cache. Bytecode is compiled as unchecked-hash (a layer's times say nothing), by one process in
//! a fixed order, so equal input gives equal bytes.
//!
//! Start reading at [`python_dependencies`].

use std::{collections::BTreeMap, path::Path, time::Duration};

use dozen_model::digest::Digest;

use super::{
    APP, CACHE, TOOLS, VENV, base_env,
    dependencies::{Dependencies, InstallPlace, InstallSource},
    read_only, real_runtime, runtime_bin,
    session::{Session, failed},
    site_packages, writable,
};
use crate::{
    cache_key::CacheKey,
    compilers::compilers,
    error::BuildError,
    overlay_upper,
    plan::{PLAN_VERSION, PythonLock, PythonPlan},
    runtime::Installed,
    step::{AppMount, StepEnd, WalledStep},
    store::{read_json, write_json},
    tree::Tree,
    tree_removal::remove_tree,
    uv_tool::Uv,
};

/// What both Python steps need to know.
pub(crate) struct PythonStep<'a> {
    pub(crate) plan: &'a PythonPlan,
    pub(crate) runtime: &'a Installed,
    pub(crate) uv: &'a Uv,
    pub(crate) tree: &'a Tree,
    pub(crate) app_layer: &'a Digest,
}

pub(crate) fn python_dependencies(
    session: &mut Session<'_>,
    python: &PythonStep<'_>,
) -> Result<Dependencies, BuildError> {
    let mut key = session.dependency_key();
    python.add_to(&mut key)?;
    let reason = match Dependencies::cached(session, &key) {
        Ok(dependencies) => return Ok(dependencies),
        Err(reason) => reason,
    };
    session.take_tool_cache("uv")?;
    forget_other_compiles(session)?;
    let place = install(session, python)?;
    let packages = site_packages::tidy(&place.result.join(".venv"))?;
    if !place.lowers.is_empty() {
        overlay_upper::settle(&place.result, &place.lowers)?;
    }
    let (digest, lease) = session.input.store.adopt(&place.result, place.adoption())?;
    session.leases.push(lease);
    let made = Dependencies {
        layers: BTreeMap::from([(Dependencies::PRODUCTION.to_owned(), digest)]),
        warnings: python.warnings(&packages),
        cached: false,
        decision: format!("{} packages installed by uv {} ({reason})", packages.len(), python.uv.version),
    };
    made.keep(session, &key, packages.iter().any(|package| package.is_compiled_here))?;
    Ok(made)
}

impl PythonStep<'_> {
    /// What installs, and for what.
    pub(crate) fn add_tools(&self, key: &mut CacheKey) {
        key.with("tool", format!("uv {}", self.uv.version));
        key.with("runtime", format!("{} {}", self.runtime.version, self.runtime.prefix.display()));
    }

    fn add_to(&self, key: &mut CacheKey) -> Result<(), BuildError> {
        key.with("plan", format!("python {PLAN_VERSION}"));
        self.add_tools(key);
        for name in &self.plan.manifest_files {
            key.with_bytes(name.as_str(), &self.tree.read(name)?.unwrap_or_default());
        }
        if let PythonLock::Pipfile(pinned) = &self.plan.lock {
            key.with_bytes("Pipfile.lock", pinned.text.as_bytes());
        }
        if self.plan.needs_tree {
            key.with("source tree", self.app_layer.hex());
        }
        Ok(())
    }

    /// Packages that were installed but are named nowhere: the next build may get others.
    fn warnings(&self, packages: &[site_packages::Package]) -> Vec<String> {
        let PythonLock::Requirements { file, hashed: false } = &self.plan.lock else { return Vec::new() };
        let unnamed: Vec<&str> = packages
            .iter()
            .map(|package| package.name.as_str())
            .filter(|name| !self.plan.packages.contains(*name))
            .collect();
        if unnamed.is_empty() || self.plan.needs_tree {
            return Vec::new();
        }
        let more = if unnamed.len() > 8 { " and more" } else { "" };
        let names = unnamed.iter().take(8).copied().collect::<Vec<_>>().join(", ");
        vec![format!("{file} does not name {names}{more}, which were installed too (factor II)")]
    }

    /// A step of uv or Python, with `/app` as given.
    pub(crate) fn step(
        &self,
        session: &Session<'_>,
        name: &str,
        app: AppMount,
    ) -> Result<WalledStep, BuildError> {
        let uv = format!("{TOOLS}/uv");
        let mut env = base_env(&[format!("{VENV}/bin"), runtime_bin(self.runtime)]);
        let pairs = [
            ("UV_CACHE_DIR", CACHE),
            ("UV_LINK_MODE", "copy"),
            ("UV_COMPILE_BYTECODE", "0"),
            ("UV_NO_PROGRESS", "1"),
            ("UV_PYTHON_DOWNLOADS", "never"),
            ("UV_PROJECT_ENVIRONMENT", VENV),
            ("UV_SYSTEM_CERTS", "1"),
            ("VIRTUAL_ENV", VENV),
            // Debug information names folders that differ from build to build.
            ("CFLAGS", "-O2 -g0"),
            ("CXXFLAGS", "-O2 -g0"),
        ];
        env.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        env.insert("UV_PYTHON".into(), self.runtime.program.display().to_string());
        let mut binds =
            vec![read_only(&self.uv.program, uv.as_str()), writable(session.tool_cache("uv")?, CACHE)];
        binds.extend(real_runtime(self.runtime));
        session.add_network(&mut env, &mut binds)?;
        Ok(WalledStep {
            name: name.to_owned(),
            argv: vec![uv],
            env,
            app,
            binds,
            network: true,
            timeout: Duration::MAX,
            build_user: None,
        })
    }

    /// Compiles `folders` inside the walls.
    pub(crate) fn compile(
        &self,
        session: &mut Session<'_>,
        app: AppMount,
        folders: Vec<String>,
    ) -> Result<(), BuildError> {
        let mut step = self.step(session, "compile", app)?;
        step.network = false;
        step.argv = compile_command(&self.runtime.program, folders);
        let ended = session.run(step)?;
        // Status 1: a file with another Python's syntax, such as a template of code.
        match ended.end {
            StepEnd::Exited(0 | 1) => Ok(()),
            _ => Err(failed("compile", ended, None)),
        }
    }

    /// `/app/.venv/lib/python3.11/site-packages`.
    pub(crate) fn site_packages(&self) -> String {
        let [major, minor, _] = self.runtime.number().0;
        format!("{VENV}/lib/python{major}.{minor}/site-packages")
    }
}

/// Removes what uv has compiled and kept for this app, if compilers or headers are others now.
pub(crate) fn forget_other_compiles(session: &Session<'_>) -> Result<(), BuildError> {
    let folder = session.tool_cache("uv")?;
    let known = session.input.store.cache().join("compilers").join(format!("{}.json", session.input.app));
    let now = compilers();
    if read_json::<CacheKey>(&known).as_ref() == Some(&now) {
        return Ok(());
    }
    for entry in std::fs::read_dir(&folder).map_err(BuildError::io("list uv's cache"))?.flatten() {
        // uv's folder of what it built from sources; its number is the format's.
        if entry.file_name().to_string_lossy().starts_with("sdists-") {
            remove_tree(&entry.path())?;
        }
    }
    write_json(&known, &now)
}

/// Compiles without `site`, so that nothing of the app runs; one process, in sorted order.
pub(crate) fn compile_command(python: &Path, folders: Vec<String>) -> Vec<String> {
    // Warnings about the packages' own source are their authors' to read.
    let fixed =
        ["-W", "ignore", "-I", "-S", "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash"];
    let mut argv = vec![python.display().to_string()];
    argv.extend(fixed.map(str::to_owned));
    argv.extend(folders);
    argv
}

/// Runs uv; returns the place with what it made.
fn install(session: &mut Session<'_>, python: &PythonStep<'_>) -> Result<InstallPlace, BuildError> {
    let plan = python.plan;
    let (needs_tree, manifest_files) = (plan.needs_tree, plan.manifest_files.as_slice());
    let source = InstallSource { tree: python.tree, app_layer: python.app_layer, manifest_files, needs_tree };
    let InstallPlace { mount, result, lowers } = InstallPlace::make(session, &source)?;
    let requirements = match &python.plan.lock {
        PythonLock::Pipfile(pinned) => {
            // Beside the app's files only while it installs.
            std::fs::write(result.join("requirements.dozen.txt"), &pinned.text)
                .map_err(BuildError::io("write the converted lock"))?;
            Some(("requirements.dozen.txt".to_owned(), true))
        }
        PythonLock::Requirements { file, hashed } => Some((file.clone(), *hashed)),
        PythonLock::Pyproject => Some(("pyproject.toml".to_owned(), false)),
        PythonLock::Uv | PythonLock::Nothing => None,
    };
    session.give(&result)?;
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    if python.plan.lock == PythonLock::Uv {
        let mut step = python.step(session, "install", mount.clone())?;
        step.argv.extend(words("sync --locked --no-dev --no-editable --no-install-project"));
        session.run_well(step)?;
    } else {
        let mut step = python.step(session, "install", mount.clone())?;
        step.argv.extend(words(&format!("venv --no-project --quiet {VENV}")));
        session.run_well(step)?;
        if let Some((file, hashed)) = &requirements {
            let mut step = python.step(session, "install", mount.clone())?;
            step.argv.extend(words(&format!("pip install --python {VENV}/bin/python")));
            step.argv.extend(hashed.then(|| "--require-hashes".to_owned()));
            step.argv.extend(["--requirement".to_owned(), format!("{APP}/{file}")]);
            session.run_well(step)?;
        }
    }
    python.compile(session, mount.clone(), vec![python.site_packages()])?;
    if needs_tree {
        return Ok(InstallPlace { mount, result, lowers });
    }
    // Of a scratch folder only the virtualenv becomes the layer.
    let out = session.folder("dependencies-out")?;
    std::fs::rename(result.join(".venv"), out.join(".venv"))
        .map_err(BuildError::io("take the virtualenv"))?;
    Ok(InstallPlace { mount, result: out, lowers })
}
