//! A control plane in a temporary home for tests of its parts: no router, no API, and no binary
//! that could become a shim.

use std::{collections::BTreeMap, io::Write, os::unix::fs::DirBuilderExt, path::PathBuf, sync::Arc};

use dozen_model::{
    formation::Formation,
    image::{Image, Language},
    manifest::AppManifest,
    release::ReleaseNumber,
};

use crate::{
    certs::AcmeSettings,
    control::{Control, ServerOptions},
    engine::{Change, ChangeRequest},
    launcher::{NewLaunch, launch_id},
    release_config::ReleaseConfig,
    seal::Secret,
    store::{
        DeployKind, DeployRow, GoLive, LaunchRow, LaunchState, NewDeploy, NewRelease, Purpose, StageKey,
        StageRow,
    },
};

/// The control plane of one app, `blango`.
pub(crate) struct Stand {
    pub(crate) control: Arc<Control>,
    pub(crate) key: StageKey,
    _home: tempfile::TempDir,
}

impl Stand {
    /// A home with one app that has no release.
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let options = ServerOptions {
            home: home.path().join("home"),
            run: home.path().join("run"),
            listen: Vec::new(),
            listen_https: Vec::new(),
            https_port: None,
            acme: AcmeSettings {
                automatic: false,
                directory: "https://acme.invalid/directory".into(),
                email: None,
                authorities: None,
            },
            trusted_proxies: Vec::new(),
            router_limits: dozen_router::Limits::default(),
            domain: "localhost".into(),
            key_file: None,
            binary: "/bin/false".into(),
            build_env: BTreeMap::new(),
            pyenv_root: None,
            path: "/usr/bin:/bin".into(),
            user_home: None,
            barriers: None,
        };
        let control = Control::open(options).unwrap();
        control.store.create_app(&"blango".parse().unwrap()).unwrap();
        let key = control.store.stages().unwrap()[0].key.clone();
        Self { control, key, _home: home }
    }

    /// The stage as it is now.
    pub(crate) fn stage(&self) -> StageRow {
        self.control.store.stage_by_id(self.key.id).unwrap().unwrap()
    }

    /// A change in the queue.
    pub(crate) fn queue(&self, kind: DeployKind) -> DeployRow {
        self.queue_request(kind, &ChangeRequest::default())
    }

    /// A change in the queue that asks for this.
    pub(crate) fn queue_request(&self, kind: DeployKind, request: &ChangeRequest) -> DeployRow {
        let source = crate::api::wire::DeploySource::default();
        let text = serde_json::to_vec(request).unwrap();
        let seal = |deploy| self.control.key.seal(&self.key.owner(Secret::Change(deploy)), &text);
        let new = NewDeploy { kind, source: &source, sealed_request: Some(&seal), who: "me" };
        self.control.store.queue_deploy(self.key.id, &new, |_| Ok(())).unwrap().deploy
    }

    /// An image with a `web` and a `release` process and nothing in it.
    pub(crate) fn image() -> Image {
        Image {
            format: Image::FORMAT,
            arch: "x86_64".into(),
            language: Language::Procfile,
            runtime: None,
            layers: Vec::new(),
            processes: BTreeMap::from([("web".parse().unwrap(), "./web".into())]),
            release_command: Some("./migrate".into()),
            env: BTreeMap::new(),
            manifest: AppManifest::default(),
            static_root: None,
            django: false,
            has_migrations: false,
        }
    }

    /// A change under way that has made a release of an image with a `web` and a `release` process.
    pub(crate) fn release(&self) -> (DeployRow, ReleaseNumber) {
        let control = &self.control;
        let image = control.layers.put_image(&Self::image()).unwrap();
        let deploy = self.queue(DeployKind::Deploy);
        control.store.begin_deploy(deploy.id).unwrap();
        let formation = Formation::default();
        let new = NewRelease {
            deploy: deploy.id,
            image: &image,
            formation: &formation,
            change: "deploy",
            who: "me",
            commit: None,
        };
        let seal = |number: ReleaseNumber| {
            ReleaseConfig::default().seal(&control.key, &self.key.owner(Secret::Release(number)))
        };
        let number = control.store.add_release(self.key.id, &new, seal).unwrap();
        (control.store.deploy(deploy.id).unwrap().unwrap(), number)
    }

    /// A release that serves; its change is still under way.
    pub(crate) fn serve_release(&self) -> (DeployRow, ReleaseNumber) {
        let (deploy, release) = self.release();
        let live = GoLive {
            stage: self.key.id,
            release,
            config: &[],
            attachments: &[],
            domains: &[],
            start: Some(deploy.id),
        };
        self.control.store.make_current(&live).unwrap();
        (deploy, release)
    }

    /// The same for the first who looks; later ones find nothing of it.
    pub(crate) fn damage_once(&self, launch: &LaunchRow) -> DamageOnce {
        let folder = self.control.supervisor.folder(&launch_id(launch));
        std::fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let file = folder.join("state.json");
        rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        DamageOnce { folder }
    }

    /// A change, as the engine's steps see it.
    pub(crate) fn change(&self, deploy: i64) -> Change {
        let deploy = self.control.store.deploy(deploy).unwrap().unwrap();
        let work = self.control.work(deploy.id, deploy.number, &self.key);
        Change { control: Arc::clone(&self.control), stage: self.stage(), deploy, work }
    }

    /// The row of a process that never ran, in this state.
    pub(crate) fn launch(&self, purpose: Purpose, deploy: Option<i64>, state: LaunchState) -> LaunchRow {
        let name = if purpose == Purpose::ReleasePhase { "release.1" } else { "worker.1" };
        let new = NewLaunch { deploy, ..NewLaunch::of(purpose, name.parse().unwrap()) };
        let row = self.control.record_launch(&self.key, ReleaseNumber(1), new).unwrap();
        self.control.store.set_launch_state(&row.id, state).unwrap();
        self.control.store.launch(&row.id).unwrap().unwrap()
    }

    /// Makes it impossible to say whether a launch lives; removing the folder says that it is gone.
    pub(crate) fn damage(&self, launch: &LaunchRow) -> PathBuf {
        let folder = self.control.supervisor.folder(&launch_id(launch));
        std::fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
        std::fs::write(folder.join("state.json"), "no state").unwrap();
        folder
    }

    /// Waits for a state, with a deadline.
    pub(crate) fn wait_for(&self, what: &str, mut look: impl FnMut() -> bool) {
        let began = std::time::Instant::now();
        while !look() {
            assert!(began.elapsed() < std::time::Duration::from_secs(30), "waited for {what}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// The state of a launch now.
    pub(crate) fn state_of(&self, launch: &LaunchRow) -> LaunchState {
        self.control.store.launch(&launch.id).unwrap().unwrap().state
    }
}

/// A launch whose state is a pipe: who reads it waits for what is written into it.
pub(crate) struct DamageOnce {
    folder: PathBuf,
}

impl DamageOnce {
    /// Waits until somebody reads the state, who gets nonsense; then nothing is there any more.
    pub(crate) fn mend_while_it_is_read(self) {
        let mut pipe = std::fs::OpenOptions::new().write(true).open(self.folder.join("state.json")).unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
        pipe.write_all(b"no state").unwrap();
    }
}
