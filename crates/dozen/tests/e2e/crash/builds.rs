//! Control is killed while a tool installs dependencies inside the walls of a build.

use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
    time::Duration,
};

use super::{
    load::Load,
    processes::{is_alive, kill, mount_namespaces, nothing_is_left_over},
};
use crate::{
    host::{Ran, TestHost, wait_for},
    project::Project,
};

/// Builds the only dependency of [`Installing`]: asks a port of the test whether it may go on.
const BACKEND: &str = r#"
import socket, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    with socket.create_connection(("127.0.0.1", PORT)) as asked:
        asked.recv(1)
    name = "held-1-py3-none-any.whl"
    with zipfile.ZipFile(folder + "/" + name, "w") as wheel:
        wheel.writestr("held.py", "")
        wheel.writestr("held-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: held\nVersion: 1\n")
        wheel.writestr("held-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("held-1.dist-info/RECORD", "")
    return name
"#;

/// An app whose only dependency is built for as long as the test says.
struct Installing {
    project: Project,
    asked: TcpListener,
}

impl Installing {
    fn new() -> Self {
        let asked = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        asked.set_nonblocking(true).expect("a deadline of our own");
        let port = asked.local_addr().expect("its port").port();
        let project = Project::small("shop");
        let backend = format!("PORT = {port}\n{BACKEND}");
        project
            .write("Procfile", "web: python server.py\n")
            .write("requirements.txt", "./held\n")
            .write("held/backend.py", &backend)
            .write(
                "held/pyproject.toml",
                "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n\
                 [project]\nname = \"held\"\nversion = \"1\"\n",
            )
            .commit("with a dependency");
        Self { project, asked }
    }

    fn up(&self, host: &TestHost) -> Child {
        let mut up = host.command(["up", "."]);
        up.current_dir(self.project.folder()).stdout(Stdio::piped()).stderr(Stdio::piped());
        up.spawn().expect("the binary")
    }

    /// Waits until the dependency is being built; dropping the answer lets it go on.
    #[track_caller]
    fn wait_until_asked(&self) -> TcpStream {
        let (stream, _) =
            wait_for("the dependency to be built", Duration::from_secs(120), || self.asked.accept().ok());
        stream.set_nonblocking(false).expect("reading that waits");
        stream
    }
}

/// Waits until whoever asked is dead.
#[track_caller]
fn wait_until_dead(mut asked: TcpStream) {
    asked.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    // The end, or a reset.
    if let Ok(bytes) = asked.read(&mut [0]) {
        assert_eq!(bytes, 0);
    }
}

/// Shims of steps: they carry a folder below `builds` on their command line.
fn shims_of_steps(host: &TestHost) -> Vec<u32> {
    let mark = format!("{}/builds/", host.state().display());
    let pids = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let carries = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        is_alive(*pid) && String::from_utf8_lossy(&line).contains(&mark)
    };
    let mut found: Vec<u32> = pids.filter(carries).collect();
    // Init was forked by its shim and has the same command line.
    found.sort_unstable();
    found
}

#[test]
fn an_installation_dies_with_control_and_is_done_again() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    let load = Load::on(&host, "shop");
    let spaces = mount_namespaces(&host);
    let installing = Installing::new();
    let up = installing.up(&host);

    let asked = installing.wait_until_asked();
    host.kill_control();
    wait_until_dead(asked);
    wait_for("the walls to fall", Duration::from_secs(30), || {
        (shims_of_steps(&host).is_empty() && mount_namespaces(&host) == spaces).then_some(())
    });
    host.start_server();

    let asked = installing.wait_until_asked();
    // Also without a shim that could notice it: init hangs on control itself.
    host.kill_control();
    shims_of_steps(&host).first().copied().into_iter().for_each(kill);
    wait_until_dead(asked);
    wait_for("the walls to fall", Duration::from_secs(30), || {
        (shims_of_steps(&host).is_empty() && mount_namespaces(&host) == spaces).then_some(())
    });
    host.start_server();

    drop(installing.wait_until_asked());
    Ran::from(up.wait_with_output().expect("its end")).succeeds();
    assert!(host.get("shop", "/").body.starts_with("hello v2 "));
    nothing_is_left_over(&host, &["shop"]);
    load.stop();

    host.dozen(["destroy", "shop", "--confirm", "shop"]).succeeds();
    assert!(!host.state().join("cache/uv/shop").exists(), "its caches go with it");
    nothing_is_left_over(&host, &[]);
}
