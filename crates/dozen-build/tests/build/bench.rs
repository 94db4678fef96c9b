//! What the tests build with: a temporary home, a tree, the walled runner.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use dozen_build::{
    BuildError, BuildInput, BuiltImage, build,
    events::BuildEvents,
    network_settings::is_network_setting,
    runner::WalledRunner,
    runtime::RuntimeSearch,
    step::{BuildUser, StepEnd, StepRunner, StepWatch, WalledStep},
    store::LayerStore,
};
use parking_lot::Mutex;
use tempfile::TempDir;

/// A home for builds.
pub(crate) struct Bench {
    pub(crate) home: TempDir,
    pub(crate) store: LayerStore,
    pub(crate) cancel: Arc<AtomicBool>,
}

/// What a build said.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) decisions: BTreeMap<String, String>,
    pub(crate) lines: Vec<String>,
}

impl BuildEvents for Heard {
    fn step_started(&mut self, _: &str) {}

    fn line(&mut self, step: &str, line: &str) {
        self.lines.push(format!("{step}: {line}"));
    }

    fn step_ended(&mut self, step: &str, decision: &str, took: Duration) {
        self.lines.push(format!("{step} ended in {took:?}: {decision}"));
        self.decisions.insert(step.to_owned(), decision.to_owned());
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        let home = TempDir::new().unwrap();
        let store = LayerStore::open(home.path()).unwrap();
        fs::create_dir(home.path().join("run")).unwrap();
        Self { home, store, cancel: Arc::default() }
    }

    /// Builds with secret files, and keeps the arguments of every command.
    pub(crate) fn build_with_secrets(
        &self,
        tree: &Path,
        files: &[(&str, PathBuf)],
    ) -> (Result<BuiltImage, BuildError>, Heard, String) {
        let mut heard = Heard::default();
        let mut input = self.input(tree);
        input.secret_files = files.iter().map(|(name, path)| ((*name).to_owned(), path.clone())).collect();
        let runner = Overheard { runner: self.runner(), arguments: Mutex::default() };
        let result = build(input, &runner, &mut heard);
        (result, heard, runner.arguments.into_inner().join("\n"))
    }

    pub(crate) fn build(&self, tree: &Path) -> (Result<BuiltImage, BuildError>, Heard) {
        let mut heard = Heard::default();
        let result = build(self.input(tree), &self.runner(), &mut heard);
        (result, heard)
    }

    pub(crate) fn runner(&self) -> WalledRunner {
        WalledRunner {
            binary: env!("CARGO_BIN_EXE_build-shim-probe").into(),
            folder: self.home.path().join("run"),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "a test is its own settings")]
    pub(crate) fn input(&self, tree: &Path) -> BuildInput<'_> {
        let home = std::env::var("HOME").unwrap();
        let path = std::env::var("PATH").unwrap();
        BuildInput {
            app: "probe".parse().unwrap(),
            tree: tree.to_owned(),
            store: &self.store,
            search: RuntimeSearch::usual(&path, Some(Path::new(&home)), self.home.path()),
            network_env: std::env::vars().filter(|(name, _)| is_network_setting(name)).collect(),
            secret_files: BTreeMap::new(),
            build_user: is_root().then_some(BuildUser { uid: 61_234, gid: 61_234 }),
            secrets: vec![b"a-secret-value".to_vec()],
            cancel: Arc::clone(&self.cancel),
        }
    }

    /// A file of a layer.
    pub(crate) fn read(&self, built: &BuiltImage, name: &str) -> Option<Vec<u8>> {
        let layers = built.image.layers.iter().rev().filter(|layer| layer.mounts.is_empty());
        layers.map(|layer| self.store.path(&layer.digest).join(name)).find_map(|path| fs::read(path).ok())
    }

    pub(crate) fn has(&self, built: &BuiltImage, name: &str) -> bool {
        self.read(built, name).is_some()
    }
}

/// A runner that notes the arguments of what it runs.
struct Overheard {
    runner: WalledRunner,
    arguments: Mutex<Vec<String>>,
}

impl StepRunner for Overheard {
    fn run(&self, step: &WalledStep, watch: &mut StepWatch<'_>) -> Result<StepEnd, BuildError> {
        self.arguments.lock().push(step.argv.join(" "));
        self.runner.run(step, watch)
    }
}

/// The uv that a build in this home has fetched.
pub(crate) fn uv_of(bench: &Bench) -> PathBuf {
    let tools = fs::read_dir(bench.home.path().join("cache/tools")).expect("a build that fetched uv");
    tools.flatten().map(|entry| entry.path().join("uv")).find(|uv| uv.is_file()).expect("uv")
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A tree of files; a name that ends in `+x` is executable.
pub(crate) fn tree(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    write_files(folder.path(), files);
    folder
}

pub(crate) fn write_files(folder: &Path, files: &[(&str, &str)]) {
    use std::os::unix::fs::PermissionsExt;
    for (name, text) in files {
        let plain = name.strip_suffix("+x").unwrap_or(name);
        let path: PathBuf = folder.join(plain);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let mode = if plain == *name { 0o644 } else { 0o755 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// The text of an error with its causes.
pub(crate) fn whole(error: &BuildError) -> String {
    use std::error::Error;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    for line in error.log_tail() {
        text.push_str(&format!("\n  | {line}"));
    }
    text
}

/// Folders one in the other, as no path can name them.
pub(crate) fn nest(path: &Path, levels: usize) {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = rustix::fs::open(path, flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        rustix::fs::mkdirat(&folder, "d", Mode::RWXU).unwrap();
        folder = rustix::fs::openat(&folder, "d", flags, Mode::empty()).unwrap();
    }
}
