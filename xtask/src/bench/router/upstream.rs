//! What the requests end at: nginx with two files in memory, and who takes logs that are sent.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use super::{
    peers::nginx_frame,
    process::{LOAD_CPU, Server, free_port, pinned},
};
use crate::task::TaskError;

/// The upstream of all contenders; its files are removed with it.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) port: u16,
    files: PathBuf,
    _server: Server,
}

impl Upstream {
    /// Starts nginx beside the load, with `/1k` and `/100k`.
    pub(super) fn start(folder: &Path) -> Result<Self, TaskError> {
        let memory = Path::new("/dev/shm");
        let files = if memory.is_dir() { memory } else { folder };
        let files = files.join(format!("dozen-bench-{}", std::process::id()));
        fs::create_dir_all(&files)?;
        // Its worker may run as another user.
        fs::write(files.join("1k"), "x".repeat(1 << 10))?;
        fs::write(files.join("100k"), "x".repeat(100 << 10))?;
        let (folder, port) = (folder.join("upstream"), free_port()?);
        fs::create_dir(&folder)?;
        let http = format!(
            "  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  open_file_cache max=16;\n  \
             keepalive_requests 100000000;\n  keepalive_timeout 3600s;\n  server {{\n    \
             listen 127.0.0.1:{port} backlog=4096;\n    root {};\n  }}\n",
            files.display()
        );
        let conf = folder.join("nginx.conf");
        fs::write(&conf, nginx_frame(&folder, &http))?;
        let mut command: Command = pinned(LOAD_CPU, "nginx");
        command.args(["-e", "stderr", "-p"]).arg(&folder).arg("-c").arg(&conf);
        let server = Server::start(&mut command, &folder, port)?;
        Ok(Self { port, files, _server: server })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.files);
    }
}

/// Takes the log that is sent to `socket`, as the log daemon of the machine would, until the end of
/// the benchmark.
pub(super) fn take_logs(socket: &Path) -> Result<(), TaskError> {
    let socket = UnixDatagram::bind(socket)?;
    thread::spawn(move || {
        let mut line = [0; 2048];
        while socket.recv(&mut line).is_ok() {}
    });
    Ok(())
}
