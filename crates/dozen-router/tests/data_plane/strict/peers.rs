//! Other proxies in front of the same app: nginx and haproxy, as Debian ships them.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Where Debian puts them, also for users whose `PATH` has no sbin.
const FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// A running proxy, killed in the end.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    child: Child,
    /// Its files.
    _dir: TempDir,
}

impl Peer {
    /// nginx, or nothing where it is not installed.
    pub(crate) fn nginx(app: SocketAddr) -> Option<Self> {
        Self::start("nginx", &["-e", "stderr", "-c"], |dir, own| {
            format!(
                "daemon off; master_process off; pid {dir}/pid; events {{}}\n\
                 http {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p;\n\
                 fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
                 large_client_header_buffers 4 128k; keepalive_requests 1000000;\n\
                 upstream app {{ server {app}; keepalive 16; }}\n\
                 server {{ listen {own}; location / {{ proxy_pass http://app; proxy_http_version 1.1;\n\
                 proxy_request_buffering off; proxy_buffering off; proxy_max_temp_file_size 0;\n\
                 proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
                 proxy_set_header X-Forwarded-For $remote_addr; }} }} }}\n"
            )
        })
    }

    /// haproxy, or nothing where it is not installed.
    pub(crate) fn haproxy(app: SocketAddr) -> Option<Self> {
        Self::start("haproxy", &["-f"], |_, own| {
            format!(
                "global\n nbthread 1\n tune.bufsize 131072\n\
                 defaults\n mode http\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n\
                 timeout http-request 3s\n\
                 frontend web\n bind {own}\n default_backend app\n\
                 backend app\n option forwardfor\n http-reuse always\n server one {app}\n"
            )
        })
    }

    fn start(
        name: &'static str,
        options: &[&str],
        config: impl Fn(&str, SocketAddr) -> String,
    ) -> Option<Self> {
        let program =
            FOLDERS.map(|folder| Path::new(folder).join(name)).into_iter().find(|file| file.is_file())?;
        loop {
            let dir = tempfile::tempdir().unwrap();
            // It cannot be handed a listener: should somebody else take the port in between, it ends.
            let address = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
            let file = dir.path().join("config");
            fs::write(&file, config(&dir.path().to_string_lossy(), address)).unwrap();
            let mut command = Command::new(&program);
            command.args(options).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            if answers(&mut child, address) {
                return Some(Self { name, address, child, _dir: dir });
            }
            let _ = child.wait();
        }
    }
}

fn answers(child: &mut Child, address: SocketAddr) -> bool {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < deadline, "a proxy does not listen on {address}");
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect(address).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
/// Says why a test cannot run here; where tests must all run, that is a failure.
pub(crate) fn skip(reason: &str) {
    #[expect(clippy::disallowed_methods, reason = "a test asks where it runs")]
    let must_run = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!must_run, "a test was skipped: {reason}");
    #[expect(clippy::disallowed_macros, reason = "a test says why it does not run")]
    {
        println!("SKIP: {reason}");
    }
}
