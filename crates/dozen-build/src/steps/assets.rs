//! The asset step: what is made from the app itself, over its layers, without a network.
//!
//! Python's own source is compiled here (a read-only image would compile it at each start), then
//! Django collects static files, Node runs its build script, and `[build] command` comes last.
//! What they write is the asset layer. It is cached by all that they see.
//!
//! Its commands have an empty network of their own: what they make depends on nothing that may
//! differ tomorrow. Which commands want one is found in their words, for the hint of an error.
//!
//! Start reading at [`make_assets`].

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use dozen_model::digest::Digest;

use super::{
    APP, base_env,
    placeholder::{missing_variable, placeholders, unreadable_placeholder},
    python::compile_command,
    read_only, runtime_bin,
    session::{Session, failed},
};
use crate::{
    cache_key::{LayerCache, Lookup},
    error::BuildError,
    overlay_upper,
    plan::{BuildPlan, LanguagePlan, PLAN_VERSION},
    runtime::{Installed, layer::RuntimeLayer},
    step::{AppMount, Bind, StepEnd, WalledStep},
    tree_copy::Adoption,
};

/// What the asset step works on.
pub(crate) struct AssetStep<'a> {
    pub(crate) plan: &'a BuildPlan,
    pub(crate) runtime: &'a Installed,
    pub(crate) runtime_layer: &'a RuntimeLayer,
    /// Layers of `/app`, lowest first.
    pub(crate) layers: Vec<Digest>,
}

/// What the asset step made.
pub(crate) struct Assets {
    /// The layer, where anything was written.
    pub(crate) layer: Option<Digest>,
    /// One line for the log.
    pub(crate) decision: String,
    /// Worth telling.
    pub(crate) notes: Vec<String>,
}

pub(crate) fn make_assets(session: &mut Session<'_>, assets: &AssetStep<'_>) -> Result<Assets, BuildError> {
    let env = assets.env();
    let mut key = session.input.common_key();
    key.with("plan", format!("assets {PLAN_VERSION}"));
    key.with("runtime", assets.runtime_layer.digest.hex());
    key.with("settings", format!("{:?}", assets.plan.manifest.build));
    key.with_bytes("environment", format!("{env:?}").as_bytes());
    for (number, layer) in assets.layers.iter().enumerate() {
        key.with(format!("layer {number}"), layer.hex());
    }
    let app = session.input.app.clone();
    let cache = LayerCache::new(session.input.store, "assets", app.as_str());
    if let Lookup::Hit(layers, leases, notes) = cache.look_up(&key) {
        session.leases.extend(leases);
        let layer = layers.get("assets").cloned();
        return Ok(Assets { layer, decision: "cached: nothing that it sees changed".into(), notes });
    }
    let store = session.input.store;
    let lower: Vec<PathBuf> = assets.layers.iter().map(|digest| store.path(digest)).collect();
    let (upper, work) = (session.folder("assets/upper")?, session.folder("assets/work")?);
    let extra: Vec<PathBuf> = match assets.plan.language {
        // Bundlers keep their cache there.
        LanguagePlan::Node(_) => vec!["node_modules".into()],
        _ => Vec::new(),
    };
    overlay_upper::prepare(&upper, &lower[0], &extra)?;
    session.give(&upper)?;
    session.give(&work)?;
    let mount = AppMount::Layers { lower: lower.clone(), upper: Some(upper.clone()) };
    let (decision, notes) = assets.run_all(session, &mount, &env)?;
    // A bundler's cache is no asset.
    crate::tree_copy::remove_tree(&upper.join("node_modules/.cache"))?;
    overlay_upper::settle(&upper, &lower)?;
    let is_empty = std::fs::read_dir(&upper).map_err(BuildError::io("list the assets"))?.next().is_none();
    let mut layers = BTreeMap::new();
    if !is_empty {
        let (digest, lease) = store.adopt(&upper, Adoption { whiteouts: true, ..Adoption::default() })?;
        session.leases.push(lease);
        layers.insert("assets".to_owned(), digest);
    }
    cache.put(&key, &layers, &notes, None)?;
    Ok(Assets { layer: layers.remove("assets"), decision, notes })
}

impl AssetStep<'_> {
    fn env(&self) -> BTreeMap<String, String> {
        let tools = match self.plan.language {
            LanguagePlan::Node(_) => "/app/node_modules/.bin",
            _ => "/app/.venv/bin",
        };
        let mut env = base_env(&[tools.to_owned(), runtime_bin(self.runtime)]);
        match &self.plan.language {
            LanguagePlan::Python(python) => {
                env.insert("VIRTUAL_ENV".into(), super::VENV.into());
                let django = python.django.as_ref();
                env.extend(django.and_then(|django| {
                    Some(("DJANGO_SETTINGS_MODULE".to_owned(), django.settings_module.clone()?))
                }));
            }
            LanguagePlan::Node(_) => drop(env.insert("NODE_ENV".into(), "production".into())),
            _ => {}
        }
        env.extend(placeholders(&self.plan.manifest));
        env
    }

    fn run_all(
        &self,
        session: &mut Session<'_>,
        mount: &AppMount,
        env: &BTreeMap<String, String>,
    ) -> Result<(String, Vec<String>), BuildError> {
        let mut done = Vec::new();
        let mut notes = Vec::new();
        let wanted = self.plan.manifest.build.assets != Some(false);
        match &self.plan.language {
            LanguagePlan::Python(python) => {
                self.compile(session, mount, env)?;
                done.push("source compiled");
                if wanted && python.django.is_some() {
                    let (outcome, note) = self.collect_static(session, mount, env)?;
                    done.push(outcome);
                    notes.extend(note);
                }
            }
            LanguagePlan::Node(node) if wanted && node.has_build() => {
                let npm = crate::runtime::layer::npm_of(self.runtime).join("bin/npm-cli.js");
                let argv = [self.runtime.program.display().to_string(), npm.display().to_string()];
                let argv = argv.into_iter().chain(["run".to_owned(), "build".to_owned()]).collect();
                self.run_named(session, "npm run build", self.step(argv, mount, env))?;
                done.push("`npm run build` ran");
            }
            _ => {}
        }
        if let Some(command) = &self.plan.manifest.build.command {
            let argv = ["/bin/sh", "-ec", command].map(str::to_owned).to_vec();
            self.run_named(session, "build command", self.step(argv, mount, env))?;
            done.push("`[build] command` ran");
        }
        let decision = if done.is_empty() { "nothing to make".to_owned() } else { done.join(", ") };
        Ok((decision, notes))
    }

    fn step(&self, argv: Vec<String>, app: &AppMount, env: &BTreeMap<String, String>) -> WalledStep {
        WalledStep {
            name: "assets".into(),
            argv,
            env: env.clone(),
            app: app.clone(),
            binds: self.runtime_binds(),
            network: false,
            timeout: Duration::MAX,
            build_user: None,
        }
    }

    /// The runtime as the image has it; npm, which the image may not have, from the host.
    fn runtime_binds(&self) -> Vec<Bind> {
        let tree = &self.runtime_layer.tree;
        let mut binds: Vec<Bind> = self
            .runtime_layer
            .mounts
            .iter()
            .map(|path| read_only(tree.join(path.trim_start_matches('/')), path.as_str()))
            .collect();
        let npm = crate::runtime::layer::npm_of(self.runtime);
        if self.runtime.name == "node" && !npm.starts_with("/usr") && npm.is_dir() {
            binds.push(read_only(&npm, &npm));
        }
        binds
    }

    fn compile(
        &self,
        session: &mut Session<'_>,
        mount: &AppMount,
        env: &BTreeMap<String, String>,
    ) -> Result<(), BuildError> {
        let mut argv = compile_command(&self.runtime.program, Vec::new());
        argv.extend(["-x", r"/app/(\.venv|node_modules|\.git)(/|$)", APP].map(str::to_owned));
        let ended = session.run(self.step(argv, mount, env))?;
        match ended.end {
            // 1: some file has another Python's syntax; it is left as it is.
            StepEnd::Exited(0 | 1) => Ok(()),
            _ => Err(failed("compile", ended, None)),
        }
    }

    /// Runs `collectstatic`, and takes "there is no such command" and "nowhere to collect to" as
    /// decisions of the app.
    fn collect_static(
        &self,
        session: &mut Session<'_>,
        mount: &AppMount,
        env: &BTreeMap<String, String>,
    ) -> Result<(&'static str, Option<String>), BuildError> {
        let venv = session.input.store.path(self.layers.last().unwrap_or(&self.layers[0]));
        let has_venv = self.layers.len() > 1 && Path::new(&venv).join(".venv").exists();
        let python = if has_venv {
            format!("{}/bin/python", super::VENV)
        } else {
            self.runtime.program.display().to_string()
        };
        let argv = [python.as_str(), "manage.py", "collectstatic", "--noinput"].map(str::to_owned).to_vec();
        let ended = session.run(self.step(argv, mount, env))?;
        if ended.is_well() {
            return Ok(("static files collected", None));
        }
        let says = |text: &str| ended.tail.iter().any(|line| line.contains(text));
        if says("Unknown command: 'collectstatic'") {
            return Ok(("no static files app", None));
        }
        if says("without having set the STATIC_ROOT") {
            let note = "STATIC_ROOT is not set, so no static files were collected";
            return Ok(("no STATIC_ROOT", Some(note.to_owned())));
        }
        let advice = advice(&ended.tail).or_else(|| {
            Some("to build without it, set `assets = false` below `[build]` in dozen.toml".to_owned())
        });
        Err(failed("collectstatic", ended, advice))
    }

    fn run_named(&self, session: &mut Session<'_>, name: &str, step: WalledStep) -> Result<(), BuildError> {
        let ended = session.run(step)?;
        if ended.is_well() {
            return Ok(());
        }
        let advice = advice(&ended.tail);
        Err(failed(name, ended, advice))
    }
}

fn advice(tail: &[String]) -> Option<String> {
    if let Some(name) = missing_variable(tail) {
        return Some(format!(
            "builds do not get the stage's config: declare `{name}` below `[config]` in dozen.toml and the build gets a placeholder, or give it a value below `[build.env]`"
        ));
    }
    if let Some(name) = unreadable_placeholder(tail) {
        return Some(format!(
            "`{name}` has a placeholder in builds that the app cannot read: give it a value below `[build.env]` in dozen.toml"
        ));
    }
    wants_network(tail).then(|| {
        "the asset step has no network: commit what it fetches or install it as a dependency, and leave what needs a service to the release phase".to_owned()
    })
}

/// Whether a failing command's last lines are what programs say where nothing can be reached.
fn wants_network(tail: &[String]) -> bool {
    // By libc, Node, curl, Go and Next.js; a service on a placeholder's address refuses.
    const WORDS: [&str; 11] = [
        "name resolution",
        "name or service not known",
        "could not resolve host",
        "no such host",
        "eai_again",
        "enotfound",
        "network is unreachable",
        "enetunreach",
        "fetch failed",
        "connection refused",
        "econnrefused",
    ];
    tail.iter().any(|line| {
        let line = line.to_ascii_lowercase();
        WORDS.iter().any(|word| line.contains(word))
    })
}
