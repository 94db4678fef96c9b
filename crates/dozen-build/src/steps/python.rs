//! The dependency step of Python: packages into a virtualenv at `/app/.venv`, as a layer.
//!
//! It sees the files that decide and is cached by them; where parts of the tree itself are
//! installed, the whole tree is in the key. uv installs; copies, since a link would let an app change uv's
//! cache. What a package's own code could write to is used by no later build: see [`UvCache`].
//! Bytecode is compiled as unchecked-hash (a layer's times say nothing), by one process in a fixed
//! order, so equal input gives equal bytes.
//!
//! Start reading at [`python_dependencies`].

use std::{collections::BTreeMap, path::Path, time::Duration};

use dozen_model::digest::Digest;

use super::{
    APP, CACHE, TOOLS, VENV, base_env,
    by_hand::ByHand,
    dependencies::{Dependencies, InstallPlace, InstallSource},
    read_only, real_runtime, runtime_bin,
    session::{Session, failed},
    site_packages, writable,
};
use crate::{
    cache_key::CacheKey,
    error::BuildError,
    overlay_upper,
    plan::{PLAN_VERSION, PythonLock, PythonPlan},
    runtime::Installed,
    step::{AppMount, StepEnd, WalledStep},
    tree::Tree,
    uv_tool::Uv,
};

/// Where uv keeps what it fetches.
///
/// uv takes what lies unpacked in its cache without comparing it with a hash again, so whoever can
/// write there decides what later builds install, of other stages as well. Code of a package or of
/// the app runs only where something is built from its source; `--no-build` keeps uv from that.
#[derive(Debug, Clone, Copy)]
pub(crate) enum UvCache {
    /// The app's own, for a step in which nothing but uv and the runtime runs.
    OfTheApp,
    /// One that ends with the build, for every other step.
    OfTheBuild,
}

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
        decision: format!("{} installed by uv {} ({reason})", counted(packages.len()), python.uv.version),
    };
    made.keep(session, &key, packages.iter().any(|package| package.is_compiled_here))?;
    Ok(made)
}

fn counted(packages: usize) -> String {
    if packages == 1 { "1 package".to_owned() } else { format!("{packages} packages") }
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
        cache: UvCache,
    ) -> Result<WalledStep, BuildError> {
        let uv = format!("{TOOLS}/uv");
        let mut env = base_env(&[format!("{VENV}/bin"), runtime_bin(self.runtime)]);
        // At one place: some programs keep the path that they are compiled in.
        let cache = match cache {
            UvCache::OfTheApp => session.tool_cache("uv")?,
            UvCache::OfTheBuild => session.own_cache("uv")?,
        };
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
        let mut binds = vec![read_only(&self.uv.program, uv.as_str()), writable(cache, CACHE)];
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
        let mut step = self.step(session, "compile", app, UvCache::OfTheBuild)?;
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
    let by_hand = ByHand::python(&plan.lock);
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let arguments = match &requirements {
        _ if python.plan.lock == PythonLock::Uv => {
            words("sync --locked --no-dev --no-editable --no-install-project")
        }
        None => Vec::new(),
        Some((file, hashed)) => {
            let mut arguments = words(&format!("pip install --python {VENV}/bin/python"));
            arguments.extend(hashed.then(|| "--require-hashes".to_owned()));
            arguments.extend(["--requirement".to_owned(), format!("{APP}/{file}")]);
            arguments
        }
    };
    if python.plan.lock != PythonLock::Uv {
        let mut step = python.step(session, "install", mount.clone(), UvCache::OfTheBuild)?;
        step.argv.extend(words(&format!("venv --no-project --quiet {VENV}")));
        session.run_well(step, &by_hand)?;
    }
    if !arguments.is_empty() {
        run_install(session, python, &mount, &arguments)?;
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

/// Installs from wheels alone where that will do, else whatever it takes.
fn run_install(
    session: &mut Session<'_>,
    python: &PythonStep<'_>,
    mount: &AppMount,
    arguments: &[String],
) -> Result<(), BuildError> {
    if !may_build(python)? {
        let mut step = python.step(session, "install", mount.clone(), UvCache::OfTheApp)?;
        step.argv.extend_from_slice(arguments);
        step.argv.push("--no-build".to_owned());
        let ended = session.run(step)?;
        if ended.is_well() {
            return Ok(());
        }
        let is_build = |line: &String| NO_BUILD.iter().any(|words| line.contains(words));
        if !ended.tail.iter().any(is_build) {
            let by_hand = ByHand::python(&python.plan.lock);
            let advice = by_hand.advice(&ended.tail);
            return Err(failed("install", ended, advice).done_by_hand_with(&by_hand.install));
        }
        session.say("a package is built from its source: once more, with a cache that ends with this build");
    }
    let mut step = python.step(session, "install", mount.clone(), UvCache::OfTheBuild)?;
    step.argv.extend_from_slice(arguments);
    session.run_well(step, &ByHand::python(&python.plan.lock))
}

/// What uv says when only a build would help.
const NO_BUILD: [&str; 2] = ["--no-build", "Building source distributions"];

/// Whether something may run in spite of `--no-build`: in a step that has the tree, whose `.venv`
/// and settings are the app's, or where a file names packages that are to be built all the same.
fn may_build(python: &PythonStep<'_>) -> Result<bool, BuildError> {
    let mut files = vec![match &python.plan.lock {
        PythonLock::Pipfile(pinned) => pinned.text.clone().into_bytes(),
        _ => Vec::new(),
    }];
    for name in &python.plan.manifest_files {
        files.extend(python.tree.read(name)?);
    }
    Ok(python.plan.needs_tree || files.iter().any(|text| names_builds(text)))
}

/// Whether a file may have the setting `no-binary`, also in a form that hides it.
fn names_builds(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text).to_lowercase().replace('_', "-");
    let text = text.replace("\\\r\n", "").replace("\\\n", "");
    ["no-binary", "\\u", "\\x"].iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_packages_built_is_known() {
        for text in [
            "--no-binary docopt",
            "a==1 \\\n --no-bin\\\nary b",
            "[tool.uv]\nno-binary-package = [\"a\"]",
            "[tool.uv]\n\"no\\u002dbinary\" = true",
            "NO_BINARY=1",
        ] {
            assert!(names_builds(text.as_bytes()), "{text}");
        }
        let usual = "psycopg2-binary==2.9.10 \\\n    --hash=sha256:00\n# \\d\n";
        assert!(!names_builds(usual.as_bytes()));
    }
}
