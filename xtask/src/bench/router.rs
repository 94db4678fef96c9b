//! `cargo xtask bench router`: the CPU time that a request costs in dozen's router, beside nginx in
//! front of the very same instance.
//!
//! Both keep connections open on both sides, log every request, and pass on an answer of 1 KiB. The
//! rounds take turns, so whatever else the machine does meets both alike. Only the proxy's own
//! process is counted, not the app and not who asks.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{
    clock::cpu,
    stand::{Folder, PORT, Stand, number_after, wait_until},
};
use crate::{
    requirements::{Tool, provide},
    task::{TaskError, output},
};

/// nginx's port.
const NGINX_PORT: u16 = 18_413;
const ROUNDS: usize = 5;
const TOOLS: &[Tool] = &[
    Tool { name: "nginx", package: "nginx-light", needed_for: "the app, and the proxy beside ours" },
    Tool { name: "wrk", package: "wrk", needed_for: "the requests" },
];

/// The app's start: nginx itself is the quickest server at hand.
const START: &str = "#!/bin/sh\nsed \"s/@PORT@/$PORT/\" nginx.conf > /tmp/nginx.conf\n\
                     exec /usr/sbin/nginx -e stderr -p /tmp -c /tmp/nginx.conf\n";

/// Measures both, and prints the table and the ratio.
pub(crate) fn bench(install: bool) -> Result<(), TaskError> {
    provide(TOOLS, install)?;
    let folder = Folder::make()?;
    let stand = Stand::start(&folder)?;
    write_app(&folder.path("plain"))?;
    stand.program("dozen", &["up", "."], &folder.path("plain"))?;
    let missing = || TaskError::new("the status names no process or port");
    let processes = stand.dozen(&["ps", "-a", "plain", "--json"])?;
    let app = number_after(&processes, "\"endpoint\": \"127.0.0.1:").ok_or_else(missing)?;
    let status = stand.dozen(&["server", "status", "--json"])?;
    let router = number_after(&status, "\"router_pid\":").ok_or_else(missing)?;
    let nginx = Nginx::start(&folder.path("nginx"), app)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(round(PORT, router)?);
        theirs.push(round(NGINX_PORT, nginx.0.id())?);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("\nCPU time a request, 32 kept connections, medians of {ROUNDS} rounds");
    println!("{:<16} {:>7.1} µs", "dozen's router", ours.as_secs_f64() * 1e6);
    println!("{:<16} {:>7.1} µs", "nginx", theirs.as_secs_f64() * 1e6);
    println!("{:<16} {:>7.2}", "ratio", ours.as_secs_f64() / theirs.as_secs_f64());
    Ok(())
}

fn write_app(folder: &Path) -> Result<(), TaskError> {
    fs::create_dir(folder)?;
    let body = "x".repeat(1024);
    let conf = format!(
        "daemon off; pid /tmp/nginx.pid; events {{}}\n\
         http {{ access_log off; keepalive_requests 1000000; client_body_temp_path /tmp/b;\n\
         proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f; uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;\n\
         server {{ listen 127.0.0.1:@PORT@; location / {{ return 200 \"{body}\"; }} }} }}\n"
    );
    fs::write(folder.join("nginx.conf"), conf)?;
    fs::write(folder.join("Procfile"), "web: ./start.sh\n")?;
    fs::write(folder.join("start.sh"), START)?;
    fs::set_permissions(folder.join("start.sh"), fs::Permissions::from_mode(0o755))?;
    let git = |words: &[&str]| {
        let identity = ["-c", "user.name=Bench", "-c", "user.email=bench@example.org"];
        output(Command::new("git").args(identity).args(words).current_dir(folder))
    };
    git(&["init", "-q", "-b", "main"])?;
    git(&["add", "-A"])?;
    git(&["commit", "-q", "-m", "plain"]).map(drop)
}

/// nginx in front of the instance, one process, stopped in the end.
struct Nginx(Child);

impl Nginx {
    fn start(folder: &Path, app: u32) -> Result<Self, TaskError> {
        fs::create_dir(folder)?;
        let text = format!(
            "daemon off; master_process off; pid {0}/pid; events {{}}\n\
             http {{ access_log {0}/access.log; keepalive_requests 1000000; client_body_temp_path {0}/b;\n\
             proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
             upstream app {{ server 127.0.0.1:{app}; keepalive 64; keepalive_requests 1000000; }}\n\
             server {{ listen 127.0.0.1:{NGINX_PORT}; location / {{ proxy_pass http://app;\n\
             proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;\n\
             proxy_set_header X-Forwarded-For $remote_addr; }} }} }}\n",
            folder.display()
        );
        let conf = folder.join("nginx.conf");
        fs::write(&conf, text)?;
        let mut nginx = Command::new("nginx");
        nginx.args(["-e", "stderr", "-c"]).arg(&conf).stdout(Stdio::null()).stderr(Stdio::null());
        let started = Self(nginx.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").spawn()?);
        wait_until("nginx", || Ok(std::net::TcpStream::connect(("127.0.0.1", NGINX_PORT)).is_ok()))?;
        Ok(started)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The CPU time of process `pid` for each request of one round.
fn round(port: u16, pid: u32) -> Result<Duration, TaskError> {
    let url = format!("http://127.0.0.1:{port}/");
    let before = cpu(pid);
    let mut wrk = Command::new("wrk");
    let told = output(wrk.args(["-t1", "-c32", "-d5s", "-H", "Host: plain.localhost", &url]))?;
    let spent = cpu(pid).saturating_sub(before);
    if told.contains("Non-2xx") || told.contains("Socket errors") {
        return Err(TaskError::new(format!("not every request was answered:\n{told}")));
    }
    let line = told.lines().find(|line| line.contains(" requests in ")).unwrap_or_default();
    let requests = line.trim().split(' ').next().and_then(|count| count.parse::<u32>().ok());
    let requests = requests.filter(|count| *count > 0);
    requests.map(|count| spent / count).ok_or_else(|| TaskError::new(format!("no requests:\n{told}")))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
