//! A web server of the test's own that serves a few files, such as a package index with a password.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use parking_lot::Mutex;

/// An index at an address of this machine; it lives as long as the test.
pub(crate) struct Index {
    /// Its URL without a password.
    pub(crate) address: String,
    asked_by: Arc<Mutex<Vec<String>>>,
}

/// `Basic` and this are the login of every index here: `user:a-secret-value`.
const LOGIN: &str = "dXNlcjphLXNlY3JldC12YWx1ZQ==";

impl Index {
    /// Serves `files` by their paths, a page of links for paths that end in `/`, to who has the password.
    pub(crate) fn serve(files: &[(&str, Vec<u8>)]) -> Self {
        Self::start(files, Some(LOGIN))
    }

    /// Serves files to everybody.
    pub(crate) fn serve_all(files: &[(&str, Vec<u8>)]) -> Self {
        Self::start(files, None)
    }

    fn start(files: &[(&str, Vec<u8>)], login: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let files: Arc<BTreeMap<String, Vec<u8>>> =
            Arc::new(files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.clone())).collect());
        let asked_by = Arc::<Mutex<Vec<String>>>::default();
        let agents = Arc::clone(&asked_by);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, agents) = (Arc::clone(&files), Arc::clone(&agents));
                std::thread::spawn(move || drop(answer(stream, &files, (login, &agents))));
            }
        });
        Self { address, asked_by }
    }

    /// Who asked, as their requests say.
    pub(crate) fn asked_by(&self) -> Vec<String> {
        self.asked_by.lock().clone()
    }

    /// Its URL with the right password, or another one.
    pub(crate) fn url(&self, password: &str) -> String {
        format!("http://user:{password}@{}/simple", self.address)
    }
}

fn answer(
    mut stream: TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    (login, agents): (Option<&str>, &Mutex<Vec<String>>),
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let agent = head.iter().find_map(|line| line.strip_prefix("User-Agent: ")).unwrap_or_default();
    agents.lock().push(agent.to_owned());
    let may = login.is_none_or(|login| head.iter().any(|line| line.ends_with(&format!("Basic {login}"))));
    let (status, body) = match files.get(&path) {
        _ if !may => ("401 Unauthorized", &b""[..]),
        Some(body) => ("200 OK", body.as_slice()),
        None => ("404 Not Found", &b""[..]),
    };
    let kind = if path.ends_with('/') { "text/html" } else { "application/octet-stream" };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}
