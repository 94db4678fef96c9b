//! A router under test: its process, its folder, its tables.

use std::{
    net::SocketAddr,
    os::unix::{fs::chown, net::UnixListener},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, Instant},
};

use dozen_model::{
    address_range::AddressRange,
    certificates::{Certificate, CertificateSet},
    names::StageName,
    release::ReleaseNumber,
    route_policy::RoutePolicy,
    route_table::{Endpoint, EndpointAddress, Hold, RouteTable, StageRoute, Target},
};
use dozen_router::{
    DropTo, Launch, LaunchSettings, Limits, ListenerKind, bind_listeners, client::RouterClient,
};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::browser::{Browser, Reply};

/// A running router; it is killed at the end of its test.
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    /// The address for HTTPS.
    pub(crate) tls: SocketAddr,
    pub(crate) dir: TempDir,
    launch: Launch,
    child: Mutex<Child>,
    generation: AtomicU64,
    certificate_generation: AtomicU64,
}

impl Host {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        Self::launch(limits, None, Vec::new())
    }

    /// Starts with no more than so many descriptors.
    pub(crate) fn with_descriptors(count: u32, change: impl FnOnce(&mut Limits)) -> Self {
        let host = Self::with(change);
        host.kill();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("ulimit -n {count}; exec \"$0\""), env!("CARGO_BIN_EXE_router-probe")]);
        *host.child.lock() = host.launch.spawn(command.stdout(Stdio::null())).unwrap();
        host
    }

    /// Starts as root and continues as this user, to whom its folders belong.
    pub(crate) fn as_user(to: DropTo) -> Self {
        Self::launch(Limits::default(), Some(to), Vec::new())
    }

    /// Takes this process for a proxy that may say who its client is.
    pub(crate) fn behind_a_proxy() -> Self {
        Self::launch(Limits::default(), None, vec!["127.0.0.1".parse().unwrap()])
    }

    fn launch(limits: Limits, drop_to: Option<DropTo>, trusted_proxies: Vec<AddressRange>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("state")).unwrap();
        std::fs::create_dir(dir.path().join("access")).unwrap();
        if let Some(to) = drop_to {
            for path in ["", "state", "access"] {
                chown(dir.path().join(path), Some(to.uid), Some(to.gid)).unwrap();
            }
        }
        let bind = |kind| bind_listeners(([127, 0, 0, 1], 0).into(), kind, 2).unwrap();
        let mut listeners = bind(ListenerKind::Plain);
        listeners.extend(bind(ListenerKind::Tls));
        let [address, tls] = [0, 2].map(|index| listeners[index].address().unwrap());
        let launch = Launch {
            listeners,
            control: UnixListener::bind(dir.path().join("control")).unwrap().into(),
            settings: LaunchSettings {
                state_dir: dir.path().join("state"),
                access_dir: dir.path().join("access"),
                drop_to,
                trusted_proxies,
                limits,
            },
        };
        let child = Mutex::new(spawn(&launch));
        let [generation, certificate_generation] = [const { AtomicU64::new(0) }; 2];
        Self { address, tls, dir, launch, child, generation, certificate_generation }
    }

    pub(crate) fn client(&self) -> RouterClient {
        RouterClient::connect(&self.dir.path().join("control")).unwrap()
    }

    /// Routes these stages from now on.
    pub(crate) fn route(&self, stages: Vec<StageRoute>) {
        let generation = self.generation.fetch_add(1, SeqCst) + 1;
        let table = RouteTable { generation, bare_hosts: vec!["server.test".into()], stages };
        assert_eq!(self.client().set_table(&table).unwrap(), generation);
    }

    /// Shows these certificates from now on, and nothing else.
    pub(crate) fn show(&self, certificates: Vec<Certificate>) {
        self.set_certificates(|set| set.certificates = certificates);
    }

    /// Gives the router a new set of certificates and challenges, made by `fill`.
    pub(crate) fn set_certificates(&self, fill: impl FnOnce(&mut CertificateSet)) {
        let generation = self.certificate_generation.fetch_add(1, SeqCst) + 1;
        let mut set = CertificateSet { generation, ..CertificateSet::default() };
        fill(&mut set);
        assert_eq!(self.client().set_certificates(&set).unwrap(), generation);
    }

    pub(crate) fn browser(&self) -> Browser {
        self.browser_at(self.address)
    }

    pub(crate) fn browser_at(&self, address: SocketAddr) -> Browser {
        Browser::connect(address)
    }

    pub(crate) fn get(&self, host: &str, path: &str) -> Reply {
        self.browser().get(host, path).unwrap()
    }

    pub(crate) fn get_or_none(&self, host: &str, path: &str) -> Option<Reply> {
        self.browser().get(host, path)
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child.lock())
    }

    /// Memory that its process has in use, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// kill -9, and a new process with the same sockets.
    pub(crate) fn kill_and_restart(&self) {
        self.kill();
        *self.child.lock() = spawn(&self.launch);
    }

    /// Starts a successor with the same sockets, and ends this one when the successor serves. The
    /// old one goes on until it has nothing left to do.
    pub(crate) fn upgrade(&self) -> Child {
        let successor = spawn(&self.launch);
        let pid = successor.id();
        // Either may take the question.
        eventually("the successor serves", || self.client().status().is_ok_and(|status| status.pid == pid));
        self.terminate();
        std::mem::replace(&mut *self.child.lock(), successor)
    }

    pub(crate) fn kill(&self) {
        let mut child = self.child.lock();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn terminate(&self) {
        rustix::process::kill_process(self.pid(), rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) fn exited(&self) -> Option<ExitStatus> {
        self.child.lock().try_wait().unwrap()
    }

    /// All access log lines of an app so far.
    pub(crate) fn access_log(&self, app: &str) -> String {
        let dir = self.dir.path().join("access").join(app).join("production");
        let Ok(files) = std::fs::read_dir(dir) else { return String::new() };
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let mut child = self.child.lock();
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn spawn(launch: &Launch) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_router-probe"));
    launch.spawn(command.stdout(Stdio::null())).unwrap()
}

/// The production stage of an app at `APP.test`.
pub(crate) fn stage(app: &str, endpoints: &[(&str, SocketAddr)]) -> StageRoute {
    let endpoint = |(index, (id, address)): (usize, &(&str, SocketAddr))| Endpoint {
        id: (*id).to_owned(),
        instance: format!("web.{}", index + 1).parse().unwrap(),
        release: ReleaseNumber(3),
        address: EndpointAddress::Tcp(*address),
    };
    StageRoute {
        app: app.parse().unwrap(),
        stage: StageName::production(),
        release: Some(ReleaseNumber(3)),
        domains: vec![format!("{app}.test").parse().unwrap()],
        target: Target::Endpoints(endpoints.iter().enumerate().map(endpoint).collect()),
        waiting: false,
        hold: Hold::None,
        hold_limit: Duration::from_secs(20),
        policy: RoutePolicy::default(),
    }
}

/// A port that nobody listens on: bound, not listening, so nobody else gets it.
pub(crate) struct ClosedPort(socket2::Socket);

impl ClosedPort {
    pub(crate) fn take() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }
}

/// Waits until `done`, for thirty seconds at most.
#[track_caller]
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "not in thirty seconds: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
