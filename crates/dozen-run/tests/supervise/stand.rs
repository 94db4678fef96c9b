//! One test's own supervisor, folders and layer.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use dozen_run::{InstanceState, LaunchId, PortPool, Probe, Supervisor};
use dozen_sandbox::{
    ProcessIdentity,
    spec::{CommandSpec, LaunchSpec, Limits, Network, Restart, StopPolicy, Walls, WallsUser},
};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

/// The binary that is shim, init and app.
const PROBE: &str = env!("CARGO_BIN_EXE_run-probe");

/// How long anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Stand {
    pub(crate) supervisor: Supervisor,
    pub(crate) ports: PortPool,
    folder: TempDir,
}

impl Stand {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("dozen-run-").tempdir().unwrap();
        // The app's user must get through to its layer.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let layer = folder.path().join("layer");
        fs::create_dir(&layer).unwrap();
        fs::copy(PROBE, layer.join("run-probe")).unwrap();
        let supervisor = supervisor_in(folder.path());
        Self { supervisor, ports: PortPool::new(), folder }
    }

    /// The supervisor dies as with its process, and another one comes.
    pub(crate) fn replace_supervisor(&mut self) {
        self.supervisor = supervisor_in(self.folder.path());
    }

    /// A spec that runs `words` for ever.
    pub(crate) fn spec(&self, id: &LaunchId, words: &[&str]) -> LaunchSpec {
        LaunchSpec {
            instance: "web.1".into(),
            walls: Walls {
                hostname: "probe".into(),
                user: app_user(),
                app: vec![self.folder.path().join("layer")],
                app_upper: None,
                app_dir: None,
                binds: vec![],
                tmp_bytes: 1 << 20,
                network: Network::Host,
            },
            command: CommandSpec {
                argv: words.iter().map(|word| (*word).into()).collect(),
                env: vec![("PATH".into(), "/app:/usr/bin:/bin".into())],
                cwd: "/app".into(),
            },
            restart: Restart::Always,
            stop: StopPolicy { grace: Duration::from_secs(10), ..StopPolicy::default() },
            log_dir: self.log_dir(id),
            segment_bytes: 1 << 20,
            log_bytes: 256 << 20,
            limits: Limits::default(),
            attach: None,
            lifeline: false,
        }
    }

    /// A spec that serves on a port of its own.
    pub(crate) fn web(&self, id: &LaunchId, options: &[&str]) -> (LaunchSpec, Probe) {
        let mut words = vec!["run-probe", "serve"];
        words.extend(options);
        let mut spec = self.spec(id, &words);
        let port = self.ports.reserve().unwrap();
        spec.command.env.push(("PORT".into(), port.to_string().into()));
        (spec, probe(port))
    }

    fn log_dir(&self, id: &LaunchId) -> PathBuf {
        let folder = self.folder.path().join("logs").join(id.as_str());
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Everything the instance has printed, in order.
    pub(crate) fn output(&self, id: &LaunchId) -> String {
        let mut segments: Vec<PathBuf> =
            fs::read_dir(self.log_dir(id)).unwrap().map(|entry| entry.unwrap().path()).collect();
        segments.retain(|path| path.extension().is_some_and(|suffix| suffix == "seg"));
        segments.sort();
        let bytes: Vec<u8> = segments.iter().flat_map(|path| fs::read(path).unwrap()).collect();
        String::from_utf8(bytes).unwrap()
    }

    /// Waits until the output holds `text`.
    pub(crate) fn wait_output(&self, id: &LaunchId, text: &str) {
        wait(|| self.output(id).contains(text), || format!("no `{text}` in: {}", self.output(id)));
    }

    /// Starts an instance and waits until its program runs.
    pub(crate) fn start(&self, id: &LaunchId, spec: &LaunchSpec) -> InstanceState {
        self.supervisor.start(id, spec).unwrap();
        self.wait_running(id)
    }

    pub(crate) fn wait_running(&self, id: &LaunchId) -> InstanceState {
        let state = || self.supervisor.status(id).unwrap();
        wait(|| state().is_running(), || format!("not running: {:?}", state()));
        state()
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        for id in self.supervisor.list().unwrap_or_default() {
            let _ = self.supervisor.kill(&id);
        }
    }
}

fn supervisor_in(folder: &Path) -> Supervisor {
    Supervisor::new(PROBE.into(), folder.join("run")).unwrap()
}

/// Under root an app has a user of its own; else it runs as the caller.
fn app_user() -> WallsUser {
    if geteuid().is_root() {
        WallsUser { uid: 64_321, gid: 64_321 }
    } else {
        WallsUser { uid: geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }
}

pub(crate) fn id(name: &str) -> LaunchId {
    name.parse().unwrap()
}

pub(crate) fn probe(port: u16) -> Probe {
    Probe {
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        health_path: None,
        host: "shop.localhost:1212".into(),
        proto: "http".into(),
        timeout: PATIENCE,
    }
}

/// Waits for a state.
pub(crate) fn wait(reached: impl Fn() -> bool, otherwise: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "{}", otherwise());
        sleep(Duration::from_millis(5));
    }
}

/// One request; the body of the answer, or `None` if nobody answers.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// Signals one process, as an administrator might.
pub(crate) fn signal(process: ProcessIdentity, signal: Signal) {
    let pid = Pid::from_raw(process.pid.try_into().unwrap()).unwrap();
    assert!(process.exists());
    kill_process(pid, signal).unwrap();
}
