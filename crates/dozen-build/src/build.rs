//! A build from beginning to end: a tree on disk in, an image in the store out.
//!
//! ```text
//! plan -> app layer -> runtime layer -> dependencies -> (project) -> assets -> libraries -> image
//! ```
//!
//! The image's digest depends on the tree, the runtime and the tools, and on nothing else: the same
//! input gives the same digest on another home or another day. A build that ends early, in whatever
//! way, leaves only complete layers and a scratch folder that the next start removes.
//!
//! Start reading at [`build`].

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use dozen_model::{
    digest::Digest,
    image::{Image, Language, Layer, LayerRole, Runtime},
    names::AppName,
};

use crate::{
    cache_key::{APP_PART, CacheKey},
    error::BuildError,
    events::BuildEvents,
    libraries::{self, HostLibrary},
    plan::{self, BuildPlan, LanguagePlan, NodePlan, PythonLock, PythonPlan},
    runtime::{self, Installed, RuntimeSearch, Runtimes, layer::RuntimeLayer},
    step::{BuildUser, StepRunner},
    steps::{
        APP, VENV,
        assets::{AssetStep, make_assets},
        dependencies::Dependencies,
        install_python::pythons_for,
        node::{self, NodeStep, node_dependencies},
        project::install_project,
        python::{PythonStep, python_dependencies},
        runtime_bin,
        session::Session,
    },
    store::{LayerStore, Lease},
    tree::Tree,
    tree_copy::Adoption,
    uv_tool,
};

/// What to build and with what.
#[derive(Debug)]
pub struct BuildInput<'a> {
    /// The app; caches are kept apart by it.
    pub app: AppName,
    /// The tree, unpacked by [`crate::source`]; read, never written.
    pub tree: PathBuf,
    /// Where layers and the image go.
    pub store: &'a LayerStore,
    /// Where runtimes are looked for.
    pub search: RuntimeSearch,
    /// The machine's network settings; see [`crate::network_settings::is_network_setting`].
    pub network_env: BTreeMap<String, String>,
    /// Files for the dependency step, such as `.netrc` or `.npmrc`: their name and where they are.
    pub secret_files: BTreeMap<String, PathBuf>,
    /// Whom the steps run as. Needed as root; `None` for an ordinary user.
    pub build_user: Option<BuildUser>,
    /// Values that log lines must not show.
    pub secrets: Vec<Vec<u8>>,
    /// Set to stop the build.
    pub cancel: Arc<AtomicBool>,
}

impl BuildInput<'_> {
    /// The time a build may take where the app says nothing.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

    /// What every cached layer depends on. The app is among it: what its own code made is used
    /// for no other app.
    pub(crate) fn common_key(&self) -> CacheKey {
        let mut key = CacheKey::default();
        key.with(APP_PART, self.app.as_str());
        key.with("architecture", std::env::consts::ARCH);
        key.with("C library", c_library());
        key.with("distribution", distribution());
        key
    }
}

/// A finished build.
#[derive(Debug)]
pub struct BuiltImage {
    /// The image's name.
    pub digest: Digest,
    /// The image.
    pub image: Image,
    /// What was decided, a line each.
    pub notes: Vec<String>,
    /// What will surprise someone.
    pub warnings: Vec<String>,
    /// Whether the dependency layer came from the cache.
    pub cache_hit: bool,
    /// Libraries of this host that the image needs; for the build's record.
    pub host_libraries: Vec<HostLibrary>,
    /// Keep the layers in the store until the caller has recorded the image.
    pub leases: Vec<Lease>,
}

/// What a build has made so far.
#[derive(Default)]
struct Progress {
    layers: Vec<Layer>,
    runtime: Option<Runtime>,
    env: BTreeMap<String, String>,
    cache_hit: bool,
}

impl Progress {
    fn add(&mut self, role: LayerRole, digest: &Digest) {
        self.layers.push(Layer { role, digest: digest.clone(), mounts: Vec::new() });
    }

    fn app_layers(&self) -> Vec<Digest> {
        self.layers.iter().filter(|layer| layer.mounts.is_empty()).map(|layer| layer.digest.clone()).collect()
    }
}

/// Builds the image of a tree.
pub fn build(
    input: BuildInput<'_>,
    runner: &dyn StepRunner,
    events: &mut dyn BuildEvents,
) -> Result<BuiltImage, BuildError> {
    let _pythons = input.store.use_pythons();
    let mut session = Session::new(&input, runner, events)?;
    session.start("plan")?;
    let tree = Tree::open(&input.tree)?;
    let mut plan = plan::plan(&tree)?;
    session.limit(plan.manifest.build.timeout.unwrap_or(BuildInput::DEFAULT_TIMEOUT));
    session.end(&described(&plan));
    session.start("source")?;
    let (app_layer, lease) = input.store.adopt(&input.tree, Adoption::default())?;
    session.leases.push(lease);
    session.end(&format!("layer {}", app_layer.short()));
    let mut progress = Progress::default();
    match plan.language.clone() {
        LanguagePlan::Python(python) => {
            build_python(&mut session, &mut plan, (&python, &tree, &app_layer), &mut progress)?;
        }
        LanguagePlan::Node(node) => {
            build_node(&mut session, &mut plan, (&node, &tree, &app_layer), &mut progress)?
        }
        LanguagePlan::Static { .. } | LanguagePlan::Procfile => {
            progress.add(LayerRole::App, &app_layer);
            progress.env.insert("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into());
            if plan.manifest.build.command.is_some() {
                let warning = "`[build] command` runs for Python and Node only, and was left out";
                plan.warnings.push(warning.into());
            }
        }
    }
    finish(session, plan, progress)
}

/// Checks the libraries, writes the image.
fn finish(
    mut session: Session<'_>,
    mut plan: BuildPlan,
    progress: Progress,
) -> Result<BuiltImage, BuildError> {
    let store = session.input.store;
    session.start("image")?;
    let facts =
        progress.layers.iter().map(|layer| store.facts(&layer.digest)).collect::<Result<Vec<_>, _>>()?;
    let libraries = libraries::check(&facts)?;
    plan.warnings.extend(libraries.warnings);
    let django = matches!(&plan.language, LanguagePlan::Python(python) if python.django.is_some());
    let image = Image {
        format: Image::FORMAT,
        arch: std::env::consts::ARCH.to_owned(),
        language: plan.language.language(),
        runtime: progress.runtime,
        layers: progress.layers,
        processes: plan.processes,
        release_command: plan.release_command,
        env: progress.env,
        static_root: match &plan.language {
            LanguagePlan::Static { root } => Some(root.clone()),
            _ => None,
        },
        manifest: plan.manifest,
        django,
        // Django's own apps bring some, if the app has none itself.
        has_migrations: django,
    };
    let digest = store.put_image(&image)?;
    session.end(&format!("image {}", digest.short()));
    Ok(BuiltImage {
        digest,
        image,
        notes: plan.notes,
        warnings: plan.warnings,
        cache_hit: progress.cache_hit,
        host_libraries: libraries.host,
        leases: std::mem::take(&mut session.leases),
    })
}

/// What a language's part of a build starts from: its plan, the tree and the tree's layer.
type Parts<'p, P> = (&'p P, &'p Tree, &'p Digest);

fn build_python(
    session: &mut Session<'_>,
    plan: &mut BuildPlan,
    (python, tree, app_layer): Parts<'_, PythonPlan>,
    progress: &mut Progress,
) -> Result<(), BuildError> {
    session.start("runtime")?;
    let pythons = pythons_for(session, &python.wanted)?;
    let installed = runtime::choose("Python", &python.wanted, &pythons)?;
    let layer = use_runtime(session, plan, progress, (installed, false, &python.wanted))?;
    progress.add(LayerRole::App, app_layer);
    if python.lock != PythonLock::Nothing {
        session.start("install")?;
        let input = session.input;
        let uv = uv_tool::obtain_uv(input.store, &pythons, &session.network, &input.search)?;
        plan.warnings.extend(uv.warning.clone());
        let step = PythonStep { plan: python, runtime: installed, uv: &uv, tree, app_layer };
        let dependencies = python_dependencies(session, &step)?;
        session.end(&dependencies.decision);
        progress.cache_hit = dependencies.cached;
        plan.warnings.extend(dependencies.warnings);
        let packages = &dependencies.layers[Dependencies::PRODUCTION];
        progress.add(LayerRole::Dependencies, packages);
        if python.is_package && python.lock == PythonLock::Uv {
            session.start("project")?;
            let project = install_project(session, &step, packages)?;
            session.end("the project is installed as a package");
            progress.add(LayerRole::Dependencies, &project);
        }
    }
    let bin = runtime_bin(installed);
    let pairs = [
        ("PATH", format!("{VENV}/bin:{bin}:/usr/local/bin:/usr/bin:/bin")),
        ("VIRTUAL_ENV", VENV.to_owned()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
    ];
    progress.env.extend(pairs.map(|(name, value)| (name.to_owned(), value)));
    let layers = progress.app_layers();
    add_assets(session, plan, progress, (installed, &layer, layers))
}

fn build_node(
    session: &mut Session<'_>,
    plan: &mut BuildPlan,
    (node, tree, app_layer): Parts<'_, NodePlan>,
    progress: &mut Progress,
) -> Result<(), BuildError> {
    session.start("runtime")?;
    let nodes = Runtimes::new(&session.input.search, &session.input.store.cache()).nodes();
    let installed = runtime::choose("Node", &node.wanted, &nodes)?;
    let needs_npm = plan
        .processes
        .values()
        .chain(&plan.release_command)
        .chain(plan.manifest.stages.values().filter_map(|stage| stage.release.command.as_ref()))
        .any(|line| line.split_whitespace().any(|word| matches!(word, "npm" | "npx")));
    let layer = use_runtime(session, plan, progress, (installed, needs_npm, &node.wanted))?;
    progress.add(LayerRole::App, app_layer);
    let mut build_layers = vec![app_layer.clone()];
    if node.has_packages {
        session.start("install")?;
        let step = NodeStep { plan: node, runtime: installed, tree, app_layer };
        let dependencies = node_dependencies(session, &step)?;
        session.end(&dependencies.decision);
        progress.cache_hit = dependencies.cached;
        let packages = &dependencies.layers[Dependencies::PRODUCTION];
        progress.add(LayerRole::Dependencies, packages);
        build_layers.push(dependencies.layers.get(node::FULL).unwrap_or(packages).clone());
    }
    let bin = runtime_bin(installed);
    let pairs = [
        ("PATH", format!("{APP}/node_modules/.bin:{bin}:/usr/local/bin:/usr/bin:/bin")),
        ("NODE_ENV", "production".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
    ];
    for (name, value) in pairs {
        progress.env.entry(name.to_owned()).or_insert(value);
    }
    if node.has_build() || plan.manifest.build.command.is_some() {
        add_assets(session, plan, progress, (installed, &layer, build_layers))?;
    }
    Ok(())
}

/// Makes the runtime's layer and mounts it in the image.
fn use_runtime(
    session: &mut Session<'_>,
    plan: &mut BuildPlan,
    progress: &mut Progress,
    (installed, with_npm, wanted): (&Installed, bool, &plan::WantedVersion),
) -> Result<RuntimeLayer, BuildError> {
    let layer = runtime::layer::runtime_layer(session.input.store, installed, with_npm)?;
    let origin = if layer.cached { "cached" } else { "copied" };
    let (name, version) = (&installed.name, &installed.version);
    let by = wanted
        .by
        .as_ref()
        .map_or_else(|| "no file asks for one".to_owned(), |by| format!("{by} asks for {}", wanted.text));
    session.end(&format!("{name} {version} ({by}), {origin}"));
    if let Some(exact) = wanted.exact.filter(|exact| *exact != installed.number()) {
        plan.warnings.push(format!("{name} {exact} is not installed, {version} takes its place"));
    }
    if wanted.by.is_none() {
        plan.notes.push(format!("no file asks for a version of {name}; {version} is used"));
    }
    progress.runtime = Some(Runtime {
        name: name.clone(),
        version: version.clone(),
        prefix: installed.prefix.display().to_string(),
    });
    let mounts = layer.mounts.clone();
    progress.layers.push(Layer { role: LayerRole::Runtime, digest: layer.digest.clone(), mounts });
    session.leases.push(session.input.store.lease(&layer.digest));
    Ok(layer)
}

fn add_assets(
    session: &mut Session<'_>,
    plan: &mut BuildPlan,
    progress: &mut Progress,
    (runtime, runtime_layer, layers): (&Installed, &RuntimeLayer, Vec<Digest>),
) -> Result<(), BuildError> {
    session.start("assets")?;
    let made = make_assets(session, &AssetStep { plan, runtime, runtime_layer, layers })?;
    session.end(&made.decision);
    plan.notes.extend(made.notes);
    for layer in &made.layers {
        progress.add(LayerRole::Assets, layer);
    }
    Ok(())
}

fn described(plan: &BuildPlan) -> String {
    let language = match plan.language.language() {
        Language::Python => "Python",
        Language::Node => "Node",
        Language::Static => "a static site",
        Language::Procfile => "executables of the tree",
    };
    let lock = match &plan.language {
        LanguagePlan::Python(python) => match &python.lock {
            PythonLock::Uv => ", locked by uv.lock",
            PythonLock::Pipfile(_) => ", locked by Pipfile.lock",
            PythonLock::Requirements { hashed: true, .. } => ", a requirements file with hashes",
            PythonLock::Requirements { .. } => ", a requirements file",
            PythonLock::Pyproject => ", pyproject.toml without a lock",
            PythonLock::Nothing => ", no packages",
        },
        LanguagePlan::Node(node) if node.locked => ", locked by package-lock.json",
        LanguagePlan::Node(node) if node.has_packages => ", package.json without a lock",
        _ => "",
    };
    let names: Vec<&str> = plan.processes.keys().map(|name| name.as_str()).collect();
    let processes =
        if names.is_empty() { String::new() } else { format!("; process types {}", names.join(", ")) };
    format!("{language}{lock}{processes}")
}

/// Name and version of the distribution, such as `debian 12`.
fn distribution() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(|word| word.trim_matches('"'));
    format!("{} {}", field("ID=").unwrap_or("unknown"), field("VERSION_ID=").unwrap_or_default())
}

/// The C library's version: what is compiled against one may not run on an older one.
fn c_library() -> String {
    static VERSION: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let ask = || {
        let output = std::process::Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
        String::from_utf8(output.stdout)
            .ok()
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    };
    VERSION.get_or_init(|| ask().unwrap_or_else(|| "unknown".to_owned())).clone()
}
