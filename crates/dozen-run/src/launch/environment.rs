//! The environment of an instance (factor 3).
//!
//! Four layers, the later one wins: our defaults, what the image's layers need, the stage's
//! config vars, and what dozen alone may say (`PORT`, `DYNO`, `DOZEN_*`). Nothing is inherited
//! from the process that starts it. Values are bytes and stay so: no shell and no encoding sees
//! them.
//!
//! Start reading at [`environment`].

use std::collections::BTreeMap;

use dozen_model::{image::Language, manifest::ByteSize, names::ConfigVar};

use super::{LaunchPlan, web_concurrency::web_concurrency};

/// Names and values; ordered, so that the same release always starts with the same bytes.
pub(super) type Environment = BTreeMap<String, Vec<u8>>;

/// Where programs of the host are found, after those of the image.
const HOST_PATH: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// The whole environment of the instance that `plan` describes.
pub(super) fn environment(plan: &LaunchPlan<'_>) -> Environment {
    let mut environment = defaults(plan);
    for (name, value) in &plan.image.env {
        environment.insert(name.clone(), value.clone().into_bytes());
    }
    environment.insert("PATH".to_owned(), path(plan.image.env.get("PATH")).into_bytes());
    for (name, value) in plan.config {
        environment.insert(ConfigVar::as_str(name).to_owned(), value.clone());
    }
    // An image is made from a repository, so what it says about reserved names is dropped, not
    // only overwritten: a worker must not find a `PORT` that nobody gave it.
    environment.retain(|name, _| !is_reserved(name));
    environment.extend(reserved(plan));
    environment
}

fn defaults(plan: &LaunchPlan<'_>) -> Environment {
    let workers = web_concurrency(plan.settings.memory.map(ByteSize::bytes), plan.settings.cpu);
    let mut defaults = Environment::from([
        ("HOME".to_owned(), b"/tmp".to_vec()),
        ("LANG".to_owned(), b"C.UTF-8".to_vec()),
        ("WEB_CONCURRENCY".to_owned(), workers.to_string().into_bytes()),
    ]);
    if plan.image.language == Language::Python {
        // stdout is a pipe, and Python would hold lines back until 8 KiB are full.
        defaults.insert("PYTHONUNBUFFERED".to_owned(), b"1".to_vec());
        // uWSGI reads its options here too. SIGTERM means "start anew" to it unless this is set,
        // and every instance of it would be killed after its grace period.
        defaults.insert("UWSGI_DIE_ON_TERM".to_owned(), b"1".to_vec());
    }
    if plan.attach.is_some_and(|attach| attach.terminal.is_some()) {
        defaults.insert("TERM".to_owned(), b"xterm-256color".to_vec());
    }
    defaults
}

/// Whether dozen alone says what this variable is.
pub(super) fn is_reserved(name: &str) -> bool {
    name == "PORT" || name == "DYNO" || name.starts_with("DOZEN_")
}

fn reserved(plan: &LaunchPlan<'_>) -> Environment {
    let instance = plan.instance.to_string();
    let mut reserved: Vec<(&str, String)> = vec![
        ("DOZEN_APP", plan.app.to_string()),
        ("DOZEN_STAGE", plan.stage.to_string()),
        ("DOZEN_PROCESS", instance.clone()),
        ("DOZEN_RELEASE", plan.release.to_string()),
        ("DYNO", instance),
    ];
    reserved.extend(plan.commit.map(|commit| ("DOZEN_COMMIT", commit.to_owned())));
    reserved.extend(plan.port.map(|port| ("PORT", port.to_string())));
    reserved.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect()
}

/// The image's `PATH`, then the host's folders that it does not name itself.
fn path(image: Option<&String>) -> String {
    let mut folders: Vec<&str> = image.map(|path| path.split(':').collect()).unwrap_or_default();
    // An empty entry means the current folder, which an app does not want to search.
    folders.retain(|folder| !folder.is_empty());
    for folder in HOST_PATH {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_folders_come_first_and_no_folder_twice() {
        assert_eq!(path(None), "/usr/local/bin:/usr/bin:/bin");
        let image = "/app/.venv/bin:/usr/bin::".to_owned();
        assert_eq!(path(Some(&image)), "/app/.venv/bin:/usr/bin:/usr/local/bin:/bin");
    }
}
