//! The control plane's state in one place: what every part of it works with.
//!
//! The store holds each fact that must survive; what is here besides can be made anew at the next
//! start (workers, holds, followers of running work). Nothing here decides: the release engine
//! ([`crate::engine`]), the reconciler ([`crate::reconcile`]) and the stage workers do.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsString,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use dozen_build::store::LayerStore;
use dozen_logs::{LogDirs, LogStore, PlatformLog};
use dozen_model::{
    address_range::AddressRange, image::Image, names::AppName, names::StageName, route_table::Hold,
};
use dozen_run::{PortPool, Supervisor};
use dozen_sandbox::spec::WallsUser;
use parking_lot::{Mutex, RwLock};

use crate::{
    barrier::{self, Place},
    certs::{AcmeSettings, CertificateKeeper},
    error::ControlError,
    home::Home,
    key_file,
    progress::ProgressLog,
    router_link::RouterLink,
    seal::Key,
    store::{DeployRow, DeployState, ReleaseRow, StageKey, StageRow, Store},
    worker::Worker,
};

/// What the server was told at its start.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// `DOZEN_HOME`.
    pub home: PathBuf,
    /// `DOZEN_RUN`.
    pub run: PathBuf,
    /// Addresses of the router.
    pub listen: Vec<SocketAddr>,
    /// Addresses of the router for HTTPS.
    pub listen_https: Vec<SocketAddr>,
    /// The port at which clients reach HTTPS, where it is not that of such an address.
    pub https_port: Option<u16>,
    /// How certificates are got from an ACME server.
    pub acme: AcmeSettings,
    /// Proxies before the router whose word about the client counts.
    pub trusted_proxies: Vec<AddressRange>,
    /// Time limits and bounds of the router.
    pub router_limits: dozen_router::Limits,
    /// Base domain.
    pub domain: String,
    /// The key's file when it is not `home/key`.
    pub key_file: Option<PathBuf>,
    /// Our own executable: the shims and the router are it.
    pub binary: PathBuf,
    /// Proxy, index and CA variables for builds.
    pub build_env: BTreeMap<OsString, OsString>,
    /// Root of pyenv.
    pub pyenv_root: Option<PathBuf>,
    /// `PATH`.
    pub path: OsString,
    /// Home folder of the server's user.
    pub user_home: Option<PathBuf>,
    /// A folder of barriers, for tests that kill the server at each step; see [`crate::barrier`].
    pub barriers: Option<PathBuf>,
}

/// The running control plane.
#[derive(Debug)]
pub struct Control {
    pub(crate) options: ServerOptions,
    pub(crate) home: Home,
    pub(crate) store: Store,
    pub(crate) key: Key,
    pub(crate) layers: LayerStore,
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) ports: PortPool,
    pub(crate) logs: LogStore,
    pub(crate) router: RouterLink,
    pub(crate) keeper: CertificateKeeper,
    pub(crate) started_at: i64,
    as_root: bool,
    ending: AtomicBool,
    /// Whether processes may be started; held for reading while one is recorded or started.
    pub(crate) may_start: RwLock<bool>,
    workers: Mutex<HashMap<i64, Worker>>,
    holds: Mutex<HashMap<i64, Hold>>,
    platform: Mutex<HashMap<i64, Arc<PlatformLog>>>,
    work: Mutex<HashMap<i64, Work>>,
    drains: Mutex<HashSet<String>>,
    silenced: Mutex<HashSet<i64>>,
    pub(crate) destructions: Mutex<HashMap<AppName, Arc<ProgressLog>>>,
}

/// A deploy that is not ended: who follows it, and whether it is to stop.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) progress: Arc<ProgressLog>,
    pub(crate) cancel: Arc<AtomicBool>,
    too_late: Arc<Mutex<bool>>,
}

impl Work {
    /// Asks for the end; false when it is too late for that.
    pub(crate) fn try_cancel(&self) -> bool {
        let too_late = self.too_late.lock();
        if !*too_late {
            self.cancel.store(true, Ordering::SeqCst);
        }
        !*too_late
    }

    /// From here on it cannot be cancelled; false when somebody has asked for that before.
    pub(crate) fn commit(&self) -> bool {
        let mut too_late = self.too_late.lock();
        *too_late = !self.cancel.load(Ordering::SeqCst);
        *too_late
    }
}

impl Control {
    /// Opens everything that a server keeps. Nothing is started yet.
    pub fn open(options: ServerOptions) -> Result<Arc<Self>, ControlError> {
        let home = Home::open(&options.home, &options.run)?;
        home.refuse_lost_database()?;
        let store = Store::open(&home.database())?;
        let key_file = options.key_file.clone().unwrap_or_else(|| options.home.join("key"));
        let key = key_file::open(&key_file, &store)?;
        let layers = LayerStore::open(home.root()).map_err(build_error)?;
        let supervisor = Arc::new(Supervisor::new(options.binary.clone(), home.run().to_owned())?);
        let logs = LogStore::new(LogDirs {
            apps: home.root().join("logs"),
            router: Some(home.router().join("access")),
        });
        let as_root = rustix::process::geteuid().is_root();
        let router = RouterLink::new(&options, &home, as_root);
        router.let_read(&home.layers())?;
        Ok(Arc::new(Self {
            options,
            home,
            store,
            key,
            layers,
            supervisor,
            ports: PortPool::new(),
            logs,
            router,
            keeper: CertificateKeeper::default(),
            started_at: crate::store::now(),
            as_root,
            ending: AtomicBool::new(false),
            may_start: RwLock::new(true),
            workers: Mutex::default(),
            holds: Mutex::default(),
            platform: Mutex::default(),
            work: Mutex::default(),
            drains: Mutex::default(),
            silenced: Mutex::default(),
            destructions: Mutex::default(),
        }))
    }

    /// Whether the server runs as root.
    pub fn as_root(&self) -> bool {
        self.as_root
    }

    /// Whose processes a stage's instances are: a user of their own as root, else the server's.
    pub(crate) fn user_of(&self, stage: i64) -> WallsUser {
        const FIRST_STAGE: u32 = 200_000;
        if self.as_root {
            let uid = FIRST_STAGE + u32::try_from(stage % 90_000).unwrap_or(0);
            WallsUser { uid, gid: uid }
        } else {
            WallsUser { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
        }
    }

    /// Says that the server is ending: steps stop at the next barrier, nothing new is begun.
    pub fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// Whether the server is ending.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// The worker of a stage; it is started at its first use.
    pub(crate) fn worker(self: &Arc<Self>, stage: i64) -> Worker {
        self.workers.lock().entry(stage).or_insert_with(|| Worker::start(Arc::clone(self), stage)).clone()
    }

    /// Forgets what is kept in memory of a stage that was destroyed, but not that its log is silent:
    /// a late line would make the log's folder again, and no other stage ever has this number.
    pub(crate) fn forget(&self, stage: i64) {
        self.workers.lock().remove(&stage);
        self.holds.lock().remove(&stage);
        self.platform.lock().remove(&stage);
    }

    /// Which requests of a stage the router holds now.
    pub(crate) fn hold_of(&self, stage: i64) -> Hold {
        self.holds.lock().get(&stage).copied().unwrap_or_default()
    }

    /// Changes it; the next published table carries it.
    pub(crate) fn set_hold(&self, stage: i64, hold: Hold) {
        if hold == Hold::None {
            self.holds.lock().remove(&stage);
        } else {
            self.holds.lock().insert(stage, hold);
        }
    }

    /// Writes a line of ours into the stage's log.
    pub(crate) fn say(&self, stage: &StageKey, process: &str, text: &str) {
        if let Some(log) = self.platform_log(stage) {
            log.write(process, text);
        }
    }

    /// From here on nothing is said of a stage any more: its log is being deleted.
    pub(crate) fn silence(&self, stage: i64) {
        let mut logs = self.platform.lock();
        self.silenced.lock().insert(stage);
        logs.remove(&stage);
    }

    /// Waits here if a test asks for it.
    pub(crate) fn reach(&self, place: Place) {
        self.reach_named(place.name());
    }

    /// The same, for the places that belong to a list of steps.
    pub(crate) fn reach_named(&self, name: &str) {
        barrier::reach(self.options.barriers.as_deref(), name);
    }

    pub(crate) fn platform_log(&self, stage: &StageKey) -> Option<Arc<PlatformLog>> {
        let mut logs = self.platform.lock();
        if self.silenced.lock().contains(&stage.id) {
            return None;
        }
        if let Some(log) = logs.get(&stage.id) {
            return Some(Arc::clone(log));
        }
        let log = Arc::new(self.logs.platform_log(&stage.app, &stage.stage).ok()?);
        logs.insert(stage.id, Arc::clone(&log));
        Some(log)
    }

    /// The followers and the cancel flag of a deploy that is not ended.
    pub(crate) fn work(&self, deploy: i64, number: u64, stage: &StageKey) -> Work {
        let make = || Work {
            progress: Arc::new(ProgressLog::kept(&self.events_file(stage, number))),
            cancel: Arc::new(AtomicBool::new(false)),
            too_late: Arc::default(),
        };
        self.work.lock().entry(deploy).or_insert_with(make).clone()
    }

    /// The same, if it is under way.
    pub(crate) fn running_work(&self, deploy: i64) -> Option<Work> {
        self.work.lock().get(&deploy).cloned()
    }

    /// The same, also for one that waits in the queue and was put there by an earlier server.
    pub(crate) fn work_of(&self, stage: &StageRow, deploy: &DeployRow) -> Option<Work> {
        let is_open = |row: &DeployRow| matches!(row.state, DeployState::Queued | DeployState::Running);
        let running = self.running_work(deploy.id);
        if running.is_some() || !is_open(deploy) {
            return running;
        }
        let work = self.work(deploy.id, deploy.number, &stage.key);
        // It may have ended since its row was read, and then nobody would ever finish this.
        if self.store.deploy(deploy.id).ok().flatten().is_some_and(|row| is_open(&row)) {
            return Some(work);
        }
        self.work_ended(deploy.id);
        None
    }

    /// Forgets a deploy that ended.
    pub(crate) fn work_ended(&self, deploy: i64) {
        self.work.lock().remove(&deploy);
    }

    /// The file of a deploy's events.
    pub(crate) fn events_file(&self, stage: &StageKey, number: u64) -> PathBuf {
        self.home.deploys(&stage.app, &stage.stage).join(format!("{number}.ndjson"))
    }

    /// Whether the caller is the one to drain a launch.
    pub(crate) fn begin_drain(&self, launch: &str) -> bool {
        self.drains.lock().insert(launch.to_owned())
    }

    /// The end of a drain.
    pub(crate) fn drain_ended(&self, launch: &str) {
        self.drains.lock().remove(launch);
    }

    /// The image of a release.
    pub(crate) fn image_of(&self, release: &ReleaseRow) -> Result<Image, ControlError> {
        self.layers.image(&release.image).ok_or_else(|| ControlError::Io {
            what: format!("read the image {} of {}", release.image.short(), release.number),
            source: std::io::ErrorKind::NotFound.into(),
        })
    }

    /// The host name that dozen gives a stage: `APP.DOMAIN`, `STAGE--APP.DOMAIN`.
    pub(crate) fn automatic_host(&self, app: &AppName, stage: &StageName) -> String {
        let domain = &self.options.domain;
        if *stage == StageName::production() {
            format!("{app}.{domain}")
        } else {
            format!("{stage}--{app}.{domain}")
        }
    }

    /// Whether clients can speak TLS with the router.
    pub(crate) fn speaks_tls(&self) -> bool {
        !self.options.listen_https.is_empty()
    }

    /// The address to open for a host: HTTPS where strangers believe the certificate.
    pub(crate) fn url_of(&self, host: &str) -> String {
        match (self.router.https_port(), self.router.port()) {
            (Some(port), _) if self.is_certified(host) => url("https", host, port, 443),
            (_, port) => url("http", host, port.unwrap_or(80), 80),
        }
    }

    /// Every address of a stage: the automatic one, then its domains.
    pub(crate) fn urls(&self, stage: &StageKey) -> Vec<String> {
        let domains = self.routed_domains(stage.id).unwrap_or_default();
        let own = self.automatic_host(&stage.app, &stage.stage);
        std::iter::once(self.url_of(&own))
            .chain(domains.iter().map(|name| self.url_of(name.as_str())))
            .collect()
    }

    /// The host that probes use: the first domain of the user's, else the automatic one.
    pub(crate) fn probe_host(&self, stage: &StageKey) -> String {
        let own = || self.automatic_host(&stage.app, &stage.stage);
        self.routed_domains(stage.id)
            .ok()
            .and_then(|names| Some(names.first()?.to_string()))
            .unwrap_or_else(own)
    }
}

fn url(scheme: &str, host: &str, port: u16, usual: u16) -> String {
    if port == usual { format!("{scheme}://{host}/") } else { format!("{scheme}://{host}:{port}/") }
}

/// A build's error in the control plane's words.
pub(crate) fn build_error(error: dozen_build::BuildError) -> ControlError {
    use dozen_model::hint::Hint;
    // A full disk is the machine's owner's to mend, and the hint says so.
    let internal = matches!(&error, dozen_build::BuildError::Io { source, .. }
        if source.kind() != std::io::ErrorKind::StorageFull);
    if matches!(error, dozen_build::BuildError::Cancelled) {
        return ControlError::Cancelled;
    }
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(source) = cause {
        message = format!("{message}: {source}");
        cause = source.source();
    }
    ControlError::Build { message, hint: error.hint(), log_tail: error.log_tail().to_vec(), internal }
}
