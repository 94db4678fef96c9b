//! The step `build`: the tree becomes an image, or the image of an earlier release is taken again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dozen_build::{
    BuildInput, BuiltImage, build as build_image,
    build_secrets::secret_file_names,
    events::BuildEvents,
    network_settings::{add_pip_config, is_network_setting},
    runner::WalledRunner,
    runtime::RuntimeSearch,
    step::BuildUser,
};

use super::{Change, declared, django};
use crate::{
    api::wire::Progress,
    control::{Control, build_error},
    engine::assemble,
    error::ControlError,
    home::make,
    progress::ProgressLog,
    release_config::stage_vars,
    store::DeployKind,
};

/// Builds, or names the image that the change keeps.
pub(super) fn build(change: &mut Change) -> Result<(), ControlError> {
    if change.deploy.image.is_some() {
        return Ok(());
    }
    if change.deploy.kind != DeployKind::Deploy {
        let image = assemble::base_release(change)?.image;
        return change.control.store.set_deploy_image(change.deploy.id, &image);
    }
    let built = build_tree(change)?;
    change.control.store.set_deploy_image(change.deploy.id, &built.digest)?;
    // Only from here on does the store keep the layers from being pruned.
    drop(built.leases);
    Ok(())
}

fn build_tree(change: &Change) -> Result<BuiltImage, ControlError> {
    let control = &change.control;
    let folder = control.home.build(change.deploy.id);
    let steps = folder.join("steps");
    make(&steps, 0o700)?;
    let secrets = stage_vars(&control.key, change.key(), &control.store.config(change.key().id)?)?;
    let long = secrets.into_values().map(|value| value.bytes).filter(|bytes| bytes.len() >= 8);
    let input = BuildInput {
        app: change.key().app.clone(),
        tree: folder.join("tree"),
        store: &control.layers,
        search: search(control),
        network_env: network_env(control),
        secret_files: secret_files(change),
        build_user: build_user(control, change.deploy.id),
        secrets: long.collect(),
        cancel: Arc::clone(&change.work.cancel),
    };
    // Before the build: it may fail for the want of what they name.
    for warning in declared::warnings(&input.tree) {
        change.work.progress.warn(warning);
    }
    let runner = WalledRunner { binary: control.options.binary.clone(), folder: steps };
    let mut events = Heard { progress: &change.work.progress };
    let built = build_image(input, &runner, &mut events).map_err(build_error)?;
    for note in &built.notes {
        change.work.progress.line(note.clone());
    }
    for warning in &built.warnings {
        change.work.progress.warn(warning.clone());
    }
    if let Some(advice) = django::static_files_advice(change, &built.image) {
        change.work.progress.hint(advice);
    }
    Ok(built)
}

fn search(control: &Control) -> RuntimeSearch {
    let options = &control.options;
    let path = options.path.to_string_lossy();
    let mut search = RuntimeSearch::usual(&path, options.user_home.as_deref(), control.home.root());
    let known: Vec<PathBuf> = search.pyenv_roots.clone();
    search.pyenv_roots.extend(options.pyenv_root.clone().filter(|root| !known.contains(root)));
    search
}

/// Proxy, index and CA settings: the server's variables, then what `pip.conf` says.
fn network_env(control: &Control) -> BTreeMap<String, String> {
    let text = |(name, value): (&std::ffi::OsString, &std::ffi::OsString)| {
        Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()))
    };
    let variables: BTreeMap<String, String> = control.options.build_env.iter().filter_map(text).collect();
    let files = pip_config_files(&variables, control.options.user_home.as_deref());
    let mut settings: BTreeMap<String, String> =
        variables.into_iter().filter(|(name, _)| is_network_setting(name)).collect();
    for text in files.into_iter().filter_map(|path| std::fs::read_to_string(path).ok()) {
        add_pip_config(&mut settings, &text);
    }
    settings
}

/// The build-secret files of the app, else those for all apps.
fn secret_files(change: &Change) -> BTreeMap<String, PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let folder = change.control.home.build_secrets();
    let places = [folder.join(change.key().app.as_str()), folder];
    let mut found = BTreeMap::new();
    for name in secret_file_names() {
        let Some(path) = places.iter().map(|place| place.join(name)).find(|path| path.is_file()) else {
            continue;
        };
        if std::fs::metadata(&path).is_ok_and(|facts| facts.permissions().mode() & 0o077 != 0) {
            let warning = format!("others may read `{0}`: run `chmod 600 {0}`", path.display());
            change.work.progress.warn(warning);
        }
        found.insert(name.to_owned(), path);
    }
    found
}

/// Where pip would look on this machine; the file that counts most first.
fn pip_config_files(variables: &BTreeMap<String, String>, user_home: Option<&Path>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = variables.get("PIP_CONFIG_FILE").map(PathBuf::from).into_iter().collect();
    if files.iter().any(|file| file == Path::new("/dev/null")) {
        return Vec::new();
    }
    let of_user = [".config/pip/pip.conf", ".pip/pip.conf"];
    files.extend(user_home.into_iter().flat_map(|home| of_user.map(|name| home.join(name))));
    files.extend(["/etc/pip.conf", "/etc/xdg/pip/pip.conf"].map(PathBuf::from));
    files
}

/// As root every build runs as a user of its own.
fn build_user(control: &Control, deploy: i64) -> Option<BuildUser> {
    const FIRST_BUILD: u32 = 300_000;
    let uid = FIRST_BUILD + u32::try_from(deploy % 100_000).unwrap_or(0);
    control.as_root().then_some(BuildUser { uid, gid: uid })
}

/// Hands a build's events to whoever follows the change.
struct Heard<'a> {
    progress: &'a ProgressLog,
}

impl BuildEvents for Heard<'_> {
    fn step_started(&mut self, step: &str) {
        self.progress.send(Progress::Step { step: step.to_owned(), title: title_of(step).to_owned() });
    }

    fn line(&mut self, _step: &str, line: &str) {
        self.progress.line(line);
    }

    fn step_ended(&mut self, step: &str, decision: &str, took: Duration) {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.progress.send(Progress::Done { step: step.to_owned(), result: decision.to_owned(), took_ms });
    }
}

/// A build's step for people.
fn title_of(step: &str) -> &str {
    match step {
        "plan" => "Looking at the source",
        "source" => "Storing the source",
        "runtime" => "Preparing the runtime",
        "install" => "Installing dependencies",
        "project" => "Installing the project",
        "assets" => "Making assets",
        "image" => "Writing the image",
        other => other,
    }
}
