//! A place of its own for each test: directories, a program with the `shim` entry, and a user.

use std::{
    cell::RefCell,
    fs::{self, Permissions},
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use dozen_model::segment::{IndexRecord, parse_segment_name};
use dozen_sandbox::{
    ProcessIdentity,
    client::{self, LaunchMode, Observation, ShimHandle},
    spec::{ByteString, CommandSpec, LaunchSpec, Limits, Network, Restart, StopPolicy, Walls, WallsUser},
    state::{ExitStatus, InstanceState, Phase},
};

pub(crate) const PYTHON: &str = "/usr/bin/python3";
const APP_UID: u32 = 23456;
const ORDINARY_UID: u32 = 65534;

/// Who keeps the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    Root,
    Ordinary,
}

/// Both users, where this test may be both; an ordinary user is only itself.
pub(crate) fn users() -> Vec<User> {
    if rustix::process::geteuid().is_root() { vec![User::Root, User::Ordinary] } else { vec![User::Ordinary] }
}

pub(crate) struct Host {
    folder: tempfile::TempDir,
    pub(crate) user: User,
    /// Who the app is.
    pub(crate) app_user: WallsUser,
    pub(crate) binary: PathBuf,
    /// Shims that were started, for the end.
    shims: RefCell<Vec<ProcessIdentity>>,
}

impl Host {
    pub(crate) fn new(user: User) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let is_root = rustix::process::geteuid().is_root();
        let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let (uid, gid) = match (user, is_root) {
            (User::Root, _) => (APP_UID, APP_UID),
            (User::Ordinary, true) => (ORDINARY_UID, ORDINARY_UID),
            (User::Ordinary, false) => me,
        };
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let binary = folder.path().join("shim-probe");
        // Copied by another process: a descriptor open for writing, inherited by a shim that another
        // test is just starting, would make the program busy.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_shim-probe")).arg(&binary).status();
        assert!(copied.unwrap().success());
        let binary = if is_root { as_user(folder.path(), &binary, user) } else { binary };
        let app_user = WallsUser { uid, gid };
        let host = Self { folder, user, app_user, binary, shims: RefCell::default() };
        host.dir("release");
        host.write("release/file", "as built\n");
        host.dir("logs");
        host.dir("instance");
        fs::set_permissions(host.instance(), Permissions::from_mode(0o700)).unwrap();
        host
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn instance(&self) -> PathBuf {
        self.path("instance")
    }

    /// A directory that the keeper owns.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        self.give(&path);
        path
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        self.give(&path);
        path
    }

    fn give(&self, path: &Path) {
        if self.user == User::Ordinary && rustix::process::geteuid().is_root() {
            chown(path, Some(self.app_user.uid), Some(self.app_user.gid)).unwrap();
        }
    }

    pub(crate) fn spec(&self, argv: &[&str]) -> LaunchSpec {
        LaunchSpec {
            instance: "web.1".into(),
            walls: Walls {
                hostname: "web-1".into(),
                user: self.app_user,
                app: vec![self.path("release")],
                app_upper: None,
                app_dir: None,
                binds: Vec::new(),
                tmp_bytes: 4 << 20,
                network: Network::Host,
            },
            command: CommandSpec {
                argv: argv.iter().map(|word| ByteString::from(*word)).collect(),
                env: vec![("PATH".into(), "/usr/bin:/bin".into()), ("HOME".into(), "/tmp".into())],
                cwd: "/app".into(),
            },
            restart: Restart::Never,
            stop: StopPolicy { grace: Duration::from_secs(20), ..StopPolicy::default() },
            log_dir: self.path("logs"),
            segment_bytes: 16 << 20,
            log_bytes: 256 << 20,
            limits: Limits::default(),
            attach: None,
            lifeline: false,
        }
    }

    pub(crate) fn python(&self, program: &str) -> LaunchSpec {
        self.spec(&[PYTHON, "-I", "-S", "-c", program])
    }

    pub(crate) fn start(&self, spec: &LaunchSpec) -> Kept {
        self.spawn(spec, LaunchMode::Start)
    }

    pub(crate) fn adopt(&self, spec: &LaunchSpec) -> Kept {
        self.spawn(spec, LaunchMode::Adopt)
    }

    /// A shim that ends the instance and knows no spec.
    pub(crate) fn end(&self, grace: Option<Duration>) -> Kept {
        self.kept(client::spawn_ending_shim(&self.binary, &self.instance(), grace).unwrap())
    }

    fn spawn(&self, spec: &LaunchSpec, mode: LaunchMode) -> Kept {
        self.kept(client::spawn_shim(&self.binary, &self.instance(), spec, mode).unwrap())
    }

    fn kept(&self, shim: ShimHandle) -> Kept {
        self.shims.borrow_mut().extend(ProcessIdentity::of(shim.pid()));
        Kept { shim, dir: self.instance() }
    }

    /// Runs to the end: the state, and what was logged.
    pub(crate) fn run(&self, spec: &LaunchSpec) -> (InstanceState, String) {
        let state = self.start(spec).until_over();
        (state, self.log_text())
    }

    /// Runs and expects success; what was logged.
    pub(crate) fn output_of(&self, spec: &LaunchSpec) -> String {
        let (state, output) = self.run(spec);
        let status = state.last_exit.map(|exit| exit.status);
        assert_eq!(status, Some(ExitStatus::Code(0)), "{:?}: {output} {state:?}", self.user);
        output
    }

    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("logs")).unwrap().map(|entry| entry.unwrap().path());
        let is_segment =
            |path: &PathBuf| parse_segment_name(path.file_name().unwrap().to_str().unwrap()).is_some();
        let mut segments: Vec<_> = entries.filter(is_segment).collect();
        segments.sort();
        segments
    }

    pub(crate) fn log(&self) -> Vec<u8> {
        self.segments().iter().flat_map(|path| fs::read(path).unwrap()).collect()
    }

    pub(crate) fn log_text(&self) -> String {
        String::from_utf8_lossy(&self.log()).into_owned()
    }

    pub(crate) fn index(&self, segment: &Path) -> Vec<IndexRecord> {
        IndexRecord::decode_all(&fs::read(segment.with_extension("idx")).unwrap()).collect()
    }

    pub(crate) fn state(&self) -> InstanceState {
        client::read_state(&self.instance()).unwrap().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A failed test must not leave an instance behind.
        end_instance(&self.binary, &self.instance());
        // A shim that is not found there any more.
        for shim in self.shims.borrow().iter().filter(|shim| shim.exists()) {
            let pid = rustix::process::Pid::from_raw(shim.pid.cast_signed()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Ends what lives of an instance, and waits for it: a shim writes its last state into the folder, which
/// could not be removed meanwhile.
pub(crate) fn end_instance(binary: &Path, dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        match client::observe(dir) {
            Ok(Observation::Kept(_)) => {
                drop(client::request(dir, &dozen_sandbox::protocol::Request::Kill {}))
            }
            Ok(Observation::Orphaned(_)) => {
                drop(client::spawn_ending_shim(binary, dir, Some(Duration::ZERO)));
            }
            _ => return,
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A program that becomes the user and then the shim. Root comes with groups that an app must not have.
fn as_user(folder: &Path, binary: &Path, user: User) -> PathBuf {
    let path = folder.join("shim-probe-as-user");
    let options = match user {
        User::Root => "--groups 4,24".to_owned(),
        User::Ordinary => format!("--reuid {ORDINARY_UID} --regid {ORDINARY_UID} --clear-groups"),
    };
    let script = format!("#!/bin/sh\nexec /usr/bin/setpriv {options} -- {} \"$@\"\n", binary.display());
    // By another process, for the same reason as above.
    let mut writer =
        Command::new("tee").arg(&path).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    writer.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

/// An instance with a shim.
pub(crate) struct Kept {
    pub(crate) shim: ShimHandle,
    dir: PathBuf,
}

impl Kept {
    pub(crate) fn state(&self) -> InstanceState {
        client::read_state(&self.dir).unwrap().unwrap()
    }

    pub(crate) fn until(&self, what: &str, holds: impl Fn(&InstanceState) -> bool) -> InstanceState {
        let last = RefCell::new(None);
        let look = || {
            last.replace(Some(self.state()));
            last.borrow().clone().filter(|state| holds(state))
        };
        let found = wait_for_with(what, look, || format!("{:#?}", last.borrow()));
        assert!(holds(&found));
        found
    }

    pub(crate) fn until_running(&self) -> InstanceState {
        self.until("running", |state| {
            assert!(!state.has_ended(), "it ended: {state:?}");
            state.phase == Phase::Running
        })
    }

    /// Waits for the end of the instance and of its shim.
    pub(crate) fn until_over(&self) -> InstanceState {
        let state = self.until("the end of the instance", InstanceState::has_ended);
        wait_for("the end of the shim", || self.shim.reap().then_some(()));
        state
    }

    /// Waits for the end of the shim, whatever the state in the file.
    pub(crate) fn until_dead(&self) {
        wait_for("the end of the shim", || self.shim.reap().then_some(()));
    }

    /// kill -9 of the shim.
    pub(crate) fn kill_shim(&self) {
        rustix::process::pidfd_send_signal(&self.shim, rustix::process::Signal::KILL).unwrap();
        wait_for("the death of the shim", || self.shim.reap().then_some(()));
    }
}

/// Waits for a state, with a deadline.
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_for_with(what, look, String::new)
}

fn wait_for_with<T>(what: &str, mut look: impl FnMut() -> Option<T>, last: impl Fn() -> String) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}: {}", last());
        std::thread::sleep(Duration::from_millis(2));
    }
}
