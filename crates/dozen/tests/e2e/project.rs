//! Git repositories that tests deploy.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A repository in a temporary folder; its folder's name is the app's.
pub struct Project {
    _above: tempfile::TempDir,
    folder: PathBuf,
}

impl Project {
    /// An empty repository without a commit.
    pub fn empty(name: &str) -> Self {
        let above = tempfile::tempdir().expect("a folder");
        let folder = above.path().join(name);
        fs::create_dir(&folder).expect("the project's folder");
        let project = Self { _above: above, folder };
        project.git(&["init", "-q", "-b", "main"]);
        project
    }

    /// A repository with these files, committed.
    pub fn with(name: &str, files: &[(&str, &str)]) -> Self {
        let project = Self::empty(name);
        for (path, text) in files {
            project.write(path, text);
        }
        project.commit("first");
        project
    }

    /// One of the repository's examples, as an app of that name.
    pub fn example(name: &str) -> Self {
        let project = Self::empty(name);
        copy_tree(&crate::host::examples().join(name), &project.folder);
        project.commit("example");
        project
    }

    /// A web app of one Python file, which needs nothing but the machine's `python3`.
    ///
    /// It answers every `GET` with the environment variable `ANSWER` (or `hello`), the release and
    /// its process id; `/slow` takes a second.
    pub fn small(name: &str) -> Self {
        Self::with(name, &[("Procfile", "web: /usr/bin/python3 server.py\n"), ("server.py", SMALL_SERVER)])
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file, making its folders.
    pub fn write(&self, path: &str, text: &str) -> &Self {
        let file = self.folder.join(path);
        fs::create_dir_all(file.parent().expect("a parent")).expect("its folder");
        fs::write(file, text).expect("a file");
        self
    }

    /// Commits everything; the commit's id comes back.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git in the repository.
    #[track_caller]
    pub fn git(&self, words: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"])
            .args(words)
            .current_dir(&self.folder)
            .output()
            .expect("git");
        assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the example") {
        let entry = entry.expect("an entry");
        let name = entry.file_name();
        let local = ["__pycache__", ".venv", "node_modules", "staticfiles", "media"];
        if local.iter().any(|skipped| name.to_string_lossy() == **skipped) {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type().expect("its type").is_dir() {
            fs::create_dir(&target).expect("a folder");
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

const SMALL_SERVER: &str = r#"
import os, signal, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(1)
        text = "%s %s %d\n" % (os.environ.get("ANSWER", "hello"), os.environ["DOZEN_RELEASE"], os.getpid())
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()
    def log_message(self, form, *rest):
        print("served", form % rest, flush=True)

class Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
def stop(*_):
    import threading
    threading.Thread(target=server.shutdown).start()
signal.signal(signal.SIGTERM, stop)
print("listening", flush=True)
server.serve_forever()
server.server_close()
"#;
