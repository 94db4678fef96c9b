//! Apps to route to: one thread per connection, answers made by the test.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;

/// A request as the app read it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn is_post(&self) -> bool {
        self.line.starts_with("POST ")
    }
}

/// What to do after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    KeepAlive,
    Close,
}

type Answer = dyn Fn(&Seen, &mut TcpStream) -> Then + Send + Sync;

/// A running app.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    stopped: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    acceptor: Option<JoinHandle<()>>,
}

impl App {
    pub(crate) fn start(answer: impl Fn(&Seen, &mut TcpStream) -> Then + Send + Sync + 'static) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), answer)
    }

    pub(crate) fn start_at(
        address: SocketAddr,
        answer: impl Fn(&Seen, &mut TcpStream) -> Then + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, open) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<Mutex<Vec<TcpStream>>>::default());
        let stopped = Arc::new(AtomicBool::new(false));
        let answer: Arc<Answer> = Arc::new(answer);
        let (all_seen, all_open, stop) = (Arc::clone(&seen), Arc::clone(&open), Arc::clone(&stopped));
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(SeqCst) {
                    return;
                }
                let stream = stream.unwrap();
                all_open.lock().push(stream.try_clone().unwrap());
                let (seen, answer) = (Arc::clone(&all_seen), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Self { address, seen, stopped, open, acceptor: Some(acceptor) }
    }

    /// An app that answers every request with `text`.
    pub(crate) fn says(text: &'static str) -> Self {
        Self::start(move |_, stream| say(stream, text))
    }

    /// Stops listening and closes all connections, as an exiting process does.
    pub(crate) fn stop(&mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            self.stopped.store(true, SeqCst);
            // Wakes the acceptor, which drops the listener.
            let _ = TcpStream::connect(self.address);
            acceptor.join().unwrap();
            for stream in self.open.lock().drain(..) {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Writes a plain answer.
pub(crate) fn say(stream: &mut TcpStream, text: &str) -> Then {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    if stream.write_all(answer.as_bytes()).is_err() { Then::Close } else { Then::KeepAlive }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Seen>>, answer: &Answer) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // One byte at a time: what follows a head is left for the test's answer.
    let mut reader = BufReader::with_capacity(1, stream.try_clone().unwrap());
    while let Ok(Some(request)) = read_request(&mut reader) {
        seen.lock().push(request.clone());
        if answer(&request, &mut stream) == Then::Close {
            break;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

pub(crate) fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Seen>> {
    let mut seen = Seen::default();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(seen));
        }
        match line.split_once(':') {
            Some((name, value)) if !seen.line.is_empty() => {
                seen.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            _ => seen.line = line.to_owned(),
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Seen>> {
    let Some(mut seen) = read_head(reader)? else { return Ok(None) };
    // `/stream` bodies are read by the test's answer.
    if seen.path() == "/stream" {
        return Ok(Some(seen));
    }
    if let Some(length) = seen.header("content-length") {
        seen.body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut seen.body)?;
    } else if seen.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
            if size == 0 {
                let trailers = read_head(reader)?.unwrap_or_default();
                seen.headers.extend(trailers.headers);
                if !trailers.line.is_empty() {
                    let (name, value) = trailers.line.split_once(':').unwrap();
                    seen.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
                break;
            }
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            seen.body.extend_from_slice(&chunk[..size]);
        }
    }
    Ok(Some(seen))
}
