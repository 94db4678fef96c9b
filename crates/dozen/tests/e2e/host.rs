//! The machine of a test: a home, free ports, a server, and their clean-up.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{client, project::Project};

/// A server with a temporary home. Dropping it stops the apps, the server and removes the home.
pub struct TestHost {
    home: tempfile::TempDir,
    server: Option<Child>,
    port: u16,
    env: Vec<(String, String)>,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The same, but the command must have succeeded.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.status, 0, "{self:#?}");
        self
    }

    /// The same, but the command must have failed with `status`.
    #[track_caller]
    pub fn fails_with(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl TestHost {
    /// A home with a server.
    pub fn start() -> Self {
        let mut host = Self::without_server();
        host.start_server();
        host
    }

    /// A home with a server that has further settings.
    pub fn start_with(env: &[(&str, &str)]) -> Self {
        let mut host = Self::without_server();
        host.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        host.start_server();
        host
    }

    /// A home whose server is not started yet.
    pub fn without_server() -> Self {
        let home = tempfile::Builder::new().prefix("dz").tempdir().expect("a temporary home");
        Self { home, server: None, port: 0, env: Vec::new() }
    }

    /// Starts the server, with the port it had before if it had one.
    pub fn start_server(&mut self) {
        let command = self.command(["server", "start"]);
        self.start_server_by(command);
    }

    /// Starts the server as a shell starts it in a terminal: Ctrl-C means its whole process group.
    pub fn start_server_in_a_group_of_its_own(&mut self) {
        let mut command = self.command(["server", "start"]);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        self.start_server_by(command);
    }

    fn start_server_by(&mut self, command: Command) {
        self.spawn_server(command);
        let info = wait_for("the server to answer", Duration::from_secs(30), || self.info());
        let address = info["listen"][0].as_str().expect("an address");
        self.port = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    }

    /// What the server says of itself, when it answers.
    fn info(&self) -> Option<Value> {
        let ran = self.dozen(["server", "status", "--json"]);
        (ran.status == 0).then(|| ran.json())
    }

    fn spawn_server(&mut self, mut command: Command) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home().join("server.log"))
            .expect("the server's log");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log)
            .spawn()
            .expect("the server");
        self.server = Some(child);
    }

    /// A start of the server that has to be refused: what it told. One that serves is ended.
    #[track_caller]
    pub fn refused_start(&self) -> Ran {
        let mut command = self.command(["server", "start"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
        let deadline = Instant::now() + Duration::from_secs(30);
        while child.try_wait().expect("its state").is_none() {
            std::thread::sleep(Duration::from_millis(10));
            if Instant::now() > deadline {
                // Not by force: its router holds the pipes too.
                let pid = rustix::process::Pid::from_child(&child);
                rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a signal");
            }
        }
        Ran::from(child.wait_with_output().expect("its end")).fails_with(1)
    }

    /// The process id of control, started by [`TestHost::start_server`].
    pub fn control_pid(&self) -> u32 {
        self.server.as_ref().expect("a server").id()
    }

    /// Waits until control, which was told to stop, has ended.
    pub fn wait_for_control_end(&mut self) {
        let mut server = self.server.take().expect("a server");
        wait_for("control's end", Duration::from_secs(30), || server.try_wait().expect("its state"));
    }

    /// Kills control (-9) and waits until it is gone. Router, shims and apps stay.
    pub fn kill_control(&mut self) {
        let mut server = self.server.take().expect("a server");
        server.kill().expect("kill -9");
        server.wait().expect("its end");
    }

    /// The process id of the router.
    pub fn router_pid(&self) -> u32 {
        let info = self.dozen(["server", "status", "--json"]).succeeds().json();
        info["router_pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a router")
    }

    /// The temporary folder: `state` in it is `DOZEN_HOME`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// `DOZEN_HOME`.
    pub fn state(&self) -> PathBuf {
        self.home().join("state")
    }

    /// The port of the router.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A setting for every command from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// A command of the real binary, in this host's surroundings.
    pub fn command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(binary());
        let listen = format!("127.0.0.1:{}", self.port);
        command.args(words).env("DOZEN_HOME", self.state()).env("DOZEN_LISTEN", listen).env("NO_COLOR", "1");
        for name in ["DOZEN_RUN", "DOZEN_SERVER", "DOZEN_APP", "DOZEN_STAGE", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        for (name, value) in &self.env {
            command.env(name, value);
        }
        command.current_dir(self.home()).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn dozen<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Ran {
        self.command(words).output().expect("the binary").into()
    }

    /// Runs a command to its end in a folder.
    pub fn dozen_in<'a>(&self, folder: &Path, words: impl IntoIterator<Item = &'a str>) -> Ran {
        self.command(words).current_dir(folder).output().expect("the binary").into()
    }

    /// Deploys a project by `up` under its folder's name.
    #[track_caller]
    pub fn up(&self, project: &Project) -> Ran {
        self.dozen_in(project.folder(), ["up", "."]).succeeds()
    }

    /// `GET` of a path of an app.
    pub fn get(&self, app: &str, path: &str) -> client::Answer {
        client::get(self.port, &format!("{app}.localhost"), path)
    }

    /// `dozen ps --json` of an app.
    pub fn ps(&self, app: &str) -> Value {
        self.dozen(["ps", "-a", app, "--json"]).succeeds().json()
    }

    /// Names of the instances that are up, draining ones left out.
    pub fn up_instances(&self, app: &str) -> Vec<String> {
        let status = self.ps(app);
        let instances = status["instances"].as_array().cloned().unwrap_or_default();
        let up = instances.iter().filter(|instance| instance["state"] == "up");
        up.filter_map(|instance| instance["name"].as_str().map(str::to_owned)).collect()
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        if self.server.is_none() && self.state().join("state.db").exists() && self.port != 0 {
            // Not with a panic: what this test has left behind is ended by force then.
            let command = self.command(["server", "start"]);
            self.spawn_server(command);
            let deadline = Instant::now() + Duration::from_secs(30);
            let has_ended = |host: &mut Self| {
                host.server.as_mut().is_some_and(|server| matches!(server.try_wait(), Ok(Some(_))))
            };
            while self.info().is_none() && !has_ended(self) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let Some(mut server) = self.server.take() else {
            make_removable(self.home());
            return;
        };
        let stopped = self.dozen(["server", "stop", "--all"]);
        if stopped.status != 0 {
            let _ = server.kill();
            crate::crash::processes::end_all(self);
        }
        let _ = server.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.home().join("server.log")).unwrap_or_default();
            eprintln!("--- the server's log\n{log}---");
        }
        make_removable(self.home());
    }
}

/// Makes the folders below writable: layers are read-only, and only root removes those as they are.
pub fn make_removable(folder: &Path) {
    let is_folder = std::fs::symlink_metadata(folder).is_ok_and(|about| about.is_dir());
    if is_root() || !is_folder {
        return;
    }
    let _ = std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700));
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    entries.filter_map(Result::ok).for_each(|entry| make_removable(&entry.path()));
}

/// The binary under test.
pub fn binary() -> PathBuf {
    std::env::var_os("DOZEN_E2E_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_dozen").into(), PathBuf::from)
}

/// The repository's `examples` folder.
pub fn examples() -> PathBuf {
    std::env::var_os("DOZEN_E2E_EXAMPLES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples"), PathBuf::from)
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says why a test cannot run here; where tests must all run, that is a failure.
pub fn skip(reason: &str) {
    let must_run = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!must_run, "a test was skipped: {reason}");
    println!("SKIP: {reason}");
}

/// Whether the tests run as root; where they do not, says what is not looked at for that reason.
///
/// Also where `CI` is `true` that is no failure: the suite runs as root there as well.
pub fn only_root(does: &str) -> bool {
    if !is_root() {
        println!("SKIP: only root {does}");
    }
    is_root()
}

/// Waits for a state, with a deadline.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Who the tests are: the login name, or the number where there is none.
pub fn own_name() -> String {
    let output = Command::new("id").arg("-un").output().expect("id");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
