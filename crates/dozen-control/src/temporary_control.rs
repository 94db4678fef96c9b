//! A control plane in a temporary home, for tests of one part of it. It has no API, starts no
//! router and no process.

use std::sync::Arc;

use crate::{
    control::{Control, ServerOptions},
    store::StageRow,
};

/// An open control plane and the folder that it lives in.
pub(crate) fn temporary_control() -> (tempfile::TempDir, Arc<Control>) {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::open(ServerOptions {
        home: folder.path().join("state"),
        run: folder.path().join("run"),
        listen: vec![([127, 0, 0, 1], 0).into()],
        trusted_proxies: Vec::new(),
        domain: "localhost".into(),
        key_file: None,
        binary: "/bin/false".into(),
        build_env: std::collections::BTreeMap::new(),
        pyenv_root: None,
        path: "/usr/bin:/bin".into(),
        user_home: None,
        barriers: None,
    });
    (folder, control.unwrap())
}

/// The production stage of a new app.
pub(crate) fn stage(control: &Control, app: &str) -> StageRow {
    let app = app.parse().unwrap();
    control.store.create_app(&app).unwrap();
    control.store.stage(&app, &dozen_model::names::StageName::production()).unwrap()
}
