//! The access log of one thread: a line for each request, gathered and handed on in batches.
//!
//! The data path only appends to a buffer of its own. Every 50 ms at most, or when a buffer is
//! full, batches go to the writer's thread over a bounded queue; when that is full they are
//! dropped, counted, and announced in the log.

use std::{
    cell::{Cell, RefCell},
    fmt::Write as _,
    rc::Rc,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{SyncSender, TrySendError},
    },
    time::{Duration, SystemTime},
};

use dozen_model::segment::unix_nanos;
use http::Method;
use tokio::{sync::Notify, task::spawn_local, time::sleep};

use crate::{fast_map::FastMap, h_code::HCode, status::Counters};

const FLUSH_WITHIN: Duration = Duration::from_millis(50);
const FULL: usize = 64 << 10;
/// The longest path that is logged.
const MAX_PATH: usize = 2 << 10;

/// Whose log a line belongs to.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct LogKey {
    pub(crate) app: String,
    pub(crate) stage: String,
}

/// Lines of one stage on their way to its file.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) key: Arc<LogKey>,
    pub(crate) text: String,
    pub(crate) lines: u64,
}

/// What is logged of a request. The query string is not: it carries secrets.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) at: SystemTime,
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) host: &'a str,
    pub(crate) id: &'a str,
    pub(crate) trace: &'a str,
    pub(crate) from: &'a str,
    pub(crate) instance: &'a str,
    pub(crate) release: &'a str,
    pub(crate) connect: Duration,
    pub(crate) service: Duration,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) code: Option<HCode>,
}

/// The access log of one thread.
#[derive(Debug)]
pub(crate) struct AccessLog {
    batches: RefCell<FastMap<Arc<LogKey>, (String, u64)>>,
    writer: SyncSender<Batch>,
    counters: Arc<Counters>,
    filled: Notify,
    is_filled: Cell<bool>,
}

impl AccessLog {
    /// Starts the log of this thread; it sleeps while there is nothing to hand on.
    pub(crate) fn start(writer: SyncSender<Batch>, counters: Arc<Counters>) -> Rc<Self> {
        let log = Rc::new(Self {
            batches: RefCell::default(),
            writer,
            counters,
            filled: Notify::new(),
            is_filled: Cell::new(false),
        });
        let flushed = Rc::clone(&log);
        spawn_local(async move {
            loop {
                flushed.filled.notified().await;
                sleep(FLUSH_WITHIN).await;
                flushed.flush();
            }
        });
        log
    }

    /// Appends a line.
    pub(crate) fn write(&self, key: &Arc<LogKey>, line: &Line<'_>) {
        let mut batches = self.batches.borrow_mut();
        let (text, lines) = match batches.get_mut(key) {
            Some(batch) => batch,
            None => batches.entry(Arc::clone(key)).or_default(),
        };
        line.append_to(text);
        *lines += 1;
        let is_full = text.len() >= FULL;
        drop(batches);
        if is_full {
            self.flush();
        } else if !self.is_filled.replace(true) {
            self.filled.notify_one();
        }
    }

    fn flush(&self) {
        self.is_filled.set(false);
        for (key, (text, lines)) in self.batches.borrow_mut().drain() {
            match self.writer.try_send(Batch { key, text, lines }) {
                Ok(()) => {}
                Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => {
                    self.counters.dropped_lines.fetch_add(batch.lines, Relaxed);
                }
            }
        }
    }
}

impl Drop for AccessLog {
    /// Hands on what is left at the end of the thread: the log outlives every request.
    fn drop(&mut self) {
        self.flush();
    }
}

impl Line<'_> {
    /// Appends the line in the platform stream's format. Nothing in it needs that format's escapes:
    /// the path is percent-encoded, the rest was parsed.
    ///
    /// Its parts are put together by hand: with `write!` a line took three times as many instructions.
    fn append_to(&self, out: &mut String) {
        let level = if self.code.is_some_and(|code| !code.is_clients()) { "error" } else { "info" };
        push_number(unix_nanos(self.at), out);
        push(&[" router at=", level, " method=", self.method.as_str(), " path=\""], out);
        push_path(self.path, out);
        push(&["\" host=", self.host, " request_id=", self.id, " trace_id=", self.trace], out);
        push(&[" fwd=\"", self.from, "\""], out);
        for (name, value) in [(" instance=", self.instance), (" release=", self.release)] {
            if !value.is_empty() {
                push(&[name, value], out);
            }
        }
        for (before, number) in [
            (" connect=", millis(self.connect)),
            ("ms service=", millis(self.service)),
            ("ms status=", u64::from(self.status)),
            (" bytes=", self.bytes),
        ] {
            out.push_str(before);
            push_number(number, out);
        }
        if let Some(code) = self.code {
            let _ = write!(out, " code={code}");
        }
        out.push('\n');
    }
}

fn push(parts: &[&str], out: &mut String) {
    parts.iter().for_each(|part| out.push_str(part));
}

fn push_number(number: u64, out: &mut String) {
    out.push_str(itoa::Buffer::new().format(number));
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Appends a path; what could end the quotes or the line is percent-encoded.
fn push_path(path: &str, out: &mut String) {
    let shown = &path[..path.floor_char_boundary(MAX_PATH)];
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if shown.bytes().all(is_plain) {
        out.push_str(shown);
    } else {
        for byte in shown.bytes() {
            if is_plain(byte) {
                out.push(char::from(byte));
            } else {
                // Writing to a string cannot go wrong.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    if shown.len() < path.len() {
        out.push('…');
    }
}

#[cfg(test)]
mod tests {
    use dozen_model::segment::StreamLine;

    use super::*;

    fn line(path: &str) -> Line<'_> {
        Line {
            at: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_001),
            method: &Method::GET,
            path,
            host: "a.localhost",
            id: "0123456789abcdef0123",
            trace: "4bf92f3577b34da6a3ce929d0e0e4736",
            from: "1.2.3.4",
            instance: "web.1",
            release: "v3",
            connect: Duration::from_millis(1),
            service: Duration::from_millis(4),
            status: 200,
            bytes: 1234,
            code: None,
        }
    }

    #[test]
    fn a_line_is_one_of_the_platform_stream() {
        let mut out = String::new();
        line("/x").append_to(&mut out);
        let text = "at=info method=GET path=\"/x\" host=a.localhost request_id=0123456789abcdef0123 \
                    trace_id=4bf92f3577b34da6a3ce929d0e0e4736 fwd=\"1.2.3.4\" instance=web.1 release=v3 connect=1ms service=4ms status=200 bytes=1234";
        let parsed =
            StreamLine { at: 1_700_000_000_000_000_001, process: "router".into(), text: text.into() };
        assert_eq!(StreamLine::parse(&out), Some(parsed.clone()));
        let mut encoded = String::new();
        parsed.encode_into(&mut encoded);
        assert_eq!(encoded, out);
    }

    #[test]
    fn a_path_cannot_forge_a_field_or_a_line() {
        let mut out = String::new();
        line("/\" status=500 \n\\é\u{7f}").append_to(&mut out);
        assert!(out.contains("path=\"/%22%20status=500%20%0A%5C%C3%A9%7F\""), "{out}");
        assert_eq!(out.matches('\n').count(), 1);
    }
}
