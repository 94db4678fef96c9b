//! kill -9 of anything of ours, at any moment: no app, no fact, no line and no request is lost.
//!
//! Start reading at [`deploys`], which kills control at every step of the release engine.

mod adoption;
mod builds;
mod changes;
pub(crate) mod deploys;
mod destroy;
mod failures;
mod first;
mod instances;
mod load;
mod logs;
mod phase;
pub(crate) mod processes;
mod router;
mod server;
mod stops;
mod tables;
mod watcher;

use std::path::PathBuf;

use crate::{host::TestHost, project::Project};

/// A host that runs the small app `shop`, and the pid of that.
fn serving() -> (TestHost, u32) {
    let host = TestHost::start();
    host.up(&Project::small("shop"));
    let app = processes::pid_of(&host, "shop", "web.1");
    (host, app)
}

/// A small app whose release phase appends a line to a file on a volume.
fn with_phase(name: &str) -> Project {
    let project = Project::small(name);
    project
        .write(
            "Procfile",
            "web: /usr/bin/python3 server.py\nrelease: echo $DOZEN_RELEASE >> /data/noted/phases\n",
        )
        .write("dozen.toml", "[services.data]\nkind = \"volume\"\npath = \"/data/noted\"\n")
        .commit("with a release phase");
    project
}

/// The folder of the only volume of a host.
fn volume(host: &TestHost) -> PathBuf {
    let stages = std::fs::read_dir(host.state().join("services")).expect("services").flatten();
    let mut found: Vec<PathBuf> = stages.map(|stage| stage.path().join("data")).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}
