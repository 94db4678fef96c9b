//! A server with stock Blango, in a temporary folder.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    suite::BINARY_VAR,
    task::{TaskError, cargo, output, repository, run},
};

/// The port of dozen's router here.
pub(super) const PORT: u16 = 18_412;
/// How often it is looked whether a change serves: seldom enough to leave the processors to it.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// A signal is sent at once, and what it causes comes later.
const AFTER_THE_CHANGE: Duration = Duration::from_secs(20);
/// The host that both stands are asked for.
pub(super) const HOST: &str = "blango.localhost";

/// A folder with Blango's repository; it is removed in the end.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn make() -> Result<Self, TaskError> {
        let path = std::env::temp_dir().join(format!("dozen-bench-{}", std::process::id()));
        fs::create_dir(&path)?;
        let folder = Self(path);
        let copy = ["-r".into(), repository().join("examples/blango"), folder.path("blango")];
        output(Command::new("cp").args(copy))?;
        folder.git(&["init", "-q", "-b", "main"])?;
        folder.commit("first")?;
        Ok(folder)
    }

    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn git(&self, words: &[&str]) -> Result<String, TaskError> {
        let identity =
            ["-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "commit.gpgsign=false"];
        output(Command::new("git").args(identity).args(words).current_dir(self.path("blango")))
    }

    /// Commits all; the commit's id comes back.
    pub(super) fn commit(&self, message: &str) -> Result<String, TaskError> {
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "-m", message])?;
        Ok(self.git(&["rev-parse", "HEAD"])?.trim().to_owned())
    }

    /// A commit that changes code and nothing else.
    pub(super) fn change_code(&self, number: u32) -> Result<String, TaskError> {
        fs::write(self.path("blango/hits/stamp.py"), format!("STAMP = {number}\n"))?;
        self.commit(&format!("change {number}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// dozen's server, stopped in the end.
pub(super) struct Stand {
    binary: PathBuf,
    home: PathBuf,
    server: Child,
}

impl Stand {
    /// Builds the release binary, unless one is named, and starts its server.
    pub(super) fn start(folder: &Folder) -> Result<Self, TaskError> {
        let binary = match std::env::var_os(BINARY_VAR) {
            Some(named) => named.into(),
            None => {
                run(&mut cargo(["build", "--release", "--locked", "--package", "dozen"]))?;
                repository().join("target/release/dozen")
            }
        };
        println!("\nmeasuring {} of {} bytes", binary.display(), fs::metadata(&binary)?.len());
        let home = folder.path("home");
        let mut command = Command::new(&binary);
        let quiet = command.args(["server", "start"]).stdout(Stdio::null()).stderr(Stdio::null());
        let server = in_home(quiet, &home).spawn()?;
        let stand = Self { binary, home, server };
        wait_until("the server", || Ok(stand.dozen(&["server", "status"]).is_ok()))?;
        Ok(stand)
    }

    /// Runs a command of `dozen`; its standard output comes back.
    pub(super) fn dozen(&self, words: &[&str]) -> Result<String, TaskError> {
        output(in_home(Command::new(&self.binary).args(words), &self.home))
    }

    /// The same in a folder, with `git` or any other program.
    pub(super) fn program(&self, program: &str, words: &[&str], folder: &Path) -> Result<String, TaskError> {
        let program = if program == "dozen" { self.binary.as_os_str() } else { program.as_ref() };
        output(in_home(Command::new(program).args(words).current_dir(folder), &self.home))
    }

    pub(super) fn control_pid(&self) -> u32 {
        self.server.id()
    }

    /// Seconds that the steps of the newest deploy took which run the app's own code: its release
    /// phase and its start.
    pub(super) fn own_seconds(&self, deploy: u32) -> f64 {
        let file = self.home.join(format!("deploys/blango/production/{deploy}.ndjson"));
        let events = fs::read_to_string(file).unwrap_or_default();
        let ends = events.lines().filter(|line| line.contains(r#""event":"done""#));
        let own = ends.filter(|line| line.contains(r#":"release-phase""#) || line.contains(r#":"start""#));
        let millis = own.filter_map(|line| number_after(line, r#""took_ms":"#)).sum::<u32>();
        f64::from(millis) / 1000.0
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _ = self.dozen(&["server", "stop", "--all"]);
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn in_home<'c>(command: &'c mut Command, home: &Path) -> &'c mut Command {
    command.env("DOZEN_HOME", home).env("DOZEN_LISTEN", format!("127.0.0.1:{PORT}")).env("NO_COLOR", "1");
    for name in ["DOZEN_RUN", "DOZEN_SERVER", "DOZEN_APP", "DOZEN_STAGE"] {
        command.env_remove(name);
    }
    command
}

/// The number that follows `name` in a line of JSON.
pub(super) fn number_after(line: &str, name: &str) -> Option<u32> {
    let (_, rest) = line.split_once(name)?;
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The body of `GET /version`, empty when there is no answer.
pub(super) fn version(port: u16) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(stream, "GET /version HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().unwrap_or_default()
}

/// Waits until `look` is content, at most two minutes.
pub(super) fn wait_until(
    what: &str,
    mut look: impl FnMut() -> Result<bool, TaskError>,
) -> Result<(), TaskError> {
    let began = Instant::now();
    while !look()? {
        if began.elapsed() > Duration::from_secs(120) {
            return Err(TaskError::new(format!("waited two minutes for {what}")));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// Runs `change` and returns when `/version` first says `wanted`.
pub(super) fn until_served(
    port: u16,
    wanted: &str,
    change: impl FnOnce() -> Result<(), TaskError> + Send,
) -> Result<(), TaskError> {
    std::thread::scope(|scope| {
        let changing = scope.spawn(change);
        let mut ended = None;
        let served = wait_until(&format!("`{wanted}` to serve"), || {
            if changing.is_finished() && ended.get_or_insert_with(Instant::now).elapsed() > AFTER_THE_CHANGE {
                return Err(TaskError::new(format!("the change ended, and `{wanted}` does not serve")));
            }
            Ok(version(port).contains(wanted))
        });
        match changing.join() {
            Ok(changed) => changed.and(served),
            Err(_) => Err(TaskError::new("the change panicked")),
        }
    })
}
