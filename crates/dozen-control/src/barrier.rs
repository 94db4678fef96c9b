//! Barriers: places at which a test holds the server, to kill it exactly there.
//!
//! `DOZEN_BARRIERS` names a folder. When it holds a file called like a barrier (`build.begun`,
//! `route.done` …), the server that gets there makes `NAME.reached` and waits until the file is
//! gone. Without the setting a barrier costs nothing. The names are [`names`].

use std::{path::Path, time::Duration};

use crate::engine::STEPS;

/// Every barrier: before and after the work of each step, and within the one that must not run twice.
pub fn names() -> Vec<String> {
    let step = |name: &str| [format!("{name}.begun"), format!("{name}.done")];
    let mut names: Vec<String> = STEPS.iter().flat_map(|one| step(one.name)).collect();
    names.extend(["release-phase.recorded".to_owned(), "release-phase.started".to_owned()]);
    names.extend(["route.committed".to_owned(), "deploy.ended".to_owned()]);
    names
}

/// Waits here if a test asks for it.
pub(crate) fn reach(folder: Option<&Path>, name: &str) {
    let Some(folder) = folder else { return };
    let file = folder.join(name);
    if !file.exists() {
        return;
    }
    let _ = std::fs::write(folder.join(format!("{name}.reached")), b"");
    while file.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}
