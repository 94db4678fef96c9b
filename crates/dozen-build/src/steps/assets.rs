//! The asset step: what is made from the app itself, over its layers, without a network.
//!
//! Python's own source is compiled here (a read-only image would compile it at each start), beside
//! that Django collects static files, Node runs its build script, and `[build] command` comes last.
//! The bytecode is one layer, what the others write another. Both are cached by all that is seen.
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
    session::{Ended, Session, failed},
};
use crate::{
    cache_key::{LayerCache, Lookup},
    error::BuildError,
    overlay_upper,
    plan::{BuildPlan, LanguagePlan, PLAN_VERSION},
    runtime::{Installed, layer::RuntimeLayer},
    step::{AppMount, Bind, StepEnd, WalledStep},
    store::{LayerStore, Lease},
    tree::Tree,
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
    /// Layers of what was written, lowest first.
    pub(crate) layers: Vec<Digest>,
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
        return Ok(Assets {
            layers: in_order(&layers),
            decision: "cached: nothing that it sees changed".into(),
            notes,
        });
    }
    let (decision, notes, layers) = assets.run_all(session, &env)?;
    cache.put(&key, &layers, &notes, None)?;
    Ok(Assets { layers: in_order(&layers), decision, notes })
}

/// The names of the layers, lowest first.
const BYTECODE: &str = "bytecode";
const ASSETS: &str = "assets";

fn in_order(layers: &BTreeMap<String, Digest>) -> Vec<Digest> {
    [BYTECODE, ASSETS].iter().filter_map(|name| layers.get(*name).cloned()).collect()
}

/// The app's layers with a folder above them that takes what is written.
struct Overlay {
    lower: Vec<PathBuf>,
    upper: PathBuf,
}

impl Overlay {
    /// `extra` folders can be written to as well as those of the lowest layer.
    fn new(
        session: &Session<'_>,
        name: &str,
        layers: &[Digest],
        extra: &[PathBuf],
    ) -> Result<Self, BuildError> {
        let store = session.input.store;
        let lower: Vec<PathBuf> = layers.iter().map(|digest| store.path(digest)).collect();
        let upper = session.folder(&format!("{name}/upper"))?;
        let work = session.folder(&format!("{name}/work"))?;
        overlay_upper::prepare(&upper, &lower[0], extra)?;
        session.give(&upper)?;
        session.give(&work)?;
        Ok(Self { lower, upper })
    }

    fn mount(&self) -> AppMount {
        AppMount::Layers { lower: self.lower.clone(), upper: Some(self.upper.clone()) }
    }

    /// What was written, as a layer, if anything was.
    fn adopt(self, store: &LayerStore) -> Result<Option<(Digest, Lease)>, BuildError> {
        overlay_upper::settle(&self.upper, &self.lower)?;
        let mut entries = std::fs::read_dir(&self.upper).map_err(BuildError::io("list the assets"))?;
        if entries.next().is_none() {
            return Ok(None);
        }
        let adoption = Adoption { whiteouts: true, ..Adoption::default() };
        // A change of code alone changes few assets.
        store.adopt_if_new(&self.upper, adoption).map(Some)
    }
}

/// What running everything gives: the decision, what is worth telling, the layers by name.
type Made = (String, Vec<String>, BTreeMap<String, Digest>);

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

    fn run_all(&self, session: &mut Session<'_>, env: &BTreeMap<String, String>) -> Result<Made, BuildError> {
        // Bundlers keep their cache there.
        let is_node = matches!(self.plan.language, LanguagePlan::Node(_));
        let extra: &[PathBuf] = if is_node { &["node_modules".into()] } else { &[] };
        let overlay = Overlay::new(session, ASSETS, &self.layers, extra)?;
        let mut layers = BTreeMap::new();
        let (mut done, notes) = match &self.plan.language {
            LanguagePlan::Python(python) => {
                let bytecode = Overlay::new(session, BYTECODE, &self.layers, &[])?;
                let compile = self.step(self.compile_argv(), &bytecode.mount(), env);
                let store = session.input.store;
                let (compiled, made) = session.run_beside(
                    compile,
                    |ended| check_compiled(ended).and_then(|()| bytecode.adopt(store)),
                    |session| self.make_python(session, python.django.is_some(), &overlay.mount(), env),
                )?;
                add(&mut layers, session, BYTECODE, compiled);
                made
            }
            LanguagePlan::Node(node) if self.is_wanted() && node.has_build() => {
                self.run_named(session, "npm run build", self.step(self.npm_build(), &overlay.mount(), env))?;
                (vec!["`npm run build` ran"], Vec::new())
            }
            _ => (Vec::new(), Vec::new()),
        };
        if let Some(command) = &self.plan.manifest.build.command {
            let argv = ["/bin/sh", "-ec", command].map(str::to_owned).to_vec();
            let name = "`[build] command` of dozen.toml";
            self.run_named(session, name, self.step(argv, &overlay.mount(), env))?;
            done.push("`[build] command` ran");
        }
        // A bundler's cache is no asset.
        crate::tree_removal::remove_below(&Tree::open(&overlay.upper)?, "node_modules", ".cache")?;
        let adopted = overlay.adopt(session.input.store)?;
        add(&mut layers, session, ASSETS, adopted);
        let decision = if done.is_empty() { "nothing to make".to_owned() } else { done.join(", ") };
        Ok((decision, notes, layers))
    }

    fn is_wanted(&self) -> bool {
        self.plan.manifest.build.assets != Some(false)
    }

    /// What is made of a Python app besides its bytecode: what was done, and what is worth telling.
    fn make_python(
        &self,
        session: &mut Session<'_>,
        is_django: bool,
        mount: &AppMount,
        env: &BTreeMap<String, String>,
    ) -> Result<(Vec<&'static str>, Vec<String>), BuildError> {
        let mut done = vec!["source compiled"];
        if !is_django || !self.is_wanted() {
            return Ok((done, Vec::new()));
        }
        let (outcome, note) = self.collect_static(session, mount, env)?;
        done.push(outcome);
        Ok((done, note.into_iter().collect()))
    }

    fn npm_build(&self) -> Vec<String> {
        let npm = crate::runtime::layer::npm_of(self.runtime).join("bin/npm-cli.js");
        let argv = [self.runtime.program.display().to_string(), npm.display().to_string()];
        argv.into_iter().chain(["run".to_owned(), "build".to_owned()]).collect()
    }

    fn compile_argv(&self) -> Vec<String> {
        let mut argv = compile_command(&self.runtime.program, Vec::new());
        argv.extend(["-x", r"/app/(\.venv|node_modules|\.git)(/|$)", APP].map(str::to_owned));
        argv
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

/// Keeps what was made under its name; the build uses it to its end.
fn add(
    layers: &mut BTreeMap<String, Digest>,
    session: &mut Session<'_>,
    name: &str,
    adopted: Option<(Digest, Lease)>,
) {
    if let Some((digest, lease)) = adopted {
        session.leases.push(lease);
        layers.insert(name.to_owned(), digest);
    }
}

fn check_compiled(ended: Ended) -> Result<(), BuildError> {
    match ended.end {
        // 1: some file has another Python's syntax; it is left as it is.
        StepEnd::Exited(0 | 1) => Ok(()),
        _ => Err(failed("compile", ended, None)),
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
