//! Real database servers, each with an empty database in a temporary folder.
//!
//! Neither runs as root, and PostgreSQL wants a user with a name: as root it is `nobody`, and an
//! ordinary user without a name becomes `nobody` in a user namespace.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::host::{is_root, wait_for};

/// The number of `nobody`.
const NOBODY: &str = "65534";
/// What a URL has to escape, too.
const PASSWORD: &str = "p@ss:word";

/// A server. Dropping it ends it and removes its data.
pub struct Database {
    folder: tempfile::TempDir,
    port: u16,
    scheme: &'static str,
    server: Option<Child>,
}

impl Database {
    /// PostgreSQL, in any version that Debian has.
    pub fn postgres() -> Option<Self> {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
        let bin =
            versions.map(|version| version.path().join("bin")).find(|bin| bin.join("postgres").is_file())?;
        let mut database = Self::empty("postgres");
        let data = database.at("data").display().to_string();
        let password = format!("--pwfile={}", database.write("password", PASSWORD).display());
        let words = ["--no-sync", "--username=blog", "--auth=scram-sha-256", "--encoding=UTF8"];
        database.run(&bin.join("initdb"), &[&words[..], &[&password, "-D", &data]].concat());
        let port = database.port.to_string();
        let settings = ["unix_socket_directories=", "listen_addresses=127.0.0.1", "fsync=off"];
        let settings: Vec<&str> = settings.iter().flat_map(|setting| ["-c", *setting]).collect();
        let words = [&["-D", &data, "-p", &port][..], &settings].concat();
        database.serve(&bin.join("postgres"), &words, "ready to accept connections");
        Some(database)
    }

    /// MariaDB, for apps that speak MySQL's language.
    pub fn mysql() -> Option<Self> {
        let programs = ["/usr/bin/mariadb-install-db", "/usr/sbin/mariadbd"].map(PathBuf::from);
        let [install, serve] = programs.iter().all(|program| program.is_file()).then_some(programs)?;
        let mut database = Self::empty("mysql");
        let data = format!("--datadir={}", database.at("data").display());
        database.run(&install, &["--no-defaults", "--skip-test-db", &data]);
        let first = format!(
            "CREATE DATABASE blog CHARACTER SET utf8mb4;\nCREATE USER blog IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON blog.* TO blog;\n"
        );
        let first = format!("--init-file={}", database.write("first.sql", &first).display());
        let port = format!("--port={}", database.port);
        let socket = format!("--socket={}", database.at("socket").display());
        let pid = format!("--pid-file={}", database.at("pid").display());
        let words = ["--no-defaults", "--bind-address=127.0.0.1", &data, &first, &port, &socket, &pid];
        database.serve(&serve, &words, "ready for connections");
        Some(database)
    }

    /// The URL that an app gets, with its password.
    pub fn url(&self) -> String {
        let (scheme, port) = (self.scheme, self.port);
        let name = if scheme == "postgres" { "postgres" } else { "blog" };
        format!("{scheme}://blog:p%40ss%3Aword@127.0.0.1:{port}/{name}")
    }

    fn empty(scheme: &'static str) -> Self {
        let folder = tempfile::Builder::new().prefix("dzdb").tempdir().expect("a folder");
        if is_root() {
            let nobody = NOBODY.parse().ok();
            chown(folder.path(), nobody, nobody).expect("handed over");
        }
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = free.local_addr().expect("its number").port();
        Self { folder, port, scheme, server: None }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("readable");
        path
    }

    /// A program of the server as `nobody`; what it says goes to a file.
    fn command(&self, program: &Path, words: &[&str]) -> Command {
        let options = if is_root() {
            ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"].map(str::to_owned).to_vec()
        } else {
            vec![
                "--user".into(),
                format!("--map-user={NOBODY}"),
                format!("--map-group={NOBODY}"),
                "--".into(),
            ]
        };
        let mut command = Command::new(if is_root() { "setpriv" } else { "unshare" });
        let log = fs::OpenOptions::new().create(true).append(true).open(self.at("log")).expect("a log");
        command.args(options).arg(program).args(words).current_dir(self.folder.path()).env_clear();
        command
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("LC_ALL", "C")
            .env("TMPDIR", self.folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("the log again")).stderr(log);
        command
    }

    fn run(&self, program: &Path, words: &[&str]) {
        let done = self.command(program, words).status().expect("the program");
        assert!(done.success(), "{}: {}", program.display(), self.log());
    }

    fn serve(&mut self, program: &Path, words: &[&str], ready: &str) {
        self.server = Some(self.command(program, words).spawn().expect("the server"));
        wait_for(ready, Duration::from_secs(60), || {
            let ended = self.server.as_mut().and_then(|server| server.try_wait().expect("its state"));
            assert!(ended.is_none(), "{}: {}", program.display(), self.log());
            self.log().contains(ready).then_some(())
        });
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        // PostgreSQL's quick end; MariaDB has the same one for both signals.
        let signal = if self.scheme == "postgres" {
            rustix::process::Signal::INT
        } else {
            rustix::process::Signal::TERM
        };
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&server), signal);
        let _ = server.wait();
    }
}
